"""A grid search over the digits data set: 40 fits with scikit-learn, which only the containers have.

    windlass run examples/grid_search.py
"""
import itertools
import time

import modal

image = modal.Image.debian_slim().pip_install("scikit-learn")
app = modal.App("example-grid-search", image=image)

with image.imports():
    from sklearn.datasets import load_digits
    from sklearn.model_selection import cross_val_score
    from sklearn.svm import SVC


@app.function(cpu=1, retries=2, max_containers=4)
def fit(c: float, gamma: float) -> tuple[float, float, float]:
    """Mean accuracy of one setting over three folds."""
    digits = load_digits()
    scores = cross_val_score(SVC(C=c, gamma=gamma), digits.data, digits.target, cv=3)
    return c, gamma, float(scores.mean())


@app.local_entrypoint()
def main():
    grid = list(itertools.product([0.1, 0.5, 1, 2, 5, 10, 50, 100], [1e-4, 3e-4, 1e-3, 3e-3, 1e-2]))
    began = time.time()
    best = (0.0, 0.0, 0.0)
    for c, gamma, accuracy in fit.starmap(grid, order_outputs=False):
        if accuracy > best[2]:
            best = (c, gamma, accuracy)
            print(f"best so far: C={c:<5} gamma={gamma:<7} accuracy={accuracy:.4f}")
    print(f"{len(grid)} fits in {time.time() - began:.1f} s; best C={best[0]} gamma={best[1]} accuracy={best[2]:.4f}")
    assert best[2] > 0.96

"""A grid search over the digits data set: 40 fits with scikit-learn, which only the containers have.

    windlass run examples/grid_search.py
"""
import itertools

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
def main(top: int = 3):
    grid = itertools.product([0.1, 0.5, 1, 2, 5, 10, 50, 100], [1e-4, 3e-4, 1e-3, 3e-3, 1e-2])
    for c, gamma, score in sorted(fit.starmap(grid), key=lambda row: -row[2])[:top]:
        print(f"C={c:<5} gamma={gamma:<7} accuracy {score:.3f}")

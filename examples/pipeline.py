"""A pipeline of functions that call each other from inside their containers.

    windlass run examples/pipeline.py
"""
import collections
import re

import modal

app = modal.App("example-pipeline")

TEXTS = {
    "sea": "the ship turned the windlass and the anchor rose and the ship went out to sea",
    "land": "the mill turned the stone and the stone ground the corn and the baker baked the bread",
}


@app.function()
def count_words(text: str) -> dict[str, int]:
    return dict(collections.Counter(re.findall(r"[a-z]+", text.lower())))


@app.function()
def merge(counts: list[dict[str, int]]) -> list[tuple[str, int]]:
    total: collections.Counter[str] = collections.Counter()
    for part in counts:
        total.update(part)
    return total.most_common(3)


@app.function()
def pipeline(texts: dict[str, str]) -> list[tuple[str, int]]:
    """Runs in a container and fans out to others."""
    return merge.remote(list(count_words.map(texts.values())))


@app.local_entrypoint()
def main():
    top = pipeline.remote(TEXTS)
    for word, count in top:
        print(f"{count:>3} {word}")
    assert top[0] == ("the", 10), top

"""The reference is what the docstrings and the help of the commands say now."""
from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts/pages"))

import reference


def test_the_reference_is_current():
    made = reference.pages()
    stored = {path.name: path.read_text() for path in reference.FOLDER.glob("*.md") if path.name != "parity.md"}
    stale = sorted(name for name in {*made, *stored} if made.get(name) != stored.get(name))
    assert stale == [], "run scripts/reference"


def test_docstrings_become_markdown():
    doc = """What it does.

    Args:
        one: the first,
            on two lines.

    Raises:
        ValueError: never.

    Example:
        >>> f(1)
        2
    """
    assert reference.prose(doc) == (
        "What it does.\n\n\n**Arguments**\n\n* `one`: the first,\n  on two lines.\n\n\n"
        "**Raises**\n\n* `ValueError`: never.\n"
        "\n\n**Example**\n\n```pycon\n>>> f(1)\n2\n```\n"
    )


def test_public_methods_show_their_own_documentation_and_examples_end():
    page = reference.pages()["dict.md"]
    assert "Remove all entries." in page and "asynchronous twin" not in page
    for name, text in reference.pages().items():
        assert text.count("\n```") % 2 == 0, f"code that does not end in {name}"

"""``bench/RESULTS.md``: the figures of the main job, then a section for each other benchmark, each replaced alone."""

from __future__ import annotations

from pathlib import Path

RESULTS = Path(__file__).parent / "RESULTS.md"
_MARK = "\n## "


def others() -> str:
    """All sections."""
    text = RESULTS.read_text() if RESULTS.exists() else ""
    _, mark, rest = text.partition(_MARK)
    return mark + rest


def put(title: str, text: str) -> None:
    """Replace the section with this title, or add it."""
    head, *sections = RESULTS.read_text().split(_MARK)
    kept = [section.rstrip("\n") for section in sections if section.partition("\n")[0] != title]
    kept.append(f"{title}\n\n{text.strip()}")
    RESULTS.write_text("\n".join([head.rstrip("\n") + "\n", *(f"## {section}\n" for section in kept)]))

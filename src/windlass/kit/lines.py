"""Text that travels in parts, each of which may be shown by itself."""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def parts(text: str, size: int) -> Iterator[str]:
    """Whole lines, as many as fit into ``size`` characters; a line that is longer is cut.

    Example:
        >>> [*parts("one\\ntwo\\nthree\\n", 10)]
        ['one\\ntwo\\n', 'three\\n']
    """
    start = 0
    while start < len(text):
        end = start + size
        if end < len(text):
            end = text.rfind("\n", start, end) + 1 or end
        yield text[start:end]
        start = end

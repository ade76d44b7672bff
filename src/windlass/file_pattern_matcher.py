"""Which local files to leave out: patterns in the grammar of ``.dockerignore``.

    *        any characters within one path part        **       any number of folders
    ?        one character within a part                [a-z]    one character of a class, [^a-z] none of it
    !x       takes back what an earlier pattern matched \\x       x itself

Patterns are read in order and the last one that matches decides. One that matches a folder matches everything below it.
"""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    import re
    from collections.abc import Callable, Sequence
    from pathlib import Path


class _AbstractPatternMatcher:
    """What all matchers can do: be called with a path, and be inverted by ``~``."""

    def __invert__(self) -> _AbstractPatternMatcher:
        """A matcher for exactly what this one does not match."""
        return _Inverted(self)

    def __call__(self, file_path: Path) -> bool:
        """Whether ``file_path``, relative to the folder in question, matches."""
        raise NotImplementedError

    def can_prune_directories(self) -> bool:
        """Whether a matching folder may be skipped as a whole, because nothing below could be taken back."""
        return False


class _Inverted(_AbstractPatternMatcher):
    def __init__(self, inner: _AbstractPatternMatcher) -> None:
        self._inner = inner

    def __invert__(self) -> _AbstractPatternMatcher:
        return self._inner

    def __call__(self, file_path: Path) -> bool:
        return not self._inner(file_path)

    def __repr__(self) -> str:
        return f"~{self._inner!r}"


class FilePatternMatcher(_AbstractPatternMatcher):
    """Matches paths against patterns, for the ``ignore`` argument of functions that take local files.

    Args:
        pattern: patterns as in a ``.dockerignore`` file; later ones override earlier ones.

    Example:
        >>> from pathlib import Path
        >>> not_source = FilePatternMatcher("**/*.pyc", "data", "!data/small.csv")
        >>> not_source(Path("a/b.pyc")), not_source(Path("data/big.csv")), not_source(Path("data/small.csv"))
        (True, True, False)

    Raises:
        ValueError: a pattern is malformed.
    """

    def __init__(self, *pattern: str) -> None:
        self._path: str | os.PathLike[str] | None = None
        self._patterns: list[str] | None = list(pattern)
        self._rules: list[tuple[bool, re.Pattern[str]]] | None = None
        self._compiled()

    @classmethod
    def from_file(cls, file_path: str | os.PathLike[str]) -> FilePatternMatcher:
        """A matcher whose patterns stand in a file, one a line, ``#`` for comments. Read when first needed."""
        matcher = cls()
        matcher._path, matcher._patterns, matcher._rules = file_path, None, None
        return matcher

    @property
    def patterns(self) -> list[str]:
        """The patterns as they were given."""
        if self._patterns is None:
            self._patterns = _read(self._path) if self._path is not None else []
        return self._patterns

    def can_prune_directories(self) -> bool:
        return not any(takes_back for takes_back, _ in self._compiled())

    def __call__(self, file_path: Path) -> bool:
        path = file_path.as_posix()
        if path == ".":
            return False
        matched = False
        for takes_back, rule in self._compiled():
            if takes_back == matched and rule.match(path) is not None:
                matched = not takes_back
        return matched

    def __repr__(self) -> str:
        if self._patterns is None:
            return f"FilePatternMatcher.from_file({str(self._path)!r})"
        return f"FilePatternMatcher({', '.join(map(repr, self._patterns))})"

    def _compiled(self) -> list[tuple[bool, re.Pattern[str]]]:
        if self._rules is None:
            self._rules = [rule for text in self.patterns if (rule := _compile(text)) is not None]
        return self._rules


def _read(path: str | os.PathLike[str] | None) -> list[str]:
    from pathlib import Path

    lines = Path(path or "").read_text("utf-8-sig").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _compile(text: str) -> tuple[bool, re.Pattern[str]] | None:
    """Whether the pattern takes back, and an expression that matches its paths and everything below them."""
    import posixpath
    import re

    pattern = text.strip()
    takes_back = pattern.startswith("!")
    if takes_back:
        pattern = pattern[1:].strip()
        if not pattern:
            raise ValueError("a pattern '!' alone excludes nothing")
    if not pattern:
        return None
    pattern = posixpath.normpath(pattern).lstrip("/") or "/"
    return takes_back, re.compile(_expression(pattern, text) + r"(?:/.*)?\Z", re.DOTALL)


def _expression(pattern: str, text: str) -> str:
    import re

    out, at = [], 0
    while at < len(pattern):
        char = pattern[at]
        at += 1
        if char == "*" and pattern.startswith("*", at):
            at += 1
            if pattern.startswith("/", at):
                at += 1
            out.append("(?:.*/)?" if at < len(pattern) else ".*")
        elif char == "*":
            out.append("[^/]*")
        elif char == "?":
            out.append("[^/]")
        elif char == "[":
            piece, at = _char_class(pattern, at, text)
            out.append(piece)
        elif char == "\\":
            if at == len(pattern):
                raise ValueError(f"malformed pattern {text!r}: nothing follows the backslash")
            out.append(re.escape(pattern[at]))
            at += 1
        else:
            out.append(re.escape(char))
    return "".join(out)


def _char_class(pattern: str, at: int, text: str) -> tuple[str, int]:
    """The expression for a class whose ``[`` stands before ``at``, and where it ends."""
    negated = pattern.startswith("^", at)
    at += negated
    members: list[str] = []
    while not (pattern.startswith("]", at) and members):
        low, at = _class_char(pattern, at, text)
        if pattern.startswith("-", at) and not pattern.startswith("-]", at):
            high, at = _class_char(pattern, at + 1, text)
            if high < low:
                raise ValueError(f"malformed pattern {text!r}: the range {low}-{high} is empty")
            members.append(f"{_quoted(low)}-{_quoted(high)}")
        else:
            members.append(_quoted(low))
    inside = "".join(members)
    return (f"[^/{inside}]" if negated else f"(?!/)[{inside}]"), at + 1


def _class_char(pattern: str, at: int, text: str) -> tuple[str, int]:
    at += pattern.startswith("\\", at)
    if at >= len(pattern):
        raise ValueError(f"malformed pattern {text!r}: the character class is not closed")
    return pattern[at], at + 1


def _quoted(char: str) -> str:
    return "\\" + char if char in "\\]^-[&~|" else char


def as_ignore(ignore: Sequence[str] | Callable[[Path], bool]) -> Callable[[Path], bool]:
    """What an ``ignore`` argument means: a callable as it is, a list of patterns as a matcher."""
    if callable(ignore):
        return ignore
    if isinstance(ignore, (list, tuple)):
        return FilePatternMatcher(*ignore)
    from windlass import exception

    raise exception.InvalidError(f"ignore must be a list of patterns or a callable, not {type(ignore).__name__}")


class _NonPython(_AbstractPatternMatcher):
    """``~FilePatternMatcher("**/*.py")``, without compiling an expression each time a container starts."""

    def __call__(self, path: Path) -> bool:
        return not path.name.endswith(".py")

    def __repr__(self) -> str:
        return "NON_PYTHON_FILES"


NON_PYTHON_FILES: _AbstractPatternMatcher = _NonPython()
"""Everything but Python source."""

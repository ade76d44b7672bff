"""From logical lines to instructions: name, flags, and what follows as words, text or a JSON list. Pure."""
from __future__ import annotations

from typing import NamedTuple

from windlass.client.dockerfile import words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from windlass.client.dockerfile import lines

_FLAGS: dict[str, frozenset[str]] = {
    "FROM": frozenset({"platform"}),
    "RUN": frozenset({"mount", "network"}),
    "COPY": frozenset({"from", "chown", "chmod", "link"}),
    "ADD": frozenset({"chown", "chmod", "checksum", "link"}),
    "HEALTHCHECK": frozenset({"interval", "timeout", "start-period", "start-interval", "retries"}),
}
_NO_FLAGS = (
    "ARG", "CMD", "ENTRYPOINT", "ENV", "EXPOSE", "LABEL", "MAINTAINER", "SHELL", "USER", "WORKDIR",
)  # fmt: skip
_KNOWN = (*_FLAGS, *_NO_FLAGS)
_REFUSED = ("ONBUILD", "STOPSIGNAL", "VOLUME")
_LISTS = frozenset({"RUN", "CMD", "ENTRYPOINT", "SHELL", "COPY", "ADD"})


class Instruction(NamedTuple):
    """``rest`` is what follows name and flags, as written; ``words`` the JSON list that it is, else None."""

    name: str
    flags: dict[str, list[str]]
    rest: str
    words: list[str] | None
    line: lines.Line

    def fault(self, why: str, *, hint: str = "") -> Exception:
        return self.line.fault(why, hint=hint)

    def flag(self, name: str) -> str:
        """The value of a flag that may stand once; "" where it does not."""
        given = self.flags.get(name, [])
        if len(given) > 1:
            raise self.fault(f"--{name} stands twice")
        return given[0] if given else ""

    def parts(self) -> list[str]:
        """The words that follow, with their quotes."""
        return words.split(self.rest, self.line.escape)

    def expand(self, text: str, value: Callable[[str], str | None], *, verbatim: bool = False) -> str:
        """``text`` with its variables replaced. ``verbatim``: its quotes and escapes stay.

        Raises ``ImageBuildError`` that shows the line.
        """
        try:
            return (words.substitute if verbatim else words.expand)(text, value, self.line.escape)
        except ValueError as exc:
            raise self.fault(str(exc)) from None

    def pairs(self) -> list[tuple[str, str]]:
        """``NAME=value …``, or the old form ``NAME value``; not yet expanded."""
        parts = self.parts()
        if not parts:
            raise self.fault(f"{self.name} needs a name and a value")
        if "=" not in parts[0]:
            name, value = (*self.rest.split(None, 1), "")[:2]
            if not value:
                raise self.fault(f"{self.name} needs a value: {self.name} {name}=…")
            return [(name, value)]
        found = [part.partition("=") for part in parts]
        if wrong := next((name for name, equals, _ in found if not equals or not name), None):
            raise self.fault(f"{self.name} takes NAME=value, and {wrong!r} is none", hint="Quote values with blanks.")
        if not all(name for name, _, _ in found):
            raise self.fault(f"{self.name} takes NAME=value, and a name is missing")
        return [(name, value) for name, _, value in found]


def read(given: Sequence[lines.Line]) -> list[Instruction]:
    """The instructions of a file. Raises ``ImageBuildError`` for what is unknown or not supported."""
    return [_read(line) for line in given]


def _read(line: lines.Line) -> Instruction:
    name, rest = (*line.text.split(None, 1), "")[:2]
    name = name.upper()
    if name in _REFUSED:
        raise line.fault(f"{name} is not supported", hint=f"Remove the {name} instruction.")
    if name not in _KNOWN:
        raise line.fault(f"{name} is no instruction of a Dockerfile", hint=_meant(name))
    flags: dict[str, list[str]] = {}
    if name in _FLAGS:
        flags, rest = _flags(name, rest, line)
    listed = _json(rest) if name in _LISTS else None
    if not rest.strip():
        raise line.fault(f"{name} needs an argument")
    return Instruction(name, flags, rest.strip(), listed, line)


def _flags(name: str, rest: str, line: lines.Line) -> tuple[dict[str, list[str]], str]:
    found: dict[str, list[str]] = {}
    for word in words.split(rest, line.escape):
        if not word.startswith("--") or word == "--":
            break
        flag, _, value = word[2:].partition("=")
        if flag not in _FLAGS[name]:
            possible = ", ".join(f"--{known}" for known in sorted(_FLAGS[name]))
            raise line.fault(f"{name} does not support --{flag}", hint=f"It supports {possible}.")
        found.setdefault(flag, []).append(value)
        rest = rest.lstrip()[len(word) :]
    return found, rest


def _json(text: str) -> list[str] | None:
    """A list of strings, or None: such text is taken as it stands."""
    import json

    if not text.startswith("["):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, list) or not all(isinstance(word, str) for word in found):
        return None
    return found


def _meant(name: str) -> str:
    import difflib

    close = difflib.get_close_matches(name, _KNOWN, 1)
    return f"Is {close[0]} meant?" if close else ""

"""Users and groups by the names that an image gives them (``/etc/passwd``, ``/etc/group``)."""
from __future__ import annotations

from typing import NamedTuple, Protocol

from windlass import exception

_MOST = 65535  # ids of a container


class Image(Protocol):
    """Whose users are meant."""

    def text(self, path: str) -> str:
        """A small file's text; "" where there is none."""


class User(NamedTuple):
    """Who runs a step."""

    uid: int
    gid: int
    groups: list[int]
    home: str


ROOT = User(0, 0, [], "/root")


def user(text: str, image: Image) -> User:
    """The user that ``name``, ``name:group``, ``1000`` or ``1000:1000`` means. Raises ``InvalidError``."""
    name, _, group = text.partition(":")
    entry = _entry(name, _lines(image, "etc/passwd"))
    if entry is None and not _is_id(name):
        raise exception.InvalidError(f"the image has no user {name!r}")
    uid = _id(entry[2] if entry is not None else name)
    gid = _id(entry[3]) if entry is not None else 0
    home = entry[5] if entry is not None and len(entry) > 5 and entry[5] else "/"
    if group:
        return User(uid, _group(group, image), [], home)
    called = entry[0] if entry is not None else ""
    listed = [line for line in _lines(image, "etc/group") if len(line) > 3 and called in line[3].split(",")]
    return User(uid, gid, [_id(line[2]) for line in listed] if called else [], home)


def owner(text: str, image: Image) -> tuple[int, int]:
    """User and group of ``--chown``: a number alone, or a name without its group, stands for both."""
    name, _, group = text.partition(":")
    found = user(name or "0", image)
    if group:
        return found.uid, _group(group, image)
    return found.uid, found.uid if _is_id(name) else found.gid


def _group(name: str, image: Image) -> int:
    entry = _entry(name, _lines(image, "etc/group"))
    if entry is None and not _is_id(name):
        raise exception.InvalidError(f"the image has no group {name!r}")
    return _id(entry[2] if entry is not None else name)


def _entry(name: str, lines: list[list[str]]) -> list[str] | None:
    """By name, or by number."""
    of_name = next((line for line in lines if line[0] == name), None)
    return of_name or next((line for line in lines if line[2] == name), None)


def _lines(image: Image, path: str) -> list[list[str]]:
    least = 4 if path.endswith("passwd") else 3
    found = [line.strip().split(":") for line in image.text(path).splitlines()]
    return [line for line in found if len(line) >= least]


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 10


def _id(text: str) -> int:
    if not _is_id(text) or int(text) >= _MOST:
        raise exception.InvalidError(f"{text!r} is no id of a user or group that containers have (0 to {_MOST - 1})")
    return int(text)

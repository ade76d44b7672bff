"""Functions that fail in all ways that ordinary code fails."""

from __future__ import annotations

import threading
from typing import Any

import windlass

app = windlass.App("test-errors")


class Spoilt(Exception):
    """An exception of the program's own, with more than a message."""

    def __init__(self, grade: int, *, where: str) -> None:
        super().__init__(f"spoilt to grade {grade}")
        self.grade = grade
        self.where = where

    def __reduce__(self) -> Any:
        return rebuild, (self.grade, self.where)


def rebuild(grade: int, where: str) -> Spoilt:
    return Spoilt(grade, where=where)


class Unportable(Exception):
    """Cannot be pickled."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


class Unreadable(Exception):
    """Is pickled, but cannot be unpickled: it needs two arguments and hands on one."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one)


def deep(level: int) -> None:
    if level == 0:
        raise ZeroDivisionError("at the bottom")  # this very line is shown
    deep(level - 1)


@app.function()
def fail(kind: str) -> Any:
    if kind == "deep":
        deep(2)
    if kind == "own":
        raise Spoilt(3, where="cellar")
    if kind == "unportable":
        raise Unportable("with a lock in it")
    if kind == "unreadable":
        raise Unreadable("one", "two")
    if kind == "chained":
        try:
            deep(0)
        except ZeroDivisionError as exc:
            raise RuntimeError("because of the other") from exc
    if kind == "noted":
        exc = ValueError("look below")
        if hasattr(exc, "add_note"):
            exc.add_note("a note from afar")
        raise exc
    if kind == "base":
        raise windlass_base("not an Exception")
    if kind == "result":
        return threading.Lock()
    return "fine"


class windlass_base(BaseException):
    """A ``BaseException`` of the program's own."""


@app.function()
async def async_fail() -> None:
    deep(1)


@app.function()
def outer(kind: str) -> Any:
    return fail.remote(kind)

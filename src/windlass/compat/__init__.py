"""``import modal`` means Windlass, for programs that Windlass runs.

``install()`` puts a finder in front of ``sys.meta_path``: ``modal`` and its submodules become the very same
module objects as ``windlass`` and its submodules, also where the real package is installed. Called by the
command line before it imports the user's file, and by the runner at its start.
"""
from __future__ import annotations

import importlib
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

ALIAS = "modal"
REAL = "windlass"

_PLACES = {
    "modal.output": "windlass.client.output",
}
"""Submodules whose place differs."""


class _Finder:
    """Finds ``modal`` and ``modal.x`` as what Windlass has under that name. Also the loader of what it finds."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != ALIAS and not fullname.startswith(ALIAS + "."):
            return None
        from importlib.machinery import ModuleSpec

        try:
            module = importlib.import_module(_real(fullname))
        except ModuleNotFoundError as exc:
            if exc.name == _real(fullname):
                return None
            raise
        return ModuleSpec(fullname, _Loader(module), is_package=hasattr(module, "__path__"))  # type: ignore[arg-type]


class _Loader:
    """Hands out a module that exists, and leaves its own spec alone."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._own = {name: getattr(module, name, None) for name in ("__spec__", "__loader__", "__package__")}

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        for name, value in self._own.items():  # the import system has overwritten them
            setattr(module, name, value)


def _real(name: str) -> str:
    return _PLACES.get(name) or REAL + name[len(ALIAS) :]


def install() -> None:
    """From now on ``import modal`` gives Windlass. May be called more than once."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    for name in [name for name in sys.modules if name == ALIAS or name.startswith(ALIAS + ".")]:
        del sys.modules[name]  # the real package, if something has imported it already
    sys.meta_path.insert(0, _Finder())


def hand_down() -> None:
    """Also in new interpreters that get the path of this one, as workers of ``multiprocessing`` do. For programs on
    their own machine; what containers see has it by itself."""
    import os

    folder = os.path.join(os.path.dirname(__file__), "beside")  # noqa: PTH118, PTH120
    if folder not in sys.path:
        sys.path.insert(1, folder)  # before the real package, and behind the program's own folder

"""Values that come back, unpickled so that a script's own classes are themselves.

A script that was started by ``python script.py`` is ``__main__`` here and ``script`` in its containers. Importing
``script`` a second time here would give other classes, and run the script again: so that name means ``__main__``.
"""
from __future__ import annotations

import io
import pickle
import sys
from typing import Any

from windlass.client import source
from windlass.wire import codec, payload


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module == source.main_stem and module not in sys.modules:
            module = "__main__"
        return super().find_class(module, name)


def _load(data: Any) -> Any:
    if source.main_stem.encode() not in data:  # then no class of it is: no copy is made of large values
        return pickle.loads(data)
    return _Unpickler(io.BytesIO(data)).load()


def loads(data: codec.Bytes, what: str) -> Any:
    """Unpickle in the user's thread. Raises ``DeserializationError``."""
    return payload.loads(data, what, _load if source.main_stem else pickle.loads)

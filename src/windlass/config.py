"""Settings of the SDK, from ``WINDLASS_*`` (or ``MODAL_*``) variables of the environment.

>>> from windlass.config import config
>>> config["logs_timeout"]
10.0
"""
from __future__ import annotations

import os

from windlass import exception

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def _boolean(text: str) -> bool:
    return text.lower() not in ("", "0", "false")


_SETTINGS: dict[str, tuple[Any, Callable[[str], Any]]] = {
    "async_warnings": (True, _boolean),
    "dev_suffix": ("dev", str),  # what ephemeral apps append to their labels in URLs; 1 to 8 letters and digits
    "environment": ("", str),
    "force_build": (False, _boolean),  # build all images anew, and let later runs have the new ones
    "ignore_cache": (False, _boolean),  # build all images anew, for this run alone
    "image_builder_version": ("", str),  # whose layers to use; "": the platform's own
    "logs_timeout": (10.0, float),  # seconds to wait for the last logs of an app that was stopped
    "server_fingerprint": ("", str),  # of the certificate that the platform must show; "": any that is trusted
    "server_url": ("", str),  # of a platform on another machine; "": that of this one
    "token_id": ("", str),
    "token_secret": ("", str),
    "serve_timeout": (0.0, float),  # seconds after which `windlass serve` ends by itself; 0: never
    "traceback": (False, _boolean),
}


class Config:
    """Reads a setting each time it is asked for."""

    def get(self, key: str, profile: str | None = None, use_env: bool = True) -> Any:
        """The value of a setting.

        Raises:
            KeyError: there is no such setting.
            InvalidError: its variable holds what cannot be its value.
        """
        default, parse = _SETTINGS[key]
        if use_env:
            for prefix in ("WINDLASS_", "MODAL_"):
                text = os.environ.get(prefix + key.upper())
                if text is not None:
                    try:
                        return parse(text)
                    except ValueError:
                        raise exception.InvalidError(f"{prefix}{key.upper()} has the wrong value {text!r}") from None
        return default

    def __getitem__(self, key: str) -> Any:
        return self.get(key)

    def to_dict(self) -> dict[str, Any]:
        """All settings and their values."""
        return {key: self.get(key) for key in _SETTINGS}

    def __repr__(self) -> str:
        return f"Config({self.to_dict()})"


config = Config()

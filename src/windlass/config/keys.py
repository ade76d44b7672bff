"""Every setting: what it is when nobody says anything, and which texts are values of it.

What parses a text says with its ValueError what the text should have been.
"""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Parse = Callable[[str], Any]


def _boolean(text: str) -> bool:
    return text.lower() not in ("", "0", "false")


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise ValueError("a number of seconds, 0 or more")
    return value


def _patience(text: str) -> float | None:
    return None if text.lower() in ("", "none") else _seconds(text)


def _suffix(text: str) -> str:
    if len(text) > 8 or not (text == "" or (text.isascii() and text.isalnum())):
        raise ValueError("at most 8 letters and digits")
    return text


def _one_of(*words: str) -> Parse:
    def parse(text: str) -> str:
        for word in words:
            if text.lower() == word.lower():
                return word
        raise ValueError(f"one of {', '.join(words)}")

    return parse


PUBLIC: dict[str, tuple[Any, Parse]] = {
    "async_warnings": (True, _boolean),
    "build_validation": ("error", _one_of("error", "warn", "ignore")),
    "default_cloud": ("", str),  # deprecated: there is one cloud
    "dev_suffix": ("", _suffix),
    "disable_api_proxy": (False, _boolean),
    "environment": ("", str),
    "force_build": (False, _boolean),  # build all images anew, and let later runs have the new ones
    "ignore_cache": (False, _boolean),  # build all images anew, for this run alone
    "image_builder_version": ("", str),  # whose layers to use; "": the platform's own
    "log_format": ("STRING", _one_of("STRING", "JSON")),
    "log_pattern": ("[windlass] %(asctime)s %(levelname)s %(message)s", str),
    "loglevel": ("WARNING", _one_of("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")),
    "logs_timeout": (10.0, _seconds),  # to wait for the last logs of an app that was stopped
    "max_throttle_wait": (None, _patience),  # seconds in all, where requests come too fast; None: as long as need be
    "oauth_client_id": ("", str),
    "oauth_client_secret": ("", str),
    "oauth_jwt_key": ("", str),
    "oauth_refresh_token": ("", str),
    "payload_format": ("pickle", _one_of("pickle", "cbor")),
    "sandbox_channel_idle_timeout": (30.0, _seconds),
    "sandbox_v2": (True, _boolean),
    "serve_timeout": (None, _patience),  # seconds after which `windlass serve` ends by itself; None: never
    "server_fingerprint": ("", str),  # of the certificate that the platform must show; "": any that is trusted
    "server_url": ("", str),  # of a platform on another machine; "": that of this one
    "token_id": ("", str),
    "token_secret": ("", str),
    "traceback": (False, _boolean),
    "volume_block_read_timeout": (60.0, _seconds),
}

INTERNAL: dict[str, tuple[Any, Parse]] = {
    "function_runtime": ("", str),
    "heartbeat_interval": (15.0, _seconds),
    "image_id": ("", str),
    "snapshot_debug": (False, _boolean),
    "task_id": ("", str),
    "worker_id": ("", str),
}
"""Can be asked for; neither shown nor stored."""

ALL = {**PUBLIC, **INTERNAL}
SECRET = frozenset({"token_secret", "oauth_client_secret", "oauth_jwt_key", "oauth_refresh_token"})
CREDENTIALS = frozenset({"server_url", "server_fingerprint", "token_id", "token_secret"}) | frozenset(
    key for key in PUBLIC if key.startswith("oauth_")
)
"""What leads to a platform. Of Modal's own settings these are taken only where they do not mean Modal's cloud."""


def text_of(value: object) -> str | None:
    """What a value of a TOML file is as text; None for what can be none."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None

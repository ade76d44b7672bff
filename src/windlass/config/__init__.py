"""Settings of the SDK and the command line. For each key the first of these that says something:

1. the variable ``WINDLASS_<KEY>``, then ``MODAL_<KEY>``;
2. the profile that counts, in ``~/.windlass.toml`` (``WINDLASS_CONFIG_PATH``), or, where there is no such file, in
   Modal's own ``~/.modal.toml``; no file is read inside containers;
3. the default.

Modal's variables and file never say where a platform is and as whom, unless their ``server_url`` leads elsewhere than
to Modal's cloud: credentials go only to whom they are for.

>>> from windlass.config import config
>>> config["logs_timeout"]
10.0
"""
from __future__ import annotations

import os

from windlass import exception
from windlass.config import keys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

_CLOUD = "modal.com"


class Config:
    """Reads a setting each time it is asked for."""

    def get(self, key: str, profile: str | None = None, use_env: bool = True) -> Any:
        """The value of a setting.

        Args:
            key: its name.
            profile: read that profile, not the one that counts.
            use_env: whether variables of the environment come first.

        Raises:
            KeyError: there is no such setting.
            InvalidError: what it is set to cannot be its value; or the file cannot be understood.
            AuthError: ``WINDLASS_PROFILE`` names a profile that does not exist, and there is no token.
        """
        default, parse = keys.ALL[key]
        if use_env:
            name = "WINDLASS_" + key.upper()
            if name not in os.environ and _is_ours(key, os.environ.get("MODAL_SERVER_URL", "")):
                name = "MODAL_" + key.upper()
            if (text := os.environ.get(name)) is not None:
                return _parsed(name, text, parse)
        found = _stored(key, profile)
        return default if found is None else _parsed(f"{key} in {found[0]}", found[1], parse)

    def __getitem__(self, key: str) -> Any:
        return self.get(key)

    def to_dict(self) -> dict[str, Any]:
        """All public settings and their values, secrets as they are."""
        return {key: self.get(key) for key in keys.PUBLIC}

    def __repr__(self) -> str:
        return f"Config({masked(self.to_dict())})"


def masked(values: dict[str, Any]) -> dict[str, Any]:
    """Without secrets."""
    return {key: "***" if key in keys.SECRET and value else value for key, value in values.items()}


def _parsed(where: str, text: str | None, parse: Any) -> Any:
    if text is None:
        raise exception.InvalidError(f"{where} has the wrong value: no text", hint="It must be text or a number.")
    try:
        return parse(text)
    except ValueError as exc:
        raise exception.InvalidError(f"{where} has the wrong value {text[:80]!r}", hint=f"It must be {exc}.") from None


def _is_ours(key: str, url: str) -> bool:
    """Whether a setting of Modal's may be taken, where their ``server_url`` is this."""
    if key not in keys.CREDENTIALS:
        return True
    host = url.partition("://")[2].partition("/")[0].partition(":")[0]
    return bool(host) and host != _CLOUD and not host.endswith("." + _CLOUD)


def _stored(key: str, profile: str | None) -> tuple[Path, str | None] | None:
    """The file that has a value, and that as text."""
    if os.environ.get("WINDLASS_IS_REMOTE") == "1":
        return None
    from windlass.config import profiles

    where = profiles.place()
    known = profiles.tables(where.path)
    wanted = profile or profiles.asked_for()
    name = profiles.chosen(where.path, known, wanted)
    table = known.get(name)
    if table is None:
        if wanted and not profile and not _has_token():
            raise exception.AuthError(
                f"there is no profile {wanted!r} in {where.path}",
                hint=f"Make it: `windlass token set --profile {wanted}`; or unset WINDLASS_PROFILE.",
            )
        return None
    if key not in table or (where.foreign and not _is_ours(key, str(table.get("server_url", "")))):
        return None
    return where.path, keys.text_of(table[key])


def _has_token() -> bool:
    return bool(os.environ.get("WINDLASS_TOKEN_ID"))


config = Config()

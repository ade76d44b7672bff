"""``Secret``: environment variables that are stored encrypted and never shown."""
from __future__ import annotations

from windlass import exception
from windlass.client import here
from windlass.client import object as objects

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from typing import Any

    from windlass.client import resolver
    from windlass.wire.messages import secrets

_KEY_LIMIT = 16_384
_VALUE_LIMIT = 32_768


class Secret(objects.Object):
    """Environment variables for functions and build steps, kept out of code, logs and images.

    Example:
        >>> @app.function(secrets=[windlass.Secret.from_dict({"TOKEN": "…"})])
        ... def f():
        ...     return os.environ["TOKEN"]
    """

    _prefix = "st"
    _values: dict[str, str] | None = None
    _dotenv: tuple[str | None, str] | None = None
    _name: str | None = None
    _environment: str | None = None
    _required: tuple[str, ...] = ()
    _made_for: str | None = None
    """The app that it was last made for: with that it ends."""

    @staticmethod
    def from_dict(env_dict: dict[str, str | None] = {}) -> Secret:  # noqa: B006 - never changed
        """An unnamed secret. Values of None are left out.

        Raises:
            InvalidError: a name or value is no string, or a name cannot be an environment variable.
        """
        if not isinstance(env_dict, dict):
            raise exception.InvalidError(f"Secret.from_dict() takes a dict, not {type(env_dict).__name__}")
        secret = Secret._new()
        secret._values = {name: value for name, value in _checked(env_dict).items() if value is not None}
        return secret

    @staticmethod
    def from_local_environ(env_keys: list[str]) -> Secret:
        """A secret with variables of the environment in which the program runs. Empty inside containers.

        Raises:
            InvalidError: a variable is not set.
        """
        import os

        if isinstance(env_keys, str) or not all(isinstance(name, str) for name in env_keys):
            raise exception.InvalidError("Secret.from_local_environ() takes a list of names")
        if here.in_container():
            return Secret.from_dict({})
        missing = [name for name in env_keys if name not in os.environ]
        if missing:
            raise exception.InvalidError(
                f"not set in the local environment: {', '.join(missing)}", hint="Export the variable and run again."
            )
        return Secret.from_dict({name: os.environ[name] for name in env_keys})

    @staticmethod
    def from_dotenv(
        path: str | os.PathLike[str] | None = None, *, filename: str = ".env", client: object = None
    ) -> Secret:
        """A secret with the variables of a ``.env`` file; empty where there is none. Needs ``python-dotenv``.

        Args:
            path: where to begin looking, upwards: a folder, or a file such as ``__file__``. By default the working
                folder.
            filename: the name of the file.
            client: accepted for compatibility.
        """
        secret = Secret._new()
        secret._dotenv = (None if path is None else str(path), filename)
        return secret

    @staticmethod
    def from_name(
        name: str,
        *,
        namespace: object = None,
        environment_name: str | None = None,
        required_keys: list[str] = [],  # noqa: B006 - never changed
        client: object = None,
    ) -> Secret:
        """A stored secret, looked up when it is first needed.

        Args:
            name: the name that it was stored under.
            namespace: accepted for compatibility.
            environment_name: the environment that holds it.
            required_keys: names that it must have.
            client: accepted for compatibility.
        """
        if not isinstance(name, str) or not name:
            raise exception.InvalidError("Secret.from_name() takes a name")
        secret = Secret._new()
        secret._name, secret._environment, secret._required = name, environment_name, tuple(required_keys)
        secret._lazy = True
        return secret

    @property
    def name(self) -> str | None:
        """The name it is stored under; None for one made from values."""
        return self._name

    def _describe(self) -> str:
        return f"Secret {self._name!r}" if self._name else "Secret"

    def _stale(self, app_id: str | None) -> bool:
        return (self._values is not None or self._dotenv is not None) and self._made_for != app_id

    async def _load(self, context: resolver.Context) -> None:
        from windlass.kit import ids

        if self._name is not None:
            raise exception.NotFoundError(
                f"secret {self._name!r} does not exist: named secrets are not available in this version of Windlass",
                hint="Use Secret.from_dict, from_local_environ or from_dotenv.",
            )
        body: secrets.SecretCreate = {
            "secret_id": ids.new(self._prefix), "name": None, "env": self._resolved(), "app_id": context.app_id,
        }  # fmt: skip
        reply: secrets.SecretRef = (await context.session.request("secret.create", body)).body
        self._hydrate(reply["secret_id"])
        self._made_for = context.app_id

    def _resolved(self) -> dict[str, str]:
        if self._dotenv is None:
            return self._values or {}
        values = _read_dotenv(*self._dotenv)
        return {name: value for name, value in _checked(values).items() if value is not None}


def _checked(env: dict[str, Any]) -> dict[str, str | None]:
    """``env`` itself if it can be an environment. Messages name the variable, never its value."""
    for name, value in env.items():
        if not isinstance(name, str):
            raise exception.InvalidError(f"a secret's names must be strings, not {type(name).__name__}")
        if not name.isascii() or not name.isidentifier():
            raise exception.InvalidError(
                f"{name[:80]!r} cannot name an environment variable: letters, digits and _ only, no digit first"
            )
        if len(name) > _KEY_LIMIT:
            raise exception.InvalidError(f"a secret's name is longer than {_KEY_LIMIT:,} characters")
        if value is None:
            continue
        if not isinstance(value, str):
            raise exception.InvalidError(f"the value of {name!r} must be a string or None, not {type(value).__name__}")
        if len(value) > _VALUE_LIMIT:
            raise exception.InvalidError(f"the value of {name!r} is longer than {_VALUE_LIMIT:,} characters")
        if "\0" in value:
            raise exception.InvalidError(f"the value of {name!r} holds a zero byte")
    return env


def _read_dotenv(path: str | None, filename: str) -> dict[str, str | None]:
    from pathlib import Path

    try:
        import dotenv
    except ImportError:
        raise exception.InvalidError(
            "Secret.from_dotenv() needs the package python-dotenv", hint="Install it: pip install python-dotenv"
        ) from None
    start = Path.cwd() if path is None else Path(path).absolute()
    if path is not None and not start.exists():
        raise FileNotFoundError(f"{str(start)!r} does not exist")
    folder = start if start.is_dir() else start.parent
    for parent in (folder, *folder.parents):
        if (parent / filename).is_file():
            return dict(dotenv.dotenv_values(parent / filename))
    return {}

"""``Secret``: environment variables that are stored encrypted and never shown."""
from __future__ import annotations

from windlass import exception
from windlass.client import faces, here, names
from windlass.client import object as objects

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime
    import os
    from typing import Any

    from windlass.client import resolver
    from windlass.wire.messages import secrets

    _Secrets = list["Secret"]

_KEY_LIMIT = 16_384
_VALUE_LIMIT = 32_768
_BYTES_LIMIT = 131_071  # no program can be started with a longer variable


class SecretInfo:
    """What is known of a Secret: never what it holds.

    Attributes:
        name: its name.
        environment_name: the environment it belongs to.
        created_at: when it was made.
        created_by: the user, or the container, that made it.
        last_used: when a container was last started with it, give or take a minute; None: never.
    """

    __slots__ = ("created_at", "created_by", "environment_name", "last_used", "name")

    def __init__(
        self,
        name: str | None,
        environment_name: str,
        created_at: datetime.datetime,
        created_by: str | None,
        last_used: datetime.datetime | None,
    ) -> None:
        self.name = name
        self.environment_name = environment_name
        self.created_at = created_at
        self.created_by = created_by
        self.last_used = last_used

    def __repr__(self) -> str:
        return f"SecretInfo(name={self.name!r}, environment_name={self.environment_name!r})"


class Secret(objects.Object):
    """Environment variables for functions and build steps, kept out of code, logs and images.

    Stored ones have a name, are encrypted with a key of the platform's, and are only given to containers: nobody can
    read them back. Where several secrets have a variable, the last one wins, and all of them win over the image's.

    Example:
        >>> @app.function(secrets=[windlass.Secret.from_name("database", required_keys=["PASSWORD"])])
        ... def f():
        ...     return os.environ["PASSWORD"]
    """

    _prefix = "st"
    _values: dict[str, str] | None = None
    _dotenv: tuple[str | None, str] | None = None
    _name: str | None = None
    _environment: str = ""
    _required: tuple[str, ...] = ()
    _made_for: str | None = None
    """The app that it was last made, or looked up, for. One without a name ends with that app."""

    @staticmethod
    def from_dict(env_dict: dict[str, str | None] = {}) -> Secret:  # noqa: B006 - never changed
        """An unnamed secret. Values of None are left out.

        Raises:
            InvalidError: a name or value is no string, or a name cannot be an environment variable.
        """
        secret = Secret._new()
        secret._values = _clean(env_dict)
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
            required_keys: variables that it must have: where one is missing, the function cannot be made.
            client: accepted for compatibility.

        Example:
            >>> database = windlass.Secret.from_name("database", required_keys=["PASSWORD"])
        """
        names.check_object(name, "the name of a Secret")
        if isinstance(required_keys, str) or not all(isinstance(key, str) for key in required_keys):
            raise exception.InvalidError("required_keys must be a list of names")
        secret = Secret._new()
        secret._name, secret._required = name, tuple(required_keys)
        secret._environment = names.environment(environment_name)
        secret._lazy = True
        return secret

    @faces.function
    async def lookup(
        name: str,
        namespace: object = None,
        client: object = None,
        environment_name: str | None = None,
        required_keys: list[str] = [],  # noqa: B006 - never changed
    ) -> Secret:
        """Older word for ``from_name`` and ``hydrate`` in one."""
        secret = Secret.from_name(name, environment_name=environment_name, required_keys=required_keys)
        await secret._ready()
        return secret

    @faces.function
    async def create_deployed(
        deployment_name: str,
        env_dict: dict[str, str],
        namespace: object = None,
        client: object = None,
        environment_name: str | None = None,
        overwrite: bool = False,
    ) -> str:
        """Older word for ``Secret.objects.create``, which can also replace what is stored. Returns the id."""
        return await _store(deployment_name, env_dict, environment_name, "replace" if overwrite else "fail")

    class objects:
        """Secrets with names: made, listed, deleted."""

        @faces.function
        async def create(
            name: str,
            env_dict: dict[str, str],
            *,
            allow_existing: bool = False,
            environment_name: str | None = None,
            client: object = None,
        ) -> None:
            """Store a secret.

            Args:
                name: letters, digits, dashes, underscores and dots, at most 64.
                env_dict: its variables. Names have letters, digits and underscores, values up to 32,768 characters.
                allow_existing: keep what is stored under that name, instead of failing.
                environment_name: the environment it belongs to.
                client: accepted for compatibility.

            Raises:
                AlreadyExistsError: there is one of that name, and ``allow_existing`` was not given.
                InvalidError: a variable's name or value is not allowed.
            """
            await _store(name, env_dict, environment_name, "keep" if allow_existing else "fail")

        @faces.function
        async def list(
            *,
            max_objects: int | None = None,
            created_before: datetime.datetime | str | None = None,
            environment_name: str | None = None,
            client: object = None,
        ) -> _Secrets:
            """Secrets of an environment, newest first."""
            return await _listed(environment_name, max_objects, created_before)

        @faces.function
        async def delete(
            name: str, *, allow_missing: bool = False, environment_name: str | None = None, client: object = None
        ) -> None:
            """Delete a secret. Containers that run keep its variables; functions that need it start no new ones.

            Raises:
                NotFoundError: there is none of that name, and ``allow_missing`` was not given.
            """
            from windlass.client import numbers, session

            names.check_object(name, "the name of a Secret")
            body = {"name": name, "environment": names.environment(environment_name)}
            try:
                await numbers.change(session.current(), "secret.delete", body)
            except exception.NotFoundError:
                if not allow_missing:
                    raise

    @faces.method
    async def update(self, env_dict: dict[str, str]) -> None:
        """Add variables, or give some of them other values. Containers that are started from now on have them.

        Raises:
            InvalidError: the secret has no name, or a variable's name or value is not allowed.

        Example:
            >>> windlass.Secret.from_name("database").update({"PASSWORD": "…"})
        """
        from windlass.client import numbers, session

        if self._name is None:
            raise exception.InvalidError("a Secret without a name cannot be updated", hint="Make a new one.")
        body = {"secret_id": await self._ready(), "env": _clean(env_dict)}
        await numbers.change(session.current(), "secret.update", body)

    @faces.method
    async def info(self, refresh: bool = False) -> SecretInfo:
        """Its name, and who made it when. The server is asked each time, so ``refresh`` changes nothing."""
        from windlass.client import collection, session

        body = {"secret_id": await self._ready()}
        known: secrets.SecretInfo = (await session.current().request("secret.get", body)).body
        used = known["used_at"]
        return SecretInfo(
            known["name"] or None, known["environment"], collection.utc(known["created_at"]),
            known["created_by"] or None, None if used is None else collection.utc(used),
        )  # fmt: skip

    @faces.method
    async def get_dashboard_url(self) -> str:
        """Where it is shown in a dashboard.

        Raises:
            UnimplementedError: always: this version of Windlass has no dashboard.
        """
        raise exception.UnimplementedError(
            "this version of Windlass has no dashboard", hint="`windlass secret list` shows which there are."
        )

    @property
    def name(self) -> str | None:
        """The name it is stored under; None for one made from values."""
        return self._name

    def _describe(self) -> str:
        return f"Secret {self._name!r}" if self._name else "Secret"

    def _metadata(self) -> dict[str, Any]:
        return {"name": self._name}

    def _apply_metadata(self, metadata: dict[str, Any]) -> None:
        self._name = metadata["name"]

    def _stale(self, app_id: str | None) -> bool:
        return self._made_for != app_id

    async def _load(self, context: resolver.Context) -> None:
        from windlass.kit import ids

        if self._name is not None:
            query: secrets.SecretGet = {
                "name": self._name, "environment": self._environment or context.environment,
                "required_keys": list(self._required),
            }  # fmt: skip
            found: secrets.SecretInfo = (await context.session.request("secret.get", query)).body
            self._made_for = context.app_id
            return self._hydrate(found["secret_id"])
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


def _clean(env: Any) -> dict[str, str]:
    """What may be stored: without values of None."""
    if not isinstance(env, dict):
        raise exception.InvalidError(f"a secret takes a dict, not {type(env).__name__}")
    return {name: value for name, value in _checked(env).items() if value is not None}


async def _store(name: str, env: dict[str, str], environment_name: str | None, existing: str) -> str:
    from windlass.client import collection, numbers, session
    from windlass.kit import ids

    names.check_object(name, "the name of a Secret")
    body: dict[str, Any] = {
        "secret_id": ids.new(Secret._prefix), "name": name, "environment": names.environment(environment_name),
        "env": _clean(env), "existing": existing, "by": collection.by(),
    }  # fmt: skip
    stored: str = (await numbers.change(session.current(), "secret.store", body)).body["secret_id"]
    return stored


async def _listed(environment_name: str | None, max_objects: int | None, created_before: Any) -> list[Secret]:
    from windlass.client import collection

    found = []
    for info in await collection.infos("secret", environment_name, max_objects, created_before):
        restored = objects.restore(Secret, info["secret_id"], {"name": info["name"]})
        assert isinstance(restored, Secret)
        restored._environment = info["environment"]
        found.append(restored)
    return found


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
        if not 0 <= _size(f"{name}={value}") <= _BYTES_LIMIT:
            raise exception.InvalidError(
                f"the value of {name[:80]!r} holds what no environment can, or has more than {_BYTES_LIMIT:,} bytes "
                "with its name"
            )
    return env


def _size(text: str) -> int:
    """Bytes in the environment of a program; -1 for what cannot be there."""
    try:
        return len(text.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:  # which holds the value, and is not passed on
        return -1


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

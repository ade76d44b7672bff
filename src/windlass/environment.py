"""``Environment``: a part of the workspace, with apps and names of its own."""
from __future__ import annotations

from windlass import config, exception
from windlass.client import faces, names
from windlass.client import object as handles

TYPE_CHECKING = False
if TYPE_CHECKING:
    import builtins
    from typing import Any

    from windlass import about, billing
    from windlass.client import resolver
    from windlass.wire.messages import environments


class Environment(handles.Object):
    """A part of the workspace. Apps and names of one environment are not seen from another.

    Example:
        >>> windlass.Environment.objects.create("staging")
        >>> app.deploy(environment_name="staging")
        >>> windlass.Function.from_name("squares", "square", environment_name="staging").remote(7)
        49
    """

    _prefix = "en"
    _name: str | None = None
    _create = False

    @staticmethod
    def from_name(name: str, *, create_if_missing: bool = False, client: object = None) -> Environment:
        """The environment of that name, looked up when it is first needed.

        Args:
            name: letters, digits, dashes and underscores, at most 64; the first a letter or digit.
            create_if_missing: make it then where there is none.
            client: accepted for compatibility.
        """
        names.check_environment(name)
        made = Environment._new()
        made._name, made._create, made._lazy = name, create_if_missing, True
        return made

    @staticmethod
    def from_context(*, client: object = None) -> Environment:
        """The environment that this program means where it names none."""
        made = Environment._new()
        made._name, made._lazy = config.config["environment"] or None, True
        return made

    @property
    def name(self) -> str | None:
        """Its name; None until the platform has said which one is meant."""
        return self._name

    @property
    def billing(self) -> billing.Billing:
        """What its apps had of the machines: ``report``."""
        from windlass import billing

        return billing.Billing(self._own_name)

    async def _own_name(self) -> str | None:
        await self._ready()
        return self._name

    @property
    def apps(self) -> Apps:
        """Its apps: ``list``."""
        return Apps(self)

    @property
    def members(self) -> Members:
        """Who may do what in it: ``list``."""
        return Members(self)

    @property
    def roles(self) -> Roles:
        """Who has a role of their own in it: ``list`` and ``update``."""
        return Roles(self)

    def _describe(self) -> str:
        return f"Environment {self._name!r}" if self._name else "Environment"

    def _metadata(self) -> dict[str, Any]:
        return {"name": self._name}

    def _apply_metadata(self, metadata: dict[str, Any]) -> None:
        self._name = metadata["name"]

    async def _load(self, context: resolver.Context) -> None:
        known: environments.EnvironmentList = (await context.session.request("environment.list", {})).body
        for one in known["environments"]:
            if one["name"] == self._name or (self._name is None and one["default"]):
                return self._hydrate(one["environment_id"], {"name": one["name"]})
        if self._create:
            made: environments.EnvironmentInfo = (
                await context.session.request("environment.create", {"name": self._name})
            ).body
            return self._hydrate(made["environment_id"], {"name": made["name"]})
        raise exception.NotFoundError(
            f"no environment {self._name!r}" if self._name else "there are several environments, and none was named",
            hint="`windlass environment list` shows what there is.",
        )

    class objects:
        """All environments: made, listed, deleted."""

        @faces.function
        async def create(name: str, *, allow_existing: bool = False, client: object = None) -> None:
            """Make an environment.

            Raises:
                AlreadyExistsError: there is one of that name, and ``allow_existing`` was not given.
            """
            from windlass.client import session

            names.check_environment(name)
            try:
                await session.current().request("environment.create", {"name": name})
            except exception.AlreadyExistsError:
                if not allow_existing:
                    raise

        @faces.function
        async def list(*, max_objects: int | None = None, client: object = None) -> Any:
            """All environments, oldest first."""
            from windlass.client import session

            if max_objects is not None and max_objects < 0:
                raise exception.InvalidError(f"max_objects must not be negative: {max_objects}")
            known: environments.EnvironmentList = (await session.current().request("environment.list", {})).body
            return [
                handles.restore(Environment, one["environment_id"], {"name": one["name"]})
                for one in known["environments"][:max_objects]
            ]

        @faces.function
        async def delete(name: str, *, allow_missing: bool = False, client: object = None) -> None:
            """Delete an environment with all apps and names in it.

            Raises:
                NotFoundError: there is none of that name, and ``allow_missing`` was not given.
            """
            from windlass.client import session

            try:
                await session.current().request("environment.delete", {"name": name})
            except exception.NotFoundError:
                if not allow_missing:
                    raise


class Apps:
    """``Environment.apps``: what runs, is deployed or stopped lately in one environment."""

    def __init__(self, whose: Environment) -> None:
        self._whose = whose

    @faces.method
    async def list(self, *, max_objects: int = 1000) -> builtins.list[about.AppInfo]:
        """Its apps as data: living ones first, newest first.

        Example:
            >>> [one.name for one in windlass.Environment.from_name("staging").apps.list()]
            ['squares']
        """
        from windlass import about
        from windlass.client import session

        query = {"limit": max_objects, "environment": await self._whose._own_name()}
        return [about.app(one) for one in (await session.current().request("app.list", query)).body["apps"]]


class Members:
    """``Environment.members``."""

    def __init__(self, whose: Environment) -> None:
        self._whose = whose

    @faces.method
    async def list(self) -> dict[str, str]:
        """What each member of the workspace is here, by name: "contributor", "viewer" or "no-access"."""
        return dict((await _roles(self._whose))["effective"])


class Roles:
    """``Environment.roles``."""

    def __init__(self, whose: Environment) -> None:
        self._whose = whose

    @faces.method
    async def list(self) -> dict[str, str]:
        """Roles of members who were given one of their own, by name. All others have the environment's default."""
        return dict((await _roles(self._whose))["roles"])

    @faces.method
    async def update(self, member: str, role: str) -> None:
        """Give a member, by name, a role here; "" for the default again.

        Raises:
            NotFoundError: there is no such member.
            InvalidError: there is no such role.
        """
        from windlass.client import session

        body = {"name": await self._whose._own_name(), "member": member, "role": role}
        await session.current().request("environment.set_role", body)


async def _roles(of: Environment) -> Any:
    from windlass.client import session

    return (await session.current().request("environment.roles", {"name": await of._own_name()})).body

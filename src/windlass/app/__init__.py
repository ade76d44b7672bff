"""``App``: what belongs together and runs together.

``defining`` is what the app consists of; ``handle`` what both share; here is its life on the platform.
"""
from __future__ import annotations

from windlass import exception
from windlass.app import defining
from windlass.app.defining import LocalEntrypoint as LocalEntrypoint
from windlass.client import faces, names

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime
    from contextlib import AbstractAsyncContextManager
    from typing import Any

    from windlass import about, sandbox
    from windlass.client import figures, logs
    from windlass.wire.messages import apps as messages


class App(defining.Defining):
    """Functions that are run, and stopped, together.

    Args:
        name: 1 to 64 letters, digits, dashes, underscores and dots.
        tags: keys and values to find the app by.
        image: of all functions that name none; by default ``Image.debian_slim()``.
        secrets: given to all functions, before their own.
        volumes: mounted in all functions: volumes by path.
        include_source: whether the file or package that defines a function is put into its containers.

    Example:
        >>> app = windlass.App("squares", image=windlass.Image.debian_slim().pip_install("numpy"))
        >>> @app.function()
        ... def square(x: int) -> int:
        ...     return x * x
        >>> with app.run():
        ...     print(square.remote(7))

    Raises:
        InvalidError: an argument is wrong.
    """

    def __reduce__(self) -> Any:
        return _restore, (self._name, self._app_id)

    # -- running --------------------------------------------------------------------------------------

    @faces.context
    def run(
        self,
        *,
        name: str | None = None,
        client: object = None,
        detach: bool = False,
        interactive: bool = False,
        environment_name: str | None = None,
    ) -> AbstractAsyncContextManager[App, bool | None]:
        """Run the app while the block lasts: builds images, creates functions, and stops everything at the end.

        Args:
            name: what lists show for this run.
            client: accepted for compatibility.
            detach: let the app go on when the client goes away, until its last input has ended.
            interactive: containers may attach the terminal; needs ``enable_output()``.
            environment_name: the environment to run in.

        Raises:
            InvalidError: it is running already, or called while the module is imported.
            ConnectionError: the platform can neither be reached nor started.
            ImageBuildError: an image cannot be built.
        """
        from windlass.client import run as running

        found = running.Running(
            self, name=name, detach=detach, interactive=interactive, environment_name=environment_name
        )
        found.check()
        return found

    @faces.function
    async def lookup(
        name: str,
        *,
        client: object = None,
        environment_name: str | None = None,
        create_if_missing: bool = False,
    ) -> App:
        """An app on the server by name or id; the result has no local definitions.

        Args:
            name: of a deployed app; or the id of any app.
            client: accepted for compatibility.
            environment_name: where it is deployed.
            create_if_missing: make an empty deployed app where there is none of that name.

        Raises:
            NotFoundError: there is none.
        """
        from windlass.client import session
        from windlass.kit import ids

        by_id = ids.is_id(name, "ap")
        if create_if_missing and by_id:
            raise exception.InvalidError("an app cannot be created by its id")
        if not by_id:
            names.check_object(name, "the app's name")
        environment = "" if by_id else names.environment(environment_name)
        if create_if_missing:
            body = {"app_id": ids.new("ap"), "name": name, "description": name, "state": "deployed",
                    "environment": environment}  # fmt: skip
            info = (await session.current().request("app.create", body)).body
        else:
            query = {"app": name, "environment": environment, "any_state": by_id}
            info = (await session.current().request("app.get", query)).body
        return _restore(info["name"], info["app_id"])

    @faces.method
    async def deploy(
        self,
        *,
        name: str | None = None,
        environment_name: str | None = None,
        tag: str = "",
        client: object = None,
        strategy: str = "rolling",
    ) -> App:
        """Publish the app: it lives on the platform until it is stopped, whatever becomes of this program.

        Images are built and files uploaded first; then all functions become the next version at once, or, where
        anything fails, nothing changes. What is the current version already is not published again.

        Args:
            name: the name to deploy under; by default the app's own.
            environment_name: the environment to deploy to.
            tag: a word of your own for this version, shown in the history.
            client: accepted for compatibility.
            strategy: "rolling" lets the old containers serve until new ones take their place; "recreate" stops them
                at once, and what they ran runs again on the new version.

        Raises:
            InvalidError: there is no name, or an argument is wrong.
            ImageBuildError: an image cannot be built.

        Example:
            >>> app.deploy()
            >>> windlass.Function.from_name("squares", "square").remote(7)
            49
        """
        from windlass.client import deploy

        await deploy.deploy(
            self, deploy.Wishes(name=name, environment=environment_name, tag=tag, strategy=strategy)
        )
        return self

    @faces.method
    async def stop(self, *, client: object = None) -> None:
        """End the app: its inputs are cancelled, its containers stop, and it takes no more calls."""
        from windlass.client import session

        body = {"app_id": self._known_id(), "reason": "stopped", "message": "App.stop()"}
        await session.current().request("app.stop", body)

    @faces.method
    async def info(self, refresh: bool = False) -> about.AppInfo:
        """What the platform knows of the app, asked for each time. ``refresh`` is accepted for compatibility."""
        from windlass import about
        from windlass.client import session

        query = {"app": self._known_id(), "any_state": True}
        return about.app((await session.current().request("app.get", query)).body)

    @faces.method
    async def get_dashboard_url(self) -> str:
        """This version has no dashboard.

        Raises:
            UnimplementedError: always.
        """
        from windlass.client import object as objects

        raise objects.no_dashboard()

    @faces.method
    async def set_tags(self, tags: dict[str, str], *, client: object = None) -> None:
        """Replace the tags of the app on the platform."""
        from windlass.client import session

        body = {"app_id": self._known_id(), "tags": names.check_tags(tags)}
        await session.current().request("app.tags", body)
        self._tags = dict(tags)

    @faces.method
    async def get_tags(self, *, client: object = None) -> dict[str, str]:
        """The tags of the app on the platform."""
        from windlass.client import session

        reply = await session.current().request("app.tags", {"app_id": self._known_id()})
        found: dict[str, str] = reply.body["tags"]
        return found

    # -- looking after it -----------------------------------------------------------------------------

    @property
    def logs(self) -> logs.Logs:
        """What its containers print, also after its end: ``fetch``, ``tail`` and ``stream``.

        Example:
            >>> for entry in app.logs.tail(100):
            ...     print(entry.message, end="")
        """
        from windlass.client import logs

        return logs.Logs(self._own_logs)

    @property
    def sandboxes(self) -> sandbox.Sandboxes:
        """Its sandboxes: those that run, with ``list``.

        Example:
            >>> for one in app.sandboxes.list():
            ...     one.terminate()
        """
        from windlass import sandbox

        return sandbox.Sandboxes(self._known_id())

    async def _own_logs(self) -> messages.LogQuery:
        return {"app_id": self._known_id()}

    @faces.method
    async def stats(
        self, *, since: datetime.datetime | None = None, until: datetime.datetime | None = None
    ) -> figures.Stats:
        """How the inputs of its functions fared; in the last hour unless ``since`` or ``until`` is given.

        Raises:
            InvalidError: the range spans more than 7 days or began more than 30 days ago.
        """
        from windlass.client import figures

        return await figures.stats({"app_id": self._known_id()}, since, until)


def _restore(name: str | None, app_id: str | None) -> App:
    """An app without local definitions."""
    app = App(name)
    app._app_id = app_id
    return app

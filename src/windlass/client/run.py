"""The life of a running app, seen from its client.

    create ─► heartbeat (15 s) ─► images, secrets, functions ─► publish ─► user's block ─► stop ─► last logs
"""
from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from windlass import config, exception
from windlass.client import here, names, output, resolver, session, terminal
from windlass.client import object as objects
from windlass.kit import ids, tasks
from windlass.wire.messages import apps

if TYPE_CHECKING:
    from windlass.app import App

HEARTBEAT = 15.0
_GLANCE = 0.5  # seconds for logs that are under way
_LAST_TRY = 5.0  # seconds to stop an app on a platform that has gone away; when it is back it misses the heartbeats


class Running:
    """``async with`` over a running app; all of it happens on the library's loop."""

    def __init__(
        self, app: App, *, name: str | None, detach: bool, interactive: bool, environment_name: str | None
    ) -> None:
        self._app = app
        self.detached = detach
        self._environment = names.environment(environment_name)
        self._patience: float = config.config["logs_timeout"]
        self._description = name or app.description or _main_name()
        self._show = output.current()
        self._app_id = ids.new("ap")
        self._owner = tasks.Tasks(on_failure=lambda name, exc: None)
        self._home: session.Session | None = None
        self._logs: asyncio.Task[None] | None = None
        self._interactive = interactive
        self._lender: terminal.Lender | None = None

    def check(self) -> None:
        """Misuse is refused in the caller's thread, before anything is created."""
        if self._app._running is not None:
            raise exception.InvalidError(f"{self._app!r} is running already")
        if here.importing or (here.in_container() and here.input_id.get() is None):
            raise exception.InvalidError(
                "app.run() was called while the module is imported",
                hint='Put it below `if __name__ == "__main__":`, or into a local entrypoint.',
            )
        if self._interactive and not self._show.enabled:
            raise exception.InvalidError("interactive=True needs output", hint="Use `with enable_output():` around it.")

    async def __aenter__(self) -> App:
        self.check()
        self._app._running = self
        try:
            await self._start()
        except BaseException as exc:
            await self._finish("interrupted" if _is_interrupt(exc) else "error", exc)
            raise
        return self._app

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool:
        if exc is None:
            await self._finish("done", None)
            return False
        if not _is_interrupt(exc):
            await self._finish("error", exc)
            return False
        if not self.detached:
            self._show.notice("Stopping the app...")
        await self._finish("interrupted", exc)
        return isinstance(exc, KeyboardInterrupt)

    async def _start(self) -> None:
        home = self._home = session.current()
        body: apps.AppCreate = {
            "app_id": self._app_id,
            "name": self._app.name,
            "description": self._description,
            "state": "detached" if self.detached else "ephemeral",
            "environment": self._environment,
            "tags": self._app._tags,
            "dev_suffix": config.config["dev_suffix"],
        }
        await home.request("app.create", body)
        self._app._app_id = self._app_id
        self._show.app_started(self._app_id, self._description)
        self._owner.start(self._beat(), "heartbeat")
        if self._show.enabled:
            self._logs = self._owner.start(follow_logs(home, {"app_id": self._app_id}, self._show), "logs")
        if self._interactive:
            self._lender = terminal.Lender(home, self._app_id, self._show)
            await self._lender.begin()
        await self._create_all(home)
        self._show.app_ready(self._app_id)

    async def _create_all(self, home: session.Session) -> None:
        functions = list(self._app._functions.values())
        for function in functions:
            forget(function)
        for function in functions:  # ids first: a pickled function may refer to another one
            function._hydrate(ids.new("fu"), {**function._metadata(), "app_id": self._app_id})
        context = resolver.Context(
            home, app_id=self._app_id, app_name=self._app.name, environment=self._environment, show=self._show
        )
        try:
            await context.load_all(functions, again=True)
        finally:
            await context.close()
        publish: apps.AppPublish = {
            "app_id": self._app_id,
            "functions": {tag: function.object_id for tag, function in self._app._functions.items()},
        }
        await home.request("app.publish", publish)

    async def _finish(self, reason: str, exc: BaseException | None) -> None:
        """Stop the app, show its last logs, forget its functions. Must end even where the platform is gone."""
        home, goes_on = self._home, self.detached
        try:
            if self._lender is not None:
                await self._lender.end()
            if home is not None and self._app._app_id == self._app_id:
                body: apps.AppStop = {"app_id": self._app_id, "reason": reason}
                if exc is not None:
                    body["message"] = repr(exc)[:1000]
                await asyncio.wait_for(home.request("app.stop", body), None if home.connected else _LAST_TRY)
                goes_on = self.detached and await self._goes_on(home)
                if self._logs is not None:
                    # Those of an app that goes on have no end, and who pressed Ctrl-C does not wait for them.
                    brief = goes_on or (self.detached and reason != "done")
                    await asyncio.wait([self._logs], timeout=_GLANCE if brief else self._patience)
        except (exception.Error, asyncio.TimeoutError) as failure:
            why = str(failure) or "the platform does not answer; it will end the app when it is back"
            self._show.notice(f"The app could not be stopped properly: {why}")
        finally:
            await self._owner.close()
            self._app._running = None
            if not self.detached:
                for function in self._app._functions.values():
                    function._unhydrate()
            if reason == "error" and self._app._app_id != self._app_id:
                self._show.status("")  # it never began: the error says all
            else:
                self._show.app_ended(self._app_id, "detached" if goes_on else reason)

    async def _goes_on(self, home: session.Session) -> bool:
        """Whether a detached app has inputs that outlive this program."""
        info: apps.AppInfo = (await home.request("app.get", {"app": self._app_id, "any_state": True})).body
        return info["state"] not in ("stopping", "stopped")

    async def _beat(self) -> None:
        assert self._home is not None
        while True:
            await asyncio.sleep(HEARTBEAT)
            await self._home.request("app.heartbeat", {"app_id": self._app_id})


def forget(obj: objects.Object) -> None:
    """What an earlier run made (secrets, uploaded files) belongs to that run."""
    if not obj._lazy:
        obj._unhydrate()
        for dependency in obj._deps():
            forget(dependency)


async def follow_logs(home: session.Session, query: apps.LogQuery, show: output.Output) -> None:
    """Show the log entries that ``query`` asks for until what it names has stopped and its last entry is out; resumes
    after lost connections."""
    query = {**query, "follow": True}
    patience = session.Patience()
    position: int | None = None
    last, at_last = 0.0, 0
    while True:
        skip = at_last if position is None else 0
        try:
            async for reply in home.stream("app.logs", query):
                entries, position = reply.body["entries"], reply.body.get("position")
                if skip:  # entries of the very time where the connection was lost are sent again
                    repeated = sum(1 for entry in entries[:skip] if entry["time"] == last)
                    entries, skip = entries[repeated:], 0
                for entry in entries:
                    last, at_last = entry["time"], at_last + 1 if entry["time"] == last else 1
                if entries:
                    show.logs(entries)
            return
        except exception.ServiceError as exc:
            await patience.wait(exc)
            if position is not None:
                query["after"] = position
                query.pop("tail", None)
            elif last:  # an older platform; entries of other containers that come late are missed
                query["since"] = last
                query.pop("tail", None)


def _is_interrupt(exc: BaseException) -> bool:
    return isinstance(exc, (KeyboardInterrupt, asyncio.CancelledError))


def _main_name() -> str:
    main = sys.modules.get("__main__")
    file = getattr(main, "__file__", None)
    return Path(file).name if file else "app"

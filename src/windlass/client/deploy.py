"""The way of an app into a version on the platform.

    what is there? ─► ids ─► images, files, secrets ─► all functions in one request: the version, or nothing

The ids come first because pickled functions hold those of others. A function that the app has already keeps its id.
"""
from __future__ import annotations

import asyncio
import getpass
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import windlass
from windlass import exception
from windlass.client import commit, create, here, names, output, resolver, run, session
from windlass.kit import ids, tasks
from windlass.wire import kinds
from windlass.wire.messages import apps, deployments, environments, functions

if TYPE_CHECKING:
    from windlass.app import App
    from windlass.function import Function

STRATEGIES = ("rolling", "recreate")
_STOPPING = 40.0  # seconds for the containers of the old version to end
_LOOK = 0.25
_RACES = 3  # how often somebody else may be faster


class Wishes(NamedTuple):
    """How to deploy."""

    name: str | None = None
    environment: str | None = None
    tag: str = ""
    strategy: str = "rolling"


class Deployed(NamedTuple):
    """``left``: containers of the old version that did not stop in time (recreate)."""

    app_id: str
    version: int
    skipped: bool
    left: list[str]


async def deploy(app: App, wishes: Wishes) -> Deployed:
    """Publish ``app`` under its name. See ``App.deploy``."""
    name = _check(app, wishes)
    home = session.current()
    owner = tasks.Tasks(on_failure=lambda name, exc: None)
    show = output.current()
    show.creation_started()
    whole = False
    try:
        looking = owner.start(asyncio.to_thread(commit.look, _folder(app)), "git")
        environment = names.environment(wishes.environment)
        reply = await _published(app, _Target(home, name, environment, wishes, looking), show)
        whole = True
    finally:
        show.creation_ended(whole)
        await owner.close()
    left = await stopped(home, reply["app_id"], reply["leaving"], show)
    return Deployed(reply["app_id"], reply["version"], reply["skipped"], left)


def check_strategy(strategy: object) -> None:
    if strategy not in STRATEGIES:
        raise exception.InvalidError(
            f"{strategy!r} is no strategy of a deployment", hint=f"There are: {', '.join(STRATEGIES)}."
        )


def _check(app: App, wishes: Wishes) -> str:
    """The name to deploy under. Misuse is refused before anything is created."""
    check_strategy(wishes.strategy)
    names.check_deployment_tag(wishes.tag)
    if here.importing or (here.in_container() and here.input_id.get() is None):
        raise exception.InvalidError(
            "app.deploy() was called while the module is imported",
            hint='Put it below `if __name__ == "__main__":`, or use `windlass deploy`.',
        )
    if app._running is not None:
        raise exception.InvalidError(f"{app!r} is running", hint="Deploy it before or after `with app.run():`.")
    name = app.name if wishes.name is None else wishes.name
    if name is None:
        raise exception.InvalidError(
            "an app without a name cannot be deployed", hint='Name it: App("name"), or name= (--name).'
        )
    names.check_object(name, "the app's name")
    return name


def _folder(app: App) -> str:
    """Where its code is."""
    for function in app._functions.values():
        if function._source is not None and function._source.path:
            return str(Path(function._source.path).resolve().parent)
    return str(Path.cwd())


class _Target(NamedTuple):
    home: session.Session
    name: str
    environment: str
    wishes: Wishes
    looking: asyncio.Task[deployments.Commit | None]


async def _published(app: App, target: _Target, show: output.Output) -> deployments.AppDeployed:
    known = await _known(target)
    for _ in range(_RACES - 1):
        try:
            return await _once(app, target, show, known)
        except exception.ConflictError:
            before, known = known, await _known(target)
            if _version(before) == _version(known):
                raise  # nobody was faster: something of another app is in the way
            # the same name was deployed at the same time: its ids count
    return await _once(app, target, show, known)


def _version(known: apps.AppInfo | None) -> tuple[str, int] | None:
    return None if known is None else (known["app_id"], known["version"])


async def _once(
    app: App, target: _Target, show: output.Output, known: apps.AppInfo | None
) -> deployments.AppDeployed:
    app_id = known["app_id"] if known is not None else ids.new("ap")
    parts = await collect(app, app_id, known["parts"] if known is not None else {}, target.environment, show)
    body: deployments.AppDeploy = {
        "app_id": app_id,
        "deploy_id": ids.new("de"),
        "name": target.name,
        "environment": target.environment,
        "local_name": app.name,
        "tags": app._tags,
        "functions": parts,
        "strategy": target.wishes.strategy,
        "facts": facts(target.wishes.tag, await target.looking),
    }
    return await publish(app, body, target.home)


async def _known(target: _Target) -> apps.AppInfo | None:
    """The app that is deployed under this name; None for the first deployment."""
    try:
        query: apps.AppLookup = {"app": target.name, "environment": target.environment}
        info: apps.AppInfo = (await target.home.request("app.get", query)).body
        return info
    except exception.NotFoundError:
        known: environments.EnvironmentList = (await target.home.request("environment.list", {})).body
        if target.environment and target.environment not in [one["name"] for one in known["environments"]]:
            raise
        return None


async def collect(
    app: App, app_id: str, known: dict[str, functions.FunctionInfo], environment: str, show: output.Output
) -> dict[str, deployments.Part]:
    """Images, files and secrets of the app's functions are made; what the functions are is returned."""
    described = list(app._functions.values())
    for function in described:
        run.forget(function)
    for function in described:
        function._hydrate(_id_of(function, known), {**function._metadata(), "app_id": app_id})
    parts: dict[str, deployments.Part] = {}
    context = resolver.Context(
        session.current(), app_id=app_id, app_name=app.name, environment=environment, show=show, parts=parts
    )
    try:
        await context.load_all(described, again=True)
    except BaseException:
        for function in described:
            function._unhydrate()
        raise
    finally:
        await context.close()
    return parts


def _id_of(function: Function[..., object, object], known: dict[str, functions.FunctionInfo]) -> str:
    """The same as before while it is the same kind of thing."""
    info = known.get(function.tag)
    return info["function_id"] if info is not None and kinds.same(info, function._metadata()) else ids.new("fu")


async def publish(app: App, body: deployments.AppDeploy, home: session.Session) -> deployments.AppDeployed:
    try:
        reply: deployments.AppDeployed = (await home.request("app.deploy", body)).body
    except BaseException:
        for function in app._functions.values():
            function._unhydrate()
        raise
    app._app_id = reply["app_id"]
    for tag, function in app._functions.items():
        function._hydrate_from(reply["functions"][tag])
        create.say_urls(reply["functions"][tag], output.current())
    return reply


def facts(tag: str = "", found: deployments.Commit | None = None) -> deployments.Facts:
    """Who deploys, with what, from where."""
    said: deployments.Facts = {"client": windlass.__version__, "by": _user(), "tag": tag}
    if found is not None:
        said["commit"] = found
    return said


def _user() -> str:
    try:
        return getpass.getuser()
    except (ImportError, OSError, KeyError):  # Windows, before Python 3.13, has no ``pwd``
        return ""


async def stopped(home: session.Session, app_id: str, leaving: list[str], show: output.Output) -> list[str]:
    """Wait until containers that were told to stop are gone. Returned: those that are not, after some time."""
    deadline = time.monotonic() + _STOPPING
    left = leaving
    while left:
        listed = (await home.request("container.list", {"app_id": app_id})).body["containers"]
        there = {container["container_id"] for container in listed}
        left = [identity for identity in left if identity in there]
        if left and time.monotonic() > deadline:
            show.notice(f"{len(left)} containers of the old version have not stopped within {_STOPPING:.0f} s.")
            break
        if left:
            await asyncio.sleep(_LOOK)
    return left


async def renew(app: App, app_id: str, environment: str) -> deployments.AppDeployed:
    """Let the running app ``app_id`` consist of what ``app`` describes now. Ids stay, also those of containers where
    nothing changed."""
    home, show = session.current(), output.current()
    info: apps.AppInfo = (await home.request("app.get", {"app": app_id, "any_state": True})).body
    show.creation_started()
    whole = False
    try:
        parts = await collect(app, app_id, info["parts"], environment, show)
        body: deployments.AppDeploy = {
            "app_id": app_id, "deploy_id": ids.new("de"), "local_name": app.name, "tags": app._tags,
            "functions": parts, "facts": facts(),
        }  # fmt: skip
        reply = await publish(app, body, home)
        whole = True
    finally:
        show.creation_ended(whole)
    return reply

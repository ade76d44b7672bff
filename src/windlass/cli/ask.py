"""Questions to the platform of this machine. It is started where nobody answers."""
from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import TYPE_CHECKING, Any, cast

from windlass import exception, paths
from windlass.cli import options

if TYPE_CHECKING:
    from windlass.wire.messages import apps


def request(method: str, body: Any) -> Any:
    """Ask the platform; the answer's body."""
    from windlass.client import address, direct

    where = address.of_process()
    if where.socket:
        try:
            return direct.request(where.socket, where.hello, method, body, home=where.home)
        except exception.ThrottledError:
            pass
        except exception.Error:  # an answer; some, as TimeoutError, are OSErrors, too
            raise
        except OSError:
            pass
    return _patiently(method, body)


def _patiently(method: str, body: Any) -> Any:
    """Where nobody answers yet, or only elsewhere, or we came too fast."""
    from windlass.cli import control
    from windlass.client import bridge, session

    control.ensure(paths.home(), worker=False)

    async def ask() -> Any:
        return (await session.current().request(method, body)).body

    return bridge.run(ask())


def stream(method: str, body: Any) -> Iterator[Any]:
    """The bodies of the items of a stream, as they come."""
    from windlass.cli import control
    from windlass.client import faces, session

    control.ensure(paths.home(), worker=False)

    async def items() -> AsyncGenerator[Callable[[], Any], None]:
        async with contextlib.aclosing(session.current().stream(method, body)) as replies:
            async for reply in replies:
                yield functools.partial(_body, reply)

    with faces.BlockingStream(method, items()) as found:
        yield from found


def _body(reply: Any) -> Any:
    return reply.body


def find_app(identifier: str, env: str | None) -> Any:
    """The app of that id or name: deployed ones first, then running and recently stopped ones."""
    query: dict[str, Any] = {"app": identifier, **options.environment(env)}
    try:
        return request("app.get", query)
    except exception.NotFoundError:
        return request("app.get", {**query, "any_state": True})


def web_urls(app: Any) -> dict[str, str]:
    """Where the functions of a found app answer requests, by their names."""
    from windlass.client import create

    return dict(pair for part in app["parts"].values() for pair in create.web_urls(part))


def print_logs(
    query: dict[str, Any], *, timestamps: bool = False, prefix: Callable[[Any], str] | None = None
) -> None:
    """Print the entries that ``query`` asks for; with ``follow`` until the app has ended."""
    from windlass.cli import control, render
    from windlass.client import bridge, run, session

    control.ensure(paths.home(), worker=False)
    with render.open_output(show_progress=False, timestamps=timestamps, prefix=prefix) as shown:

        async def stream() -> None:
            if query.get("follow"):
                await run.follow_logs(session.current(), cast("apps.LogQuery", query), shown)
                return
            async for reply in session.current().stream("app.logs", query):
                shown.logs(reply.body["entries"])

        try:
            bridge.run(stream())
        except KeyboardInterrupt:
            if not query.get("follow"):
                raise

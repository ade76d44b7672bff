"""The inner parts of aiohttp that the edge stands on: this fails first where another release has changed them.

Then look at ``server/ingress/listener.py`` (``Connection``) beside aiohttp's ``web_protocol.py``, put right what
differs, and raise the bounds in ``pyproject.toml``.
"""
from __future__ import annotations

import asyncio
import inspect
from collections import abc
from unittest import mock

import aiohttp
import pytest
from aiohttp import helpers, http_parser, http_writer, streams, web, web_protocol

from windlass.server.ingress import listener

READ = ("_close", "_current_request", "_loop", "_messages", "_parser", "_upgraded", "writing_paused")
WRITTEN = ("_keepalive", "_keepalive_handle", "_next_keepalive_close_time", "_waiter")
CALLED = ("_drain_helper", "_process_keepalive", "data_received", "force_close", "handle_error", "set_parser")


def made() -> web_protocol.RequestHandler:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        raise NotImplementedError

    async def scene() -> web_protocol.RequestHandler:
        return web_protocol.RequestHandler(web.Server(answer), loop=asyncio.get_running_loop())

    return asyncio.run(scene())


@pytest.mark.parametrize("name", READ + WRITTEN + CALLED)
def test_a_connection_of_aiohttp_has_what_ours_uses(name):
    assert hasattr(made(), name), f"aiohttp {aiohttp.__version__} has no RequestHandler.{name} any more"


@pytest.mark.parametrize("name", sorted(set(vars(listener.Connection)) - {"__slots__"}))
def test_what_is_ours_in_a_connection_is_not_aiohttps_by_accident(name):
    meant = {"connection_made", "connection_lost", "data_received", "handle_error", "_process_keepalive"}
    taken = hasattr(web_protocol.RequestHandler, name) and not name.startswith("__")
    assert not taken or name in meant, f"aiohttp {aiohttp.__version__} has a RequestHandler.{name} of its own now"


class Way:
    """Stands where ``express.Way`` does; takes each request."""

    def begin(self, connection: object, message: object, payload: object) -> mock.Mock:
        return mock.Mock()

    def hurry(self) -> None:
        pass


@pytest.mark.parametrize("reads", [True, False])
def test_a_client_that_does_not_read_is_answered_the_long_way_which_waits_for_it(reads):
    """The short way only writes: without that its answers would be kept in memory without end."""

    async def scene() -> bool:
        started = asyncio.Event()

        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            started.set()
            return web.Response()

        loop = asyncio.get_running_loop()
        connection = listener.Connection(web.Server(answer), Way(), loop=loop)
        transport = mock.Mock(**{"get_extra_info.return_value": None, "is_closing.return_value": False})
        connection.connection_made(transport)
        await asyncio.sleep(0)  # now it waits for a request
        if not reads:
            connection.pause_writing()  # as transports say it above their high-water mark
        connection.data_received(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        short = connection._begun is not None
        if not short:
            await asyncio.wait_for(started.wait(), 5)
        connection.connection_lost(None)
        return short

    assert asyncio.run(scene()) == reads


def test_messages_wait_in_a_queue_of_pairs_until_the_waiter_is_woken():
    """Ours takes the waiter away while the bytes are parsed, and the message out of the queue."""
    source = inspect.getsource(web_protocol.RequestHandler.data_received)
    assert "self._messages.append((msg, payload))" in source, f"aiohttp {aiohttp.__version__} queues otherwise"
    assert "waiter = self._waiter" in source and "waiter.set_result(None)" in source
    assert isinstance(made()._messages, abc.MutableSequence) or hasattr(made()._messages, "popleft")


def test_the_parser_says_what_the_short_way_reads():
    assert hasattr(http_parser.HttpRequestParser, "message_consumed")
    assert http_writer.HttpVersion11 == (1, 1) and streams.EMPTY_PAYLOAD is web_protocol.EMPTY_PAYLOAD
    assert inspect.isclass(web_protocol._ErrInfo) and helpers.rfc822_formatted_time().endswith("GMT")

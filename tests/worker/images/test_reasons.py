"""Why packages could not be installed."""

from __future__ import annotations

import asyncio
import socket

import index
from windlass.worker.images import reasons


def doubts(url: str, package: str = "six>=1") -> list[str]:
    return asyncio.run(reasons.doubts({"op": "pip", "packages": [package]}, {"PIP_INDEX_URL": url}, bundle=None))


def test_indexes_are_found_in_options_and_environment() -> None:
    options = ["--index-url", "https://a/simple", "--extra-index-url=http://b/simple", "--pre", "-f", "/wheels"]
    env = {"UV_INDEX": "mine=https://c/x https://d/x", "PIP_INDEX_URL": "https://a/simple", "OTHER": "https://e"}
    found = reasons.indexes(options, env)
    assert found == ["https://a/simple", "http://b/simple", "https://c/x", "https://d/x"]


def test_an_index_that_refuses_the_password_is_named_without_it() -> None:
    with index.serving("right") as company:
        (doubt,) = doubts(company.url(password="wrong-word"))
        assert "401" in doubt and f"127.0.0.1:{company.port}" in doubt and "wrong-word" not in doubt
        assert doubts(company.url(), index.PACKAGE) == []
        assert doubts(company.url(), "unknown") == [], "pip says that itself"


def test_an_index_that_nobody_reaches_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    (doubt,) = doubts(f"http://127.0.0.1:{port}/simple")
    assert "cannot be reached" in doubt and "refused" in doubt

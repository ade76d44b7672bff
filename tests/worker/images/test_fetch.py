"""One file by HTTP: whole, with the right checksum, in time, or not at all."""
from __future__ import annotations

import asyncio
import hashlib
import http.server
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from windlass import exception
from windlass.worker.images import fetch

DATA = b"x" * 3_000_000


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = self.path.split("/", 3)[-1] if self.path.startswith("http:") else self.path.lstrip("/")
        self.server.seen.append(self.path)  # type: ignore[attr-defined]
        if path == "moved":
            self.send_response(302)
            self.send_header("Location", "/file.bin")
        elif path == "trick":
            self.send_response(302)
            self.send_header("Location", "file:///etc/passwd")
        elif path in ("file.bin", "short.bin", "slow.bin", ""):
            self.send_response(200)
            self.send_header("Content-Length", str(len(DATA) + (path == "short.bin")))
        else:
            self.send_response(404)
        self.end_headers()
        if path == "slow.bin":
            for _ in range(100):
                self.wfile.write(b"x")
                time.sleep(0.05)
        elif path in ("file.bin", "short.bin", ""):
            self.wfile.write(DATA)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Any]:
    serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    serving.seen = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=serving.serve_forever, args=(0.01,))
    thread.start()
    yield serving
    serving.shutdown()
    thread.join()
    serving.server_close()


def get(folder: Path, url: str, *, path: str = "/x", timeout: float = 20, checksum: str = "", **env: str) -> Path:
    recipe: Any = {"op": "fetch", "url": url, "path": path, "checksum": checksum}
    place, name = asyncio.run(fetch.fetched(recipe, folder, env=env, bundle=None, timeout=timeout))
    return place / name


def at(server: Any, name: str) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}/{name}"


def test_a_file_comes_whole_and_keeps_its_name(server: Any, tmp_path: Path) -> None:
    checksum = "sha256:" + hashlib.sha256(DATA).hexdigest()
    found = get(tmp_path, at(server, "file.bin"), checksum=checksum)
    assert found.name == "file.bin" and found.read_bytes() == DATA


def test_redirections_are_followed_but_not_to_local_files(server: Any, tmp_path: Path) -> None:
    assert get(tmp_path, at(server, "moved")).read_bytes() == DATA
    (tmp_path / "second").mkdir()
    with pytest.raises(exception.ImageBuildError):
        get(tmp_path / "second", at(server, "trick"))


@pytest.mark.parametrize(
    ("name", "why"), [("gone", "404"), ("short.bin", "ended after 3,000,000"), ("slow.bin", "not there in time")]
)
def test_what_goes_wrong_says_why(server: Any, tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(exception.ImageBuildError, match=why):
        get(tmp_path, at(server, name), timeout=0.3 if name == "slow.bin" else 20)


def test_a_wrong_checksum_is_refused(server: Any, tmp_path: Path) -> None:
    with pytest.raises(exception.ImageBuildError, match="has the checksum sha256"):
        get(tmp_path, at(server, "file.bin"), checksum="sha256:" + "0" * 64)


def test_a_url_without_a_name_needs_the_name_of_a_file(server: Any, tmp_path: Path) -> None:
    assert get(tmp_path, at(server, "")).read_bytes() == DATA
    with pytest.raises(exception.ImageBuildError, match="names no file"):
        get(tmp_path, at(server, ""), path="/x/")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://x/y", "x", "http://127.0.0.1:1/f", "http://[bad/f"])
def test_what_cannot_be_fetched_is_said(tmp_path: Path, url: str) -> None:
    with pytest.raises(exception.ImageBuildError):
        get(tmp_path, url)


def test_the_machines_proxy_is_asked_but_for_exceptions(server: Any, tmp_path: Path) -> None:
    proxy = f"http://127.0.0.1:{server.server_address[1]}"
    get(tmp_path, "http://else.invalid/file.bin", http_proxy=proxy)
    assert server.seen == ["http://else.invalid/file.bin"]
    (tmp_path / "second").mkdir()
    get(tmp_path / "second", at(server, "file.bin"), http_proxy="http://127.0.0.1:1", no_proxy="x.y, 127.0.0.1")
    assert server.seen[-1] == "/file.bin"

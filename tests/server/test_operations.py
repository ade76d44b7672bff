"""The door of operations: figures that Prometheus can read, health that is true, and how little both cost."""

from __future__ import annotations

import asyncio
import json
import re
import stat

import pytest

from windlass import exception, paths
from windlass.kit import exposition
from windlass.server.apply import metrics
from windlass.server.ingress import operations
from windlass.server.state import measures
from windlass.server.store import database

_LINE = re.compile(r'([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)*)\})? (-?[0-9.e+-]+|\+Inf)\Z')


async def ask(home, path: str, method: str = "GET") -> tuple[int, str]:
    reader, writer = await asyncio.open_unix_connection(str(paths.operations_socket(home)))
    try:
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        return int(head.split()[1]), body.decode()
    finally:
        writer.close()


def figures(text: str) -> dict[str, float]:
    """Value by name and labels; fails where a line is none of the format."""
    found = {}
    for line in text.splitlines():
        if not line.startswith("# "):
            assert _LINE.match(line), line
            name, _, value = line.rpartition(" ")
            found[name] = float(value)
    return found


def test_figures_say_what_was_done_and_what_waits(play):
    async def scene(platform):
        gate = asyncio.Event()

        async def work(args, kwargs, lease):
            if args[0] == "wait":
                await gate.wait()
            elif args[0] == "fail":
                raise ValueError
            return 1

        worker = await platform.worker(work)
        worker.gpus = [{"gpu_id": f"g{n}", "kind": "T4", "memory": 1, "model": "Tesla T4"} for n in range(2)]
        await worker.hello()
        client = await platform.client()
        autoscaler = {"min_containers": 0, "max_containers": 1, "buffer_containers": 0, "scaledown_window": 60.0}
        function = await client.app(autoscaler=autoscaler)
        await client.run(function, ["ok", "ok", "fail"], kind="map")
        await client.create(function, ["wait"] * 5)
        while not figures((await ask(platform.home, "/metrics"))[1])['windlass_inputs_running{app="t",function="f"}']:
            await asyncio.sleep(0.01)
        before = platform.core.turn.commits
        status, text = await ask(platform.home, "/metrics")
        found = figures(text)
        assert status == 200
        assert found['windlass_inputs_ended_total{status="success"}'] == 2
        assert found['windlass_inputs_ended_total{status="failure"}'] == 1
        waiting, running = (found[f'windlass_inputs_{w}{{app="t",function="f"}}'] for w in ("queued", "running"))
        assert waiting + running == 5
        assert found['windlass_containers{app="t",function="f",state="ready"}'] == 1
        assert found['windlass_container_start_seconds_count{phase="whole"}'] == 1
        assert found["windlass_workers"] == 1 and found["windlass_clients"] == 1
        assert found['windlass_gpus{kind="T4",state="free"}'] == 2
        assert 0 < before <= found["windlass_commit_seconds_count"] <= platform.core.turn.commits
        assert found['windlass_commit_seconds_bucket{le="+Inf"}'] == found["windlass_commit_seconds_count"]
        assert found["windlass_scheduler_look_seconds_count"] > 0
        assert found['windlass_stored_bytes{what="database"}'] > 0
        gate.set()

    play(scene, metrics="127.0.0.1:0")


def test_health_is_that_of_the_database_and_of_the_worker(play, monkeypatch):
    async def scene(platform):
        home = platform.home
        assert stat.S_IMODE(paths.operations_socket(home).stat().st_mode) == 0o600
        assert await ask(home, "/healthz") == (200, '{"state": "alive"}\n')
        status, text = await ask(home, "/readyz")
        assert status == 503 and json.loads(text)["gaps"] == ["no worker is connected"]
        worker = await platform.worker(lambda *_: 1)
        assert (await ask(home, "/readyz"))[0] == 200
        before = platform.core.turn.commits
        for _ in range(20):
            assert (await ask(home, "/readyz"))[0] == 200
        assert platform.core.turn.commits - before < 5
        platform.core.low_disk = "the disk is full"
        assert json.loads((await ask(home, "/readyz"))[1])["gaps"] == ["the disk is full"]
        platform.core.low_disk = ""
        worker.peer.close()
        while (await ask(home, "/readyz"))[0] == 200:
            await asyncio.sleep(0.01)
        assert (await ask(home, "/nothing"))[0] == 404 and (await ask(home, "/metrics", "POST"))[0] == 405

    play(scene, metrics="127.0.0.1:0")


def test_a_database_that_takes_no_commits_is_not_ready(play, monkeypatch):
    async def scene(platform):
        await platform.worker(lambda *_: 1)
        full = exception.ResourceExhaustedError("full")

        def refuse(self):
            raise full

        monkeypatch.setattr(database.Database, "commit", refuse)
        monkeypatch.setattr("windlass.server.apply.health._PATIENCE", 0.2)
        status, text = await ask(platform.home, "/readyz")
        assert status == 503 and "the database takes no commits" in json.loads(text)["gaps"]
        monkeypatch.undo()

    play(scene, metrics="127.0.0.1:0")


def test_names_are_so_many_at_most_and_cannot_break_the_page(play):
    async def scene(platform):
        client = await platform.client()
        for number in range(metrics._MOST + 20):
            await client.app(tag=f'f{number}"\n\\')
        found = figures(metrics.page(platform.core))
        names = [name for name in found if name.startswith("windlass_inputs_queued")]
        assert len(names) == metrics._MOST + 1 and 'windlass_inputs_queued{app="",function="(others)"}' in names

    play(scene)


def test_a_histogram_counts_each_duration_once():
    timing, page = measures.Timing((0.1, 1.0)), exposition.Page()
    for seconds in (0.05, 0.1, 0.5, 7.0):
        timing.add(seconds)
    page.histogram("h", "Help.", [({}, timing.bounds, timing.counts, timing.total)])
    assert page.text().splitlines()[2:] == [
        'h_bucket{le="0.1"} 2', 'h_bucket{le="1"} 3', 'h_bucket{le="+Inf"} 4', "h_sum 7.65", "h_count 4",
    ]  # fmt: skip


def test_it_is_reached_at_an_address_only_where_one_was_said_and_a_busy_one_is_named(tmp_path):
    async def hello() -> operations.Answer:
        return operations.said(200, "hello")

    async def scene() -> None:
        pages = {"/hello": hello}
        async with operations.serve(pages, tmp_path / "a.sock", "") as none:
            assert none == []
        assert not (tmp_path / "a.sock").exists()
        async with operations.serve(pages, tmp_path / "a.sock", "127.0.0.1:0") as (port,):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert (await reader.read()).endswith(b'"hello"\n')
            writer.close()
            with pytest.raises(exception.ConflictError, match=f"127.0.0.1:{port}"):
                async with operations.serve(pages, tmp_path / "b.sock", f"127.0.0.1:{port}"):
                    pass

    asyncio.run(asyncio.wait_for(scene(), 10))


@pytest.mark.parametrize("text", ["", "9464x", "host:", "127.0.0.1:70000"])
def test_an_address_that_is_none_is_refused(text):
    with pytest.raises(exception.InvalidError, match="HOST:PORT"):
        operations.parsed(text)
    assert operations.parsed("[::1]:80") == ("::1", 80) and operations.parsed(":9464") == ("127.0.0.1", 9464)

"""A backup of a platform at work, restored in another home: what was acknowledged before it is there, and goes on.

The other platform is watched, too: its figures, its health and the spans of its calls are what they should be.
"""

from __future__ import annotations

import http.client
import re
import socket
import subprocess
import threading
import time

import pytest

import collector as collectors
import leftovers
import windlass
from stage import Stage, until
from windlass import paths

DEPLOYED = """
import modal

app = modal.App("kept-shop")
volume = modal.Volume.from_name("kept-files", create_if_missing=True)
waits = modal.Queue.from_name("kept-line", create_if_missing=True)

@app.function(volumes={"/data": volume}, max_containers=1)
def add(name, text):
    open(f"/data/{name}", "w").write(text)
    volume.commit()
    return sorted(__import__("os").listdir("/data"))

@app.function()
def adds(name):
    import windlass
    assert windlass.current_traceparent()
    return add.remote(name, "x")

@app.function(max_containers=1)
def patient(number):
    return waits.get(timeout=250) + number
"""


@pytest.fixture
def collector():
    made = collectors.Collector()
    yield made
    made.close()


@pytest.fixture
def other(stage, tmp_path, collector):
    """Another home, which has the base of this one; spans of its calls go to ``collector``."""
    home = tmp_path / "home"
    (home / "layers").mkdir(parents=True)
    subprocess.run(["cp", "-al", stage.base(), home / "layers"], check=True)
    platform = Stage(home, WINDLASS_SERVER_WEB_PORT="0", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    yield platform
    platform.stop()
    until(lambda: not leftovers.look(home), 10, "nothing left")


def asked(platform: Stage, path: str) -> tuple[int, str]:
    """What the door of operations answers, as `curl --unix-socket` would see it."""
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(paths.operations_socket(platform.home)))
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_what_was_acknowledged_before_a_backup_is_there_after_it_and_goes_on(
    stage, other, program, tmp_path, collector
):
    file = program("kept.py", DEPLOYED)
    stage.cli("deploy", file, check=0)
    add = windlass.Function.from_name("kept-shop", "add")
    patient = windlass.Function.from_name("kept-shop", "patient")
    values = windlass.Dict.from_name("kept-values", create_if_missing=True)
    blob = b"large" * 100_000
    values["large"] = blob
    assert add.remote("before", "written before") == ["before"]
    waiting = patient.spawn(100)
    with pytest.raises(TimeoutError):
        waiting.get(timeout=0.2)
    acknowledged, committed, over = [], [], threading.Event()

    def write() -> None:
        for number in range(100_000):
            if over.is_set():
                return
            values[number] = number
            acknowledged.append((number, time.time()))

    def commit() -> None:
        for number in range(100_000):
            if over.is_set():
                return
            add.remote(f"file-{number}", "x")
            committed.append((f"file-{number}", time.time()))

    writers = [threading.Thread(target=one) for one in (write, commit)]
    for writer in writers:
        writer.start()
    try:
        until(lambda: len(acknowledged) > 20 and len(committed) > 2)
        began = time.time()
        said = stage.cli("server", "backup", str(tmp_path / "backup.tar"), check=0).out
        assert "secrets" in said
        stage.kill("server")
    finally:
        over.set()
        for writer in writers:
            writer.join(30)
    refused = stage.cli("server", "restore", str(tmp_path / "backup.tar"), check=1)
    assert "runs" in refused.err and "windlass server stop" in refused.err

    said = other.cli("server", "restore", str(tmp_path / "backup.tar"), check=0).out
    assert str(other.home) in said
    again = other.cli("server", "restore", str(tmp_path / "backup.tar"), check=1)
    assert "--replace" in again.err
    other.start()
    shown = other.cli("dict", "items", "kept-values", "--all", check=0).out
    keys = {int(key) for key in shown.split() if key.isdigit()}
    assert {number for number, at in acknowledged if at < began} <= keys
    files = set(other.cli("volume", "ls", "kept-files", check=0).out.split())
    assert {name for name, at in committed if at < began} <= files
    shown = program("shown.py", f"""
import modal

app = modal.App("shown")

@app.local_entrypoint()
def main():
    assert modal.Dict.from_name("kept-values")["large"] == b"large" * 100_000
    assert modal.Function.from_name("kept-shop", "adds").remote("after")[:2] == ["after", "before"]
    modal.Queue.from_name("kept-line").put(1)
    print("finished", modal.FunctionCall.from_id({waiting.object_id!r}).get(timeout=60))
""")
    assert "finished 101" in other.cli("run", shown, check=0).out
    assert "written before" in other.cli("volume", "get", "kept-files", "before", "-", check=0).out
    windlass.Queue.from_name("kept-line").put(1)
    assert waiting.get(timeout=60) == 101

    def below(name: str, parent: str) -> list[dict]:
        return [s for s in collector.spans if s["name"] == name and s.get("parentSpanId") == parent]

    spans = collector.wait("adds.remote", "call adds", "run adds", "call add", "run add", "import", "make")
    above = spans["adds.remote"]
    assert above["service"] == "windlass-client"
    for name in ("call adds", "run adds", "call add", "run add"):
        (above,) = until(lambda: below(name, above["spanId"]), what=name)  # noqa: B023 - asked at once
        assert above["service"] == "windlass"
    status, text = asked(other, "/metrics")
    (ended,) = re.findall(r'^windlass_inputs_ended_total\{status="success"\} (\d+)$', text, re.M)
    assert status == 200 and int(ended) >= 3  # and perhaps what was under way when the backup was made
    (started,) = re.findall(r'^windlass_container_start_seconds_count\{phase="whole"\} (\d+)$', text, re.M)
    assert int(started) >= 1  # of "adds"; the others may have been up then, and have their names again
    assert asked(other, "/readyz")[0] == 200 and asked(other, "/healthz")[0] == 200

"""The same as ``bench/kv.py`` with a Redis on loopback: durable like Windlass against a killed process."""
from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WAITERS = 1000


class Client:
    """Just enough of the protocol."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")

    def send(self, *words: bytes) -> None:
        parts = [b"*%d\r\n" % len(words)]
        for word in words:
            parts.append(b"$%d\r\n%s\r\n" % (len(word), word))
        self._socket.sendall(b"".join(parts))

    def receive(self) -> Any:
        head = self._file.readline()
        kind, rest = head[:1], head[1:-2]
        if kind == b"$":
            return None if rest == b"-1" else self._file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self.receive() for _ in range(int(rest))]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        return rest

    def ask(self, *words: bytes) -> Any:
        self.send(*words)
        return self.receive()

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@contextlib.contextmanager
def server(program: str) -> Iterator[tuple[int, int]]:
    """Its port and process id."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--appendonly", "yes",
                   "--save", "", "--maxclients", "4000"]  # fmt: skip
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            try:
                for _ in range(100):
                    with contextlib.suppress(OSError):
                        Client(port).close()
                        break
                    time.sleep(0.05)
                yield port, process.pid
            finally:
                process.terminate()


def figures(rounds: int) -> dict[str, Any] | None:
    """None where there is no Redis."""
    program = os.environ.get("REDIS_SERVER") or shutil.which("redis-server")
    if program is None:
        return None
    with server(program) as (port, pid):
        one, value = Client(port), b"x" * 100
        found: dict[str, Any] = {"get": [], "put": [], "update": []}
        for _ in range(rounds):
            found["put"].append(_timed(lambda: one.ask(b"SET", b"key", value)))
            found["get"].append(_timed(lambda: one.ask(b"GET", b"key")))
        for turn in range(10):
            words = [word for n in range(10_000) for word in (b"%d %d" % (turn, n), b"%d" % n)]
            found["update"].append(10_000 / _timed(lambda words=words: one.ask(b"MSET", *words)) * 1000)
        found["hand-off"] = _ping_pong(port, rounds // 4)
        found["after silence"] = _hand_off(port, rounds // 4)
        found["server waits"] = _waiting(port, pid)
        one.close()
    return found


def _timed(act: Any) -> float:
    began = time.perf_counter()
    act()
    return (time.perf_counter() - began) * 1000


def _ping_pong(port: int, rounds: int) -> list[float]:
    """Half of the time there and back, between two processes."""
    other = os.fork()
    if other == 0:
        client = Client(port)
        for _ in range(rounds):
            client.ask(b"RPUSH", b"pong", client.ask(b"BLPOP", b"ping", b"0")[1])
        os._exit(0)
    client, times = Client(port), []
    for _ in range(rounds):
        began = time.perf_counter()
        client.ask(b"RPUSH", b"ping", b"1")
        client.ask(b"BLPOP", b"pong", b"0")
        times.append((time.perf_counter() - began) * 500)
    os.waitpid(other, 0)
    client.close()
    return times


def _hand_off(port: int, rounds: int) -> list[float]:
    """From one process to another."""
    putter = os.fork()
    if putter == 0:
        client = Client(port)
        for _ in range(rounds):
            client.ask(b"BLPOP", b"ready", b"0")
            time.sleep(0.003)
            client.ask(b"RPUSH", b"items", repr(time.time()).encode())
        os._exit(0)
    client, times = Client(port), []
    for _ in range(rounds):
        client.ask(b"RPUSH", b"ready", b"1")
        put_at = float(client.ask(b"BLPOP", b"items", b"0")[1])
        times.append((time.time() - put_at) * 1000)
    os.waitpid(putter, 0)
    client.close()
    return times


def _waiting(port: int, pid: int) -> float:
    waiters = [Client(port) for _ in range(WAITERS)]
    for waiter in waiters:
        waiter.send(b"BLPOP", b"many", b"0")
    threading.Event().wait(1)
    before = _cpu(pid)
    threading.Event().wait(4)
    used = (_cpu(pid) - before) / 4
    for waiter in waiters:
        waiter.close()
    return used


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

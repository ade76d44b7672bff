"""Functions that several containers run together, and what each of them sees of the others."""

from __future__ import annotations

import os
import signal
import socket
import time
from typing import Any

import windlass
from windlass import experimental

app = windlass.App("test-clustered")
PORT = 7000
MARKS = windlass.Dict.from_name("test-clustered-marks", create_if_missing=True)


def reach(address: str, seconds: float = 20.0) -> socket.socket:
    """A connection to another rank, which may not listen yet."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return socket.create_connection((address, PORT), 5)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def gathered(own: str, count: int) -> list[str]:
    """What the other ranks say to rank 0, by the addresses that they come from."""
    said = []
    with socket.create_server((own, PORT), family=socket.AF_INET6) as server:
        server.settimeout(20)
        for _ in range(count):
            visitor, peer = server.accept()
            with visitor:
                said.append(f"{visitor.recv(100).decode()} from {peer[0]}")
    return sorted(said)


@app.function(timeout=60)
@windlass.clustered(size=3)
def meet(word: str) -> Any:
    cluster = windlass.Cluster.from_context()
    info = experimental.get_cluster_info()
    ranks = [cluster.container_rank(one) for one in cluster.container_ids()]
    assert ranks == [0, 1, 2] and info.rank == cluster.container_rank()
    assert info.container_ips == cluster.container_ips() and info.cluster_id == cluster.object_id
    ips = cluster.container_ips()
    if info.rank:
        with reach(ips[0]) as s:
            s.sendall(f"{word} of {info.rank}".encode())
        return f"nobody sees this of {info.rank}"
    again = windlass.Cluster.from_id(cluster.object_id)
    return gathered(ips[0], 2), ips, again.container_ips(), os.environ["WINDLASS_TASK_ID"], cluster.container_ids()


@app.function(timeout=60)
@experimental.clustered(2)
def hurt(how: str) -> tuple[int, int]:
    """Rank 1 comes to grief while rank 0 waits; on the second try both return."""
    rank = experimental.get_cluster_info().rank
    tries = MARKS.get(f"{how}-{rank}", 0) + 1
    MARKS.put(f"{how}-{rank}", tries)
    if tries > 1:
        return rank, tries
    if rank:
        while not MARKS.get(f"{how}-0", 0):
            time.sleep(0.02)
        if how == "raise":
            raise ValueError("rank 1 has had enough")
        os.kill(os.getpid(), signal.SIGKILL)
    try:
        time.sleep(50)
    finally:
        MARKS.put(f"{how}-interrupted", True)
    return rank, tries


@app.cls()
@windlass.clustered(size=2)
class Pair:
    @windlass.enter()
    def note(self) -> None:
        self.rank = windlass.Cluster.from_context().container_rank()

    @windlass.method()
    def yields(self, count: int) -> Any:
        for number in range(count):
            yield self.rank, number

"""A platform over a slow link: warm calls, a map, many clients. The platform listens: `windlass server start --listen`.

    python bench/remote.py [--only call,map,clients] [--carrier wss] [--write]

The link is a process that hands bytes on 10 ms later in each direction (``link.py``; netem in a network namespace would
do it in the kernel; not every kernel has that). "One round trip" is what an echo over that link takes, before and after
the calls, one at a time like these. It turns round inside the link, so it has no share of any program at the far end.
"""
from __future__ import annotations

import argparse
import asyncio
import json
import os
import pickle
import socket
import statistics
import subprocess
import sys
import time

import windlass
from windlass import config, paths, wire
from windlass.client import address, bridge, outputs, session
from windlass.client.remote import place
from windlass.kit import ids

ONE_WAY = 0.010
INPUTS = 10_000
CALLS = 200
CLIENTS, SECONDS = 200, 10.0
PROCESSES = 2

app = windlass.App("bench-remote")


@app.function(min_containers=1, max_containers=1, scaledown_window=600)
def plain(x: int) -> int:
    return x


@app.function(min_containers=1, max_containers=1, scaledown_window=600)
@windlass.concurrent(max_inputs=100)
def echo(x: int) -> int:
    return x


def round_trip(port: int) -> float:
    """Of the link, with nobody at its other end: it turns round there."""
    took = []
    with socket.create_connection(("127.0.0.1", port)) as end:
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(CALLS):
            began = time.perf_counter()
            end.sendall(b"x" * 300)
            end.recv(300, socket.MSG_WAITALL)
            took.append(time.perf_counter() - began)
    return statistics.median(took) * 1e3


# -- what is measured; each in a process of its own, which knows the platform by its environment


def paced() -> list[float]:
    """As over a link: between one call and the next all who take part have slept for a round trip."""
    return calls(2 * ONE_WAY)


def calls(pause: float = 0.0) -> list[float]:
    with app.run():
        for x in range(20):
            plain.remote(x)
        took = []
        for x in range(CALLS):
            time.sleep(pause)
            began = time.perf_counter()
            plain.remote(x)
            took.append((time.perf_counter() - began) * 1e3)
    return took


def mapped() -> list[float]:
    with app.run():
        list(echo.map(range(1000)))
        rates = []
        for _ in range(3):
            began = time.perf_counter()
            assert list(echo.map(range(INPUTS))) == list(range(INPUTS))
            rates.append(INPUTS / (time.perf_counter() - began))
    return rates


def in_a_process(what: str, about: dict[str, str]) -> list[float]:
    command = [sys.executable, __file__, "--child", what]
    done = subprocess.run(command, env={**os.environ, **about}, stdout=subprocess.PIPE, text=True, check=True)
    found: list[float] = json.loads(done.stdout.splitlines()[-1])
    return found


def clients(about: dict[str, str], rate: float) -> tuple[list[float], int, int]:
    """``rate`` calls a second of each of ``CLIENTS`` connections: times, how many begun and answered."""
    with app.run():
        echo.remote(1)
        share = CLIENTS // PROCESSES
        command = [sys.executable, __file__, "--child", f"share:{share}:{rate}:{echo.object_id}"]
        running = [
            subprocess.Popen(command, env={**os.environ, **about}, stdout=subprocess.PIPE, text=True)
            for _ in range(PROCESSES)
        ]
        said = [json.loads(one.communicate()[0].splitlines()[-1]) for one in running]
    took = sorted(ms for one in said for ms in one["took"])
    return took, sum(one["begun"] for one in said), len(took)


async def _share(count: int, rate: float, function: str) -> dict[str, object]:
    hello = {"role": "user", "protocol": wire.PROTOCOL, "version": windlass.__version__}
    url = os.environ["WINDLASS_SERVER_URL"]
    for name in ("token_id", "token_secret"):
        hello[name] = os.environ[f"WINDLASS_{name.upper()}"]
    homes = [
        session.Session(address.elsewhere(url, {**hello, "client_id": ids.new("cl")}, config.config))
        for _ in range(count)
    ]
    for home in homes:
        await home.connect()
    took: list[float] = []
    begun = 0

    async def call(home: session.Session, x: int) -> None:
        data = pickle.dumps(((x,), {}))
        create = {
            "call_id": ids.new("fc"), "function_id": function, "kind": "remote", "parent_input_id": None,
            "inputs": [{"index": 0, "payload": {"at": 0, "size": len(data)}}], "closed": True,
        }  # fmt: skip
        began = time.perf_counter()
        assert (await outputs.first(home, create, [data])).open() == x
        took.append((time.perf_counter() - began) * 1e3)

    async def client(n: int, home: session.Session) -> None:
        nonlocal begun
        loop = asyncio.get_running_loop()
        due, stop = loop.time() + n / count / rate, loop.time() + SECONDS
        waiting = []
        while due < stop:  # calls begin when they are due, whether those before them have ended or not
            await asyncio.sleep(max(0.0, due - loop.time()))
            begun += 1
            waiting.append(home.tasks.start(call(home, begun), "call"))
            due += 1 / rate
        await asyncio.gather(*waiting)

    await asyncio.gather(*(client(n, home) for n, home in enumerate(homes)))
    await asyncio.gather(*(home.close() for home in homes))
    return {"took": took, "begun": begun}


# -- all of it


def main(arguments: argparse.Namespace) -> list[tuple[str, str]]:
    shown = json.loads((paths.home() / "remote.shown.json").read_text())
    made = bridge.run(session.current().request("token.create", {"token_id": ids.new("ak"), "name": "bench"})).body
    rows: list[tuple[str, str]] = []

    def row(title: str, text: str) -> None:
        print(f"{title}: {text}", flush=True)
        rows.append((title, text))

    import link  # containers import this file, too, and have no such module

    with link.between(place.read(shown["url"]).port, ONE_WAY) as (way, echoing):
        about = {
            "WINDLASS_SERVER_URL": f"{arguments.carrier}://127.0.0.1:{way}",
            "WINDLASS_SERVER_FINGERPRINT": shown["fingerprint"],
            "WINDLASS_TOKEN_ID": made["token_id"],
            "WINDLASS_TOKEN_SECRET": made["secret"],
        }
        if "call" in arguments.only:
            before, took = round_trip(echoing), in_a_process("calls", about)
            far, trip = statistics.median(took), (before + round_trip(echoing)) / 2
            text = f"{far:.2f} ms; one round trip {trip:.2f} ms: + {far - trip:.2f} ms"
            row("warm `.remote()` over 10 ms + 10 ms, p50", text)
            near = statistics.median(in_a_process("calls", {}))
            row("the same beside the platform, p50", f"{near:.1f} ms")
            slept = statistics.median(in_a_process("paced", {}))
            row("the same beside the platform, 20 ms apart, p50", f"{slept:.1f} ms")
        if "map" in arguments.only:
            far, near = statistics.median(in_a_process("mapped", about)), statistics.median(in_a_process("mapped", {}))
            row(f"map of {INPUTS:,} no-ops", f"{far:,.0f}/s; local {near:,.0f}/s: {far / near:.0%}")
        for rate in arguments.rates if "clients" in arguments.only else []:
            direct = {**about, "WINDLASS_SERVER_URL": f"{arguments.carrier}://{shown['url'].partition('//')[2]}"}
            took, begun, answered = clients(direct, rate)
            p50, p99 = took[len(took) // 2], took[int(len(took) * 0.99)]
            what = f"{CLIENTS} clients, {rate * CLIENTS:,.0f} calls/s in all (no link between)"
            row(what, f"p50 {p50:.1f}, p99 {p99:.1f} ms; {begun - answered} of {begun:,} lost")
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="call,map,clients", type=lambda text: text.split(","))
    parser.add_argument("--carrier", default="wss")
    parser.add_argument("--rates", default="0.25,1,5", type=lambda text: [float(one) for one in text.split(",")])
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--child", default="")
    chosen = parser.parse_args()
    if chosen.child.startswith("share:"):
        _, number, each, identity = chosen.child.split(":")
        print(json.dumps(asyncio.run(_share(int(number), float(each), identity))))
    elif chosen.child:
        print(json.dumps({"calls": calls, "paced": paced, "mapped": mapped}[chosen.child]()))
    else:
        found = main(chosen)
        if chosen.write:
            import sections

            table = "| what | |\n|---|---|\n" + "".join(f"| {title} | {text} |\n" for title, text in found)
            sections.put("A remote platform", table)

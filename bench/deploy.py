"""What deploying costs: an app of 20 functions again, a change until its code answers, `windlass serve`.

    python bench/deploy.py [RUNS]

The platform that is up is used; it is started if need be. Of every figure: median and worst.
"""
from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import windlass

FUNCTIONS = 20
COMMAND = [sys.executable, "-m", "windlass.cli"]
SERVED = """
import modal
app = modal.App("bench-serve")

@app.function()
def f():
    return {value}
"""


def source(value: int) -> str:
    functions = "\n".join(f"@app.function()\ndef f{n}():\n    return {value}\n" for n in range(FUNCTIONS))
    return f'import modal\napp = modal.App("bench-deploy")\n{functions}'


def app(value: int) -> windlass.App:
    """Functions that are pickled, so that each has to be looked at."""
    made = windlass.App("bench-deploy-sdk")
    for n in range(FUNCTIONS):
        made.function(serialized=True, name=f"f{n}")(lambda value=value: value)
    return made


def timed(action, runs: int) -> list[float]:
    taken = []
    for _ in range(runs):
        began = time.perf_counter()
        action()
        taken.append(time.perf_counter() - began)
    return taken


def show(title: str, taken: list[float]) -> None:
    print(f"{title}: median {statistics.median(taken):.2f} s, worst {max(taken):.2f} s ({len(taken)} runs)")


def windlass_cli(*words: str) -> str:
    done = subprocess.run([*COMMAND, *words], capture_output=True, text=True, check=True)
    return done.stdout


def until_it_answers(call, value: int) -> float:
    began = time.perf_counter()
    while call() != value:
        time.sleep(0.005)
    return time.perf_counter() - began


def deployments(runs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench_deploy.py"
        path.write_text(source(0))
        windlass_cli("deploy", str(path))
        taken = timed(lambda: windlass_cli("deploy", str(path)), runs)
        show(f"windlass deploy, {FUNCTIONS} functions, nothing changed", taken)
    app(0).deploy()
    show(f"App.deploy(), {FUNCTIONS} functions, nothing changed", timed(lambda: app(0).deploy(), runs))
    handle = windlass.Function.from_name("bench-deploy-sdk", "f0")
    handle.remote()
    taken = []
    for value in range(1, runs + 1):
        began = time.perf_counter()
        app(value).deploy()
        until_it_answers(handle.remote, value)
        taken.append(time.perf_counter() - began)
    show("App.deploy() with a change, until the new code answers", taken)
    for name in ("bench-deploy", "bench-deploy-sdk"):
        windlass_cli("app", "stop", name, "--yes")


def serving(runs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench_serve.py"
        path.write_text(SERVED.format(value=0))
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with subprocess.Popen([*COMMAND, "serve", str(path)], **silent) as process:
            try:
                call = function_of_served().remote
                until_it_answers(call, 0)
                taken = []
                for value in range(1, runs + 1):
                    time.sleep(1.0)
                    path.write_text(SERVED.format(value=value))
                    taken.append(until_it_answers(call, value))
            finally:
                process.terminate()
    show("windlass serve, from save until the new code answers", taken)


def function_of_served() -> windlass.Function:
    while True:
        running = [a for a in json.loads(windlass_cli("app", "list", "--json")) if a["description"] == "bench-serve"]
        if running and running[0]["state"] == "ephemeral":
            functions = json.loads(windlass_cli("app", "info", running[0]["app_id"], "--json"))["functions"]
            if functions:
                return windlass.Function.from_id(functions["f"])
        time.sleep(0.1)


if __name__ == "__main__":
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    deployments(runs)
    serving(runs)

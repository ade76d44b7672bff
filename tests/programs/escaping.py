"""Makes all attempts to escape in sandboxes of a platform that it starts and stops, and prints what each said."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent import futures

import escapes
import windlass

CLI = [sys.executable, "-m", "windlass.cli"]
INSIDE = """
import json, subprocess, sys
said = {}
for name, script in json.load(sys.stdin).items():
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    said[name] = done.stdout + done.stderr
print(json.dumps(said))
"""


def gaps() -> list[str]:
    """What the machine does not give to the platform that runs."""
    status = subprocess.run([*CLI, "server", "status", "--json"], capture_output=True, text=True, check=True)
    return [gap for node in json.loads(status.stdout)["nodes"] for gap in node["gaps"]]


def attempts(app: windlass.App, names: list[str], *, as_a_user: bool) -> dict[str, str]:
    sandbox = windlass.Sandbox.create(app=app, timeout=300)
    process = sandbox.exec("python3", "-c", INSIDE)
    scripts = {name: escapes.script(escapes.ATTEMPTS[name], as_a_user=as_a_user) for name in names}
    process.stdin.write(json.dumps(scripts))
    process.stdin.write_eof()
    process.stdin.drain()
    said = process.stdout.read()
    assert process.wait() == 0, process.stderr.read()
    found: dict[str, str] = json.loads(said)
    return found


def main() -> None:
    try:
        app = windlass.App.lookup("escaping", create_if_missing=True)
        lacking = gaps()
        left_out = [name for name, words in escapes.NEEDS.items() if any(gap.startswith(words) for gap in lacking)]
        names = [name for name in escapes.ATTEMPTS if name not in left_out]
        with futures.ThreadPoolExecutor(2) as both:
            as_root = both.submit(attempts, app, names, as_a_user=False)
            as_user = both.submit(attempts, app, names, as_a_user=True)
            said = {"root": as_root.result(), "user": as_user.result()}
        print(json.dumps({"said": said, "left_out": left_out}))
    finally:
        subprocess.run([*CLI, "server", "stop"], stdout=subprocess.DEVNULL, check=False)


if __name__ == "__main__":
    main()

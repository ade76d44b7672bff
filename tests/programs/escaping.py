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


def attempts(app: windlass.App, *, as_a_user: bool) -> dict[str, str]:
    sandbox = windlass.Sandbox.create(app=app, timeout=300)
    process = sandbox.exec("python3", "-c", INSIDE)
    scripts = {name: escapes.script(one, as_a_user=as_a_user) for name, one in escapes.ATTEMPTS.items()}
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
        with futures.ThreadPoolExecutor(2) as both:
            as_root = both.submit(attempts, app, as_a_user=False)
            as_user = both.submit(attempts, app, as_a_user=True)
            said = {"root": as_root.result(), "user": as_user.result()}
        status = subprocess.run([*CLI, "server", "status", "--json"], capture_output=True, text=True, check=True)
        gaps = [gap for node in json.loads(status.stdout)["nodes"] for gap in node["gaps"]]
        print(json.dumps({"said": said, "gaps": gaps}))
    finally:
        subprocess.run([*CLI, "server", "stop"], stdout=subprocess.DEVNULL, check=False)


if __name__ == "__main__":
    main()

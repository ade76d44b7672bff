"""A server: a class whose hook starts a program at a port."""

from __future__ import annotations

import subprocess
import sys

import windlass

app = windlass.App("test-served")

_PROGRAM = """
import http.server, os, time

class Program(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/die":
            os._exit(1)
        if self.path == "/slow":
            time.sleep(0.7)
        body = os.environ["WINDLASS_TASK_ID"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

http.server.ThreadingHTTPServer(("0.0.0.0", 8000), Program).serve_forever()
"""


@app.server(unauthenticated=True, target_concurrency=1, max_concurrency=2, max_containers=2)
class Served:
    @windlass.enter()
    def start(self) -> None:
        self.program = subprocess.Popen([sys.executable, "-c", _PROGRAM])

    @windlass.exit()
    def stop(self) -> None:
        print("stopping the program", flush=True)
        self.program.terminate()


@app.server(name="guarded")
class Guarded(Served._user_cls):  # type: ignore[name-defined, misc]
    pass

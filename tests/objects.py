"""A server that speaks S3 on loopback, for what the platform itself keeps there."""
from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import urllib.request

import ports

BUCKET = "objects"
KEY, SECRET = "key-of-tests", "secret-of-tests"


class S3:
    """moto's server: it can be stopped, and forgets all then."""

    def __init__(self) -> None:
        self._held = contextlib.ExitStack()
        self.port = self._held.enter_context(ports.reserved())  # also while it is stopped
        self.address = f"http://127.0.0.1:{self.port}"
        self.variables = {
            "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_ENDPOINT_URL": self.address,
            "AWS_REGION": "us-east-1",
        }  # fmt: skip
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        line = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        # Not a part of any platform, and not to be taken for what one has left.
        environment = {name: text for name, text in os.environ.items() if not name.startswith("WINDLASS_")}
        self.process = subprocess.Popen(
            line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                self._ask(self.address)
                break
            time.sleep(0.1)
        self._ask(f"{self.address}/{BUCKET}", "PUT")

    def _ask(self, url: str, method: str = "GET") -> None:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        headers = {"Authorization": f"AWS4-HMAC-SHA256 Credential={KEY}/20260101/us-east-1/s3/aws4_request"}
        opener.open(urllib.request.Request(url, method=method, headers=headers), timeout=5).close()

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None

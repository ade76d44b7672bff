"""Real registries on loopback (Debian's docker-registry), open or behind a password, filled by skopeo."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import oci
import ports
import stage

USER, PASSWORD = "somebody", "pass/word-0f-a-registry"
_HASH = "$2y$05$76TDiN6VSTrlVcbt93rTyulxIXbzxi832ZJnq.K6nsqEtyWXQxO/C"  # bcrypt of the password


class Registry:
    """One registry; ``host`` is what begins the names of its images."""

    def __init__(self, folder: Path, *, port: int, private: bool) -> None:
        self.host = f"localhost:{port}"
        self.store = folder / "store"
        self._folder = folder
        self._private = private

    def push(self, name: str, layers: list[bytes], **given: Any) -> str:
        """Put an image there and give the digest of its manifest."""
        layout = self._folder / "layout"
        shutil.rmtree(layout, ignore_errors=True)
        digest = oci.write(layout, layers, **given)
        sign_in = [f"--dest-creds={USER}:{PASSWORD}"] if self._private else []
        subprocess.run(
            ["skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false", *sign_in, f"oci:{layout}:latest",
             f"docker://{self.host}/{name}"],
            check=True, timeout=60,
        )  # fmt: skip
        return digest

    def blobs(self) -> dict[str, Path]:
        """Files by digest."""
        return {path.parent.name: path for path in self.store.glob("docker/registry/v2/blobs/sha256/*/*/data")}


@contextlib.contextmanager
def running(folder: Path, *, private: bool = False) -> Iterator[Registry]:
    """A registry of its own, empty, until the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with ports.reserved() as port:
        yield from _running(folder, port, private=private)


def _running(folder: Path, port: int, *, private: bool) -> Iterator[Registry]:
    settings: dict[str, Any] = {
        "version": "0.1", "log": {"level": "error"}, "http": {"addr": f"127.0.0.1:{port}"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "store")}},
    }  # fmt: skip
    if private:
        (folder / "htpasswd").write_text(f"{USER}:{_HASH}\n")
        settings["auth"] = {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}}
    (folder / "config.yml").write_text(json.dumps(settings))  # JSON is YAML
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", folder / "config.yml"], env={}, stdout=log, stderr=log)
    try:
        stage.until(lambda: _answers(port), 20, "a registry that answers")
        yield Registry(folder, port=port, private=private)
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    return False


def busybox() -> bytes:
    """A layer with a shell and little else."""
    program = Path(next(filter(None, (shutil.which("busybox", path=path) for path in (os.defpath, "/usr/bin:/bin")))))
    names = ("sh", "test", "cat", "ls", "id", "mkdir", "echo", "stat", "touch", "readlink")
    return oci.archive(
        oci.entry("bin"), oci.entry("bin/busybox", program.read_bytes(), mode=0o755),
        *(oci.link(f"bin/{name}", "busybox") for name in names),
        oci.entry("etc"), oci.entry("etc/passwd", b"root:x:0:0::/root:/bin/sh\n"), oci.entry("tmp", mode=0o1777),
    )  # fmt: skip

"""What conmon is to OCI runtimes, for the process runtime: keeps the log and the exit status of one process.

Run as a script with ``python -S -E``; imports only the standard library. It outlives the worker.
"""
from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path


def _stamp() -> bytes:
    now = time.time()
    return (time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1e9):09d}+00:00").encode()


def _log(log: int, source: bytes, data: bytes) -> None:
    lines = []
    pieces = data.split(b"\n")
    for number, piece in enumerate(pieces):
        whole = number < len(pieces) - 1
        if piece or whole:
            lines.append(b"%s %s %s %s\n" % (_stamp(), source, b"F" if whole else b"P", piece))
    os.write(log, b"".join(lines))


def _write(path: str, text: str) -> None:
    draft = Path(path + ".new")
    draft.write_text(text)
    draft.rename(path)


def main(log_path: str, pid_path: str, exit_path: str, *argv: str) -> None:
    log = os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _write(pid_path, str(process.pid))
    with selectors.DefaultSelector() as selector:
        assert process.stdout is not None and process.stderr is not None
        selector.register(process.stdout, selectors.EVENT_READ, b"stdout")
        selector.register(process.stderr, selectors.EVENT_READ, b"stderr")
        while selector.get_map():
            for key, _ in selector.select(0.2):
                if data := os.read(key.fd, 65536):
                    _log(log, key.data, data)
                else:
                    selector.unregister(key.fileobj)
            # A grandchild may hold the pipes open for ever; the container ends with its first process.
            if process.poll() is not None and not selector.select(0):
                break
    status = process.wait()
    _write(exit_path, str(status if status >= 0 else 128 - status))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""An internet for tests: servers on addresses that documentation has to itself, in a network namespace of the test.

    containers ── node ── this machine ══ veth ══ a namespace with two servers

Each server answers with the address that it saw: TCP on port 80, UDP on ports 53 and 443, TLS on ports 443 and 8443.
On port 8000 HTTP is sent on to the gateway of all containers, which no container may reach.
Only root can make one.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ADDRESSES = "203.0.113."
"""How all of them begin."""


class Internet(NamedTuple):
    """``server`` and ``other``: addresses that answer. ``here``: this machine's own two addresses on the way there;
    ``here[1]`` is not what it would use by itself. ``link``: the interface that has them. ``late``: one that it has not
    yet."""

    server: str
    other: str
    here: tuple[str, str]
    link: str
    late: str


@contextlib.contextmanager
def internet(folder: Path) -> Iterator[Internet]:
    """``folder``: for the certificate."""
    if os.geteuid():
        pytest.skip("only root can make networks")
    with _place() as number:
        gateway, second, server, other, late = (f"{ADDRESSES}{8 * number + last}" for last in range(1, 6))
        link = f"wltest{number}"
        _certificate(folder)
        line = ["unshare", "--net", sys.executable, __file__, str(folder)]
        process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdin is not None and process.stdout is not None
            assert process.stdout.readline() == "made\n"
            subprocess.run(["ip", "-batch", "-"], check=True, text=True, input="\n".join([
                f"link add {link} type veth peer name far netns {process.pid}",
                f"addr add {gateway}/29 dev {link}", f"addr add {second}/29 dev {link}", f"link set {link} up",
            ]))  # fmt: skip
            enter = ["nsenter", "-t", str(process.pid), "-n"]
            subprocess.run([*enter, "ip", "-batch", "-"], check=True, text=True, input=(
                f"link set lo up\naddr add {server}/29 dev far\naddr add {other}/29 dev far\nlink set far up\n"
            ))  # fmt: skip
            process.stdin.write("linked\n")
            process.stdin.flush()
            assert process.stdout.readline() == "ready\n"
            yield Internet(server, other, (gateway, second), link, late)
        finally:
            process.kill()
            process.wait()
            subprocess.run(["ip", "link", "del", link], capture_output=True)


@contextlib.contextmanager
def _place() -> Iterator[int]:
    """A number of its own among all tests of this machine."""
    for number in range(32):
        with socket.socket(socket.AF_UNIX) as claim:
            try:
                claim.bind(f"\0windlass-test-internet-{number}")
            except OSError:
                continue
            yield number
            return
    pytest.skip("too many tests make networks")


def _certificate(folder: Path) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.timezone.utc)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=1))
    (folder / "cert.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    )


def _answer(s: socket.socket, context: ssl.SSLContext | None) -> None:
    with contextlib.suppress(OSError), s:
        peer = s.getpeername()[0]
        stream = context.wrap_socket(s, server_side=True) if context else s
        stream.recv(1000)
        stream.sendall(f"from {peer}\n".encode())


def _tcp(port: int, context: ssl.SSLContext | None) -> None:
    with socket.create_server(("0.0.0.0", port)) as server:
        while True:
            threading.Thread(target=_answer, args=(server.accept()[0], context), daemon=True).start()


def _redirects(port: int) -> None:
    there = f"http://198.19.0.1:{port}/elsewhere"
    with socket.create_server(("0.0.0.0", port)) as server:
        while True:
            s = server.accept()[0]
            with contextlib.suppress(OSError), s:
                s.recv(4000)
                s.sendall(f"HTTP/1.1 307 x\r\nLocation: {there}\r\nContent-Length: 0\r\n\r\n".encode())


def _udp(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.setsockopt(socket.IPPROTO_IP, 8, 1)  # IP_PKTINFO: an answer leaves from the address that was asked
        s.bind(("0.0.0.0", port))
        while True:
            _, control, _, peer = s.recvmsg(1000, 100)
            s.sendmsg([f"from {peer[0]}\n".encode()], control, 0, peer)


def main() -> None:
    """In the new namespace."""
    print("made", flush=True)
    sys.stdin.readline()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Path(sys.argv[1]) / "cert.pem")
    for function, arguments in ((_tcp, (80, None)), (_tcp, (443, context)), (_tcp, (8443, context)),
                                (_udp, (53,)), (_udp, (443,)), (_redirects, (8000,))):  # fmt: skip
        threading.Thread(target=function, args=arguments, daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()

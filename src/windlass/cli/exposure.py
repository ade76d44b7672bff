"""What `windlass server start` was told of users on other machines: kept in the home, until it is told otherwise.

    remote.json         what was said; the server reads it when it starts
    remote.shown.json   what the server made of it: its address, and the fingerprint of its certificate
"""
from __future__ import annotations

import ipaddress
import json
import socket
from pathlib import Path
from typing import Any

import click

from windlass import exception

EVERYWHERE = ("0.0.0.0", "::")
_SAID, _SHOWN = "remote.json", "remote.shown.json"


def wanted(
    *, listen: str | None, no_listen: bool, tls_cert: str | None, tls_key: str | None, no_tls: bool, insecure: bool,
    public_host: str | None, web_host: str | None,
) -> dict[str, str] | None:  # fmt: skip
    """What the options say; None where they say nothing.

    Raises:
        UsageError: they do not fit together, or secrets would travel in clear.
    """
    if no_listen:
        return {}
    if not listen:
        if tls_cert or tls_key or no_tls or public_host or web_host:
            raise click.UsageError("These options need --listen HOST:PORT beside them.")
        return None
    host, _, port = listen.rpartition(":")
    if not host or not is_port(port):
        raise click.UsageError(f"--listen {listen!r} is no HOST:PORT, like 0.0.0.0:8643.")
    if no_tls and (tls_cert or tls_key):
        raise click.UsageError("--no-tls takes no certificate.")
    if tls_key and not tls_cert:
        raise click.UsageError("--tls-key needs --tls-cert.")
    if no_tls and not insecure and not is_loopback(host.strip("[]")):
        raise click.UsageError(
            f"without TLS, everybody between could read tokens and data sent to {host}. Leave --no-tls out (a "
            "certificate is made), or add --insecure."
        )
    said = {"listen": listen, "tls": "none" if no_tls else "own", "tls_cert": tls_cert or "", "tls_key": tls_key or ""}
    return {**said, "public_host": public_host or "", **_web(host, public_host, web_host)}


def _web(host: str, public_host: str | None, web_host: str | None) -> dict[str, str]:
    """Where web functions are answered: where remote users are, too, unless these are of this machine."""
    chosen = (web_host or host).strip("[]")
    if is_loopback(chosen):
        return {}
    name = chosen if chosen not in EVERYWHERE else public_host or socket.gethostname()
    return {"web_host": chosen, "web_name": f"[{name}]" if ":" in name else name}


def is_port(text: str) -> bool:
    return text.isdecimal() and int(text) <= 65535


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def note(root: Path, said: dict[str, str] | None) -> None:
    """Keep it for this and later starts."""
    if said is None:
        return
    try:
        if not said:
            (root / _SAID).unlink(missing_ok=True)
            return
        root.mkdir(mode=0o711, parents=True, exist_ok=True)
        fresh = root / f"{_SAID}.new"
        fresh.write_text(json.dumps(said, indent=2) + "\n")
        fresh.replace(root / _SAID)
    except OSError as exc:
        raise exception.ConnectionError(f"Windlass cannot keep its state in {root}: {exc.strerror or exc}.") from None


def noted(root: Path) -> dict[str, str]:
    return _read(root / _SAID)


def shown(root: Path) -> dict[str, str]:
    """``url`` and ``fingerprint`` of the platform that runs; empty where it answers nobody elsewhere."""
    found = _read(root / _SHOWN)
    return {name: found.get(name, "") for name in ("url", "fingerprint")}


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}

"""Making and dropping the network namespace of one container. Blocking: for the pool's own thread.

A namespace is kept by a bind mount on a file in ``Node.netns``: ``<slot>`` with a way out, ``b<slot>`` with loopback
only. The file is bound last, so a bound file is a whole network. Beside it, ``<slot>.sys`` is a /sys that shows the
links of this namespace and nobody else's.
"""
from __future__ import annotations

import _thread
import contextlib
import ipaddress
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from windlass import exception
from windlass.kit import files
from windlass.worker import egress, linux, netlink

T = TypeVar("T")
_INDEX = 1000  # of the node's end of slot 0; lower ones are the node's own interfaces
_LOOPBACK, _ETH0 = 1, 2
_HARMLESS = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
_SYSCTLS = {
    "net/ipv6/conf/default/disable_ipv6": "1",  # loopback is there already and keeps its ::1
    "net/ipv4/ip_unprivileged_port_start": "0",
    "net/ipv4/ping_group_range": "0 65535",
}


class Maker:
    """Makes namespaces from within the node's network namespace, which it remembers."""

    def __init__(self, *, mtu: int) -> None:
        self._mtu = mtu

    def __enter__(self) -> Maker:
        self._node = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._outside = netlink.Socket()
        return self

    def __exit__(self, *_: object) -> None:
        self._outside.close()
        os.close(self._node)

    def open_gateway(self) -> None:
        """Be the router of all containers."""
        egress.forwarding()
        self._outside.do([netlink.address(_LOOPBACK, egress.GATEWAY)])

    def make(self, file: Path, slot: int | None) -> None:
        """A namespace in ``file``; linked to the node as ``slot``, or with loopback only."""
        _apart(lambda: self._make(file, slot))

    def _make(self, file: Path, slot: int | None) -> None:
        linux.unshare(linux.NEWNET)
        self._furnish(slot)
        folder = view(file)
        folder.mkdir()
        with contextlib.suppress(PermissionError):  # where the machine's own /sys is not whole; see ``sysfs``
            linux.mount("sysfs", folder, kind="sysfs", flags=_HARMLESS)
        file.touch()
        linux.bind("/proc/thread-self/ns/net", file)

    def privately(self, file: Path, slot: int, own: str) -> None:
        """Give the namespace in ``file``, linked as ``slot``, an address of the private IPv6 network as well."""
        outer = _INDEX + slot
        _apart(lambda: _privately_inside(file, own))
        _use_ipv6(f"wc{slot}")
        self._outside.do([
            netlink.private_address(outer, egress.PRIVATE_GATEWAY), netlink.private_route(outer, f"{own}/128"),
        ])  # fmt: skip

    def link(self, file: Path, slot: int | None, namespace: Path) -> None:
        """Set up an empty namespace that others have made, and keep it in ``file``, which is there already."""
        _apart(lambda: self._link(file, slot, namespace))

    def _link(self, file: Path, slot: int | None, namespace: Path) -> None:
        _enter(namespace)
        self._furnish(slot)
        linux.bind("/proc/thread-self/ns/net", file)

    def _furnish(self, slot: int | None) -> None:
        for name, value in _SYSCTLS.items():
            with contextlib.suppress(FileNotFoundError):
                files.write(f"/proc/sys/{name}", value.encode())
        with netlink.Socket() as inside:
            inside.do([netlink.up(_LOOPBACK)])
            if slot is not None:
                self._connect(inside, slot)

    def _connect(self, inside: netlink.Socket, slot: int) -> None:
        outer, own = _INDEX + slot, address(slot)
        inside.do([
            netlink.veth("eth0", _ETH0, mtu=self._mtu, peer=f"wc{slot}", peer_index=outer, peer_netns=self._node),
            netlink.address(_ETH0, own),
            netlink.up(_ETH0),
            netlink.neighbour(_ETH0, egress.GATEWAY),
            netlink.default_route(_ETH0, egress.GATEWAY),
        ])  # fmt: skip
        self._outside.do([netlink.up(outer), netlink.neighbour(outer, own, source=egress.GATEWAY)])


def within(file: Path, work: Callable[[], T]) -> T:
    """What ``work`` returns in the namespace that is kept in ``file``: a socket stays there."""
    made: list[T] = []

    def enter() -> None:
        _enter(file)
        made.append(work())

    _apart(enter)
    return made[0]


def _enter(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        linux.setns(descriptor, linux.NEWNET)
    finally:
        os.close(descriptor)


def _apart(work: Callable[[], None]) -> None:
    """In a thread that goes into another namespace and ends there: not everybody may go back."""
    failed: list[BaseException] = []
    over = _thread.allocate_lock()

    def run() -> None:
        try:
            work()
        except BaseException as exc:  # noqa: BLE001 - it is raised where the work was asked for
            failed.append(exc)
        finally:
            over.release()

    over.acquire()
    _thread.start_new_thread(run, ())
    over.acquire()
    if failed:
        raise failed[0]


def _privately_inside(file: Path, own: str) -> None:
    _enter(file)
    _use_ipv6("eth0")
    with netlink.Socket() as inside:
        inside.do([
            netlink.private_address(_ETH0, own),
            netlink.private_route(_ETH0, egress.PRIVATE, egress.PRIVATE_GATEWAY),
        ])  # fmt: skip


def _use_ipv6(link: str) -> None:
    """On one interface of this network namespace, without an address that the kernel makes up."""
    settings = Path("/proc/sys/net/ipv6/conf") / link
    if not settings.is_dir():
        raise exception.UnimplementedError("i6pn: the kernel of this machine has no IPv6")
    (settings / "addr_gen_mode").write_text("1")
    (settings / "disable_ipv6").write_text("0")


def drop(file: Path) -> None:
    """Let go of the namespace in ``file``; the kernel ends it, with its link, when its last process has ended."""
    folder = view(file)
    for mount in (folder, file):
        with contextlib.suppress(OSError):
            linux.unmount(mount)
    with contextlib.suppress(OSError):
        folder.rmdir()
    file.unlink(missing_ok=True)


def view(file: Path) -> Path:
    """Where the /sys of the namespace in ``file`` is."""
    return file.with_name(f"{file.name}.sys")


def sysfs(file: Path) -> Path:
    """The /sys for a container in that namespace: its own, or the machine's where that could not be had."""
    folder = view(file)
    return folder if (folder / "class").is_dir() else Path("/sys")


def whole(file: Path) -> bool:
    """Whether a namespace is bound to ``file``."""
    return file.stat().st_dev != file.parent.stat().st_dev


def address(slot: int) -> str:
    """The address of slot 2 is 198.19.0.2, and so on."""
    return f"198.19.{slot // 256}.{slot % 256}"


def slot(address: str) -> int:
    """Whose address it is; 0 for one that is no container's, such as those of build steps."""
    number = int(ipaddress.IPv4Address(address)) - int(ipaddress.IPv4Network(egress.CONTAINERS).network_address)
    return number if 0 <= number < 1 << 16 else 0

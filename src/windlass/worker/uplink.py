"""How the node reaches the outside: a veth pair and the host's NAT as root, slirp4netns as an ordinary user.

Both give the node an interface ``uplink`` in a network of its own; what containers may reach through it is decided
inside (``network.py``). Several homes live side by side on one host: interface, table and addresses carry the tag.
"""
from __future__ import annotations

import contextlib
import ctypes
import fcntl
import ipaddress
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from windlass import exception
from windlass.worker import folder, programs

NAME = "uplink"
_RANGE = ipaddress.IPv4Network("198.18.0.0/16")  # for tests of networks (RFC 2544); its other half is for containers
_OWN = ipaddress.IPv4Network("198.18.0.0/15")  # both halves
_PREFIX, _SIZE = 26, 64  # of the network of one home
_RESOLV_CONF = Path("/etc/resolv.conf")
_SLIRP_RESOLVER = "10.0.2.3"
_SLIRP_MTU = 65_520
_SIOCGIFCONF, _IFREQ = 0x8912, 40  # bytes of its answer for each address
_SLIRP = (
    "slirp4netns", "--configure", f"--mtu={_SLIRP_MTU}", "--disable-host-loopback", "--enable-seccomp",
    "--netns-type=path",
)  # fmt: skip


_HOST_TABLE = """
table ip windlass_{tag} {{
    map sources {{
        type ipv4_addr : ipv4_addr
    }}
    chain input {{
        type filter hook input priority -10; policy accept;
        iifname "{link}" ct state established,related accept
        iifname "{link}" ip daddr {{ {resolvers} }} udp dport 53 accept
        iifname "{link}" ip daddr {{ {resolvers} }} tcp dport 53 accept
        iifname "{link}" drop
    }}
    chain forward {{
        type filter hook forward priority -10; policy accept;
        oifname "{link}" ct state new drop
    }}
    chain prerouting {{
        type nat hook prerouting priority -110; policy accept;
        {loopback_resolver}
    }}
    chain postrouting {{
        type nat hook postrouting priority 90; policy accept;
        oifname != "{link}" snat to ip saddr map @sources
        ip saddr {network} ip saddr != {inside} drop
        ip saddr {inside} oifname != "{link}" masquerade
    }}
}}
"""
_TO_LOOPBACK = 'iifname "{link}" ip daddr {gateway} meta l4proto {{ tcp, udp }} th dport 53 dnat to {resolver}'


class Uplink(NamedTuple):
    """``kind``: "veth", "slirp" or "none". ``resolvers``: what /etc/resolv.conf of a container shall name. ``network``:
    of the veth pair."""

    kind: str
    resolvers: tuple[str, ...] = ()
    mtu: int = 1500
    helper: int = 0
    helper_start: int = 0
    network: str = ""


def link_name(tag: str) -> str:
    """The host's end of the veth pair."""
    return f"wl{tag}"


def choose_network(tag: str, taken: Iterable[ipaddress.IPv4Network]) -> ipaddress.IPv4Network:
    """Addresses for a home, one for each end and 60 to leave by (``sources.py``): where its tag points, or the next
    that overlap nothing in ``taken``."""
    busy = [network for network in taken if network.prefixlen and network.overlaps(_RANGE)]
    slots = _RANGE.num_addresses // _SIZE
    first = int(tag, 16) % slots
    for slot in (*range(first, slots), *range(first)):
        network = ipaddress.IPv4Network((int(_RANGE.network_address) + _SIZE * slot, _PREFIX))
        if not any(network.overlaps(other) for other in busy):
            return network
    raise exception.ExecutionError(f"no {_SIZE} addresses in a row of {_RANGE} are free for the node")


def resolvers(resolv_conf: str) -> list[str]:
    """The IPv4 name servers of a resolv.conf."""
    words = (line.split() for line in resolv_conf.splitlines())
    return [word[1] for word in words if len(word) > 1 and word[0] == "nameserver" and _is_v4(word[1])]


def reachable_resolvers() -> list[str]:
    """The name servers that this machine uses and that another network namespace can reach as well."""
    return [name for name in resolvers(_upstream(_RESOLV_CONF)) if not ipaddress.IPv4Address(name).is_loopback]


def named_resolvers() -> list[str]:
    """The name servers in the host's own resolv.conf."""
    return resolvers(_RESOLV_CONF.read_text() if _RESOLV_CONF.exists() else "")


def needs_resolv_conf() -> bool:
    """Whether the host's resolv.conf leads nowhere from another network namespace."""
    return all(ipaddress.IPv4Address(name).is_loopback for name in named_resolvers())


def shared() -> Uplink:
    """No uplink: the node is in the host's network, for want of a way to have its own."""
    return Uplink("none", tuple(named_resolvers()))


def connect_root(tag: str, pid: int) -> Uplink:
    """Give the node of pause process ``pid`` a veth uplink with NAT. Undone by ``disconnect``."""
    link = link_name(tag)
    network = choose_network(tag, _taken())
    gateway, inside = network[1], network[2]
    named = resolvers(_upstream(_RESOLV_CONF))
    outer = tuple(reachable_resolvers())
    mtu = _mtu()
    run(["ip", "-batch", "-"], "\n".join([
        f"link add {link} mtu {mtu} type veth peer name {NAME} mtu {mtu} netns {pid}",
        f"addr add {gateway}/{network.prefixlen} dev {link}",
        f"link set {link} up",
    ]))  # fmt: skip
    enter = ["nsenter", "-t", str(pid), "-U", "-n", "--preserve-credentials"]
    run([*enter, "ip", "-batch", "-"], "\n".join([
        "link set lo up", f"addr add {inside}/{network.prefixlen} dev {NAME}", f"link set {NAME} up",
        f"route add default via {gateway}",
    ]))  # fmt: skip
    local = not outer and bool(named)
    names = outer or (str(gateway),)
    table = _HOST_TABLE.format(
        tag=tag,
        link=link,
        network=network,
        inside=inside,
        resolvers=", ".join({*names, named[0]} if local else names),
        loopback_resolver=_TO_LOOPBACK.format(link=link, gateway=gateway, resolver=named[0]) if local else "",
    )
    run(["nft", "-f", "-"], table)
    if local:
        _switch(f"ipv4/conf/{link}/route_localnet")
    _switch(f"ipv6/conf/{link}/disable_ipv6")  # the table speaks of IPv4 only
    _switch("ipv4/ip_forward")  # left on by ``disconnect``: by then somebody else may rely on it
    for rule_line in _iptables_rules(tag):
        _iptables("-I", rule_line)
    return Uplink("veth", names, mtu, network=str(network))


def disconnect(tag: str, link: Uplink | None) -> None:
    """Undo either way of connecting; what is not there is fine."""
    if link is not None and folder.alive(link.helper, link.helper_start):
        with contextlib.suppress(ProcessLookupError):
            os.kill(link.helper, signal.SIGKILL)
    if os.geteuid() == 0:
        for command in (["ip", "link", "del", link_name(tag)], ["nft", "delete", "table", "ip", f"windlass_{tag}"]):
            if shutil.which(command[0]):
                subprocess.run(command, capture_output=True)
        for rule in _iptables_rules(tag, always=True):
            while _iptables("-D", rule):
                pass


def connect_user(pid: int, log: Path) -> Uplink:
    """Start slirp4netns for the node of pause process ``pid``; what it has to say goes to the file ``log``."""
    said, say = os.pipe()
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        with log.open("wb") as output:
            helper = subprocess.Popen(
                [*_SLIRP, f"--ready-fd={say}", f"--userns-path=/proc/{pid}/ns/user", f"/proc/{pid}/ns/net", NAME],
                pass_fds=[say], start_new_session=True, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        os.close(say)
        if not os.read(said, 1):
            raise exception.ExecutionError(f"slirp4netns failed: {log.read_text().strip()}")
    except FileNotFoundError:
        raise programs.missing("slirp4netns") from None
    finally:
        os.close(said)
    return Uplink("slirp", (_SLIRP_RESOLVER,), _SLIRP_MTU, helper.pid, folder.start_time(helper.pid))


def host_addresses(outside: Callable[[int], socket.socket] = socket.socket) -> list[str]:
    """All IPv4 addresses of the host but loopback: containers shall not reach its services. ``outside``: gives a socket
    in the host's network."""
    with outside(socket.AF_INET) as one:
        found = {ipaddress.IPv4Address(raw) for raw in _assigned(one)}
    return [str(address) for address in sorted(found) if not address.is_loopback]


def _assigned(one: socket.socket) -> Iterator[bytes]:
    """The addresses of all interfaces of a socket's network. (``ip`` would ask about that of who runs it.)"""
    size = 64 * _IFREQ
    while True:
        room = ctypes.create_string_buffer(size)
        answer = fcntl.ioctl(one, _SIOCGIFCONF, struct.pack("iP", size, ctypes.addressof(room)))
        filled = struct.unpack("iP", answer)[0]
        if filled <= size - _IFREQ:
            break
        size *= 2
    for at in range(0, filled, _IFREQ):
        yield room.raw[at + 20 : at + 24]  # behind the name and, of a sockaddr_in, family and port


def is_own(address: str) -> bool:
    """Whether it is one of ours, of this home or another."""
    return ipaddress.IPv4Address(address) in _OWN


def run(argv: Sequence[str], script: str) -> None:
    """Run a tool of the host on a script. Raises ``ExecutionError`` with what it said."""
    try:
        done = subprocess.run(argv, input=script + "\n", capture_output=True, text=True)
    except FileNotFoundError:
        raise programs.missing(argv[0]) from None
    if done.returncode:
        raise exception.ExecutionError(f"{' '.join(argv)} failed: {done.stderr.strip()}")


def _switch(name: str) -> None:
    file = Path("/proc/sys/net") / name
    if file.exists() and file.read_text().strip() != "1":
        file.write_text("1")


def _upstream(resolv_conf: Path) -> str:
    """resolv.conf, or the real servers behind systemd's local one."""
    text = resolv_conf.read_text() if resolv_conf.exists() else ""
    behind = Path("/run/systemd/resolve/resolv.conf")
    if "127.0.0.53" in resolvers(text) and behind.exists():
        return behind.read_text()
    return text


def _taken() -> list[ipaddress.IPv4Network]:
    """What routes and addresses of the host use."""
    done = subprocess.run(["ip", "-j", "-4", "route", "show", "table", "all"], capture_output=True, text=True)
    words = [str(route.get("dst", "")) for route in json.loads(done.stdout or "[]")]
    return [ipaddress.IPv4Network(word, strict=False) for word in words if _is_v4(word.partition("/")[0])]


def _mtu() -> int:
    """The packet size of the host's way out: a larger one inside would rely on ICMP getting through."""
    done = subprocess.run(["ip", "-j", "-4", "route", "show", "default"], capture_output=True, text=True)
    for route in json.loads(done.stdout or "[]"):
        with contextlib.suppress(OSError, ValueError):
            return int(Path(f"/sys/class/net/{route['dev']}/mtu").read_text())
    return 1500


def _iptables_rules(tag: str, *, always: bool = False) -> list[list[str]]:
    """Rules for hosts whose iptables drop by default (Docker, ufw): ours must stand before theirs."""
    link, mark = link_name(tag), ["-m", "comment", "--comment", f"windlass_{tag}", "-j", "ACCEPT"]
    rules = {
        "FORWARD": [
            ["-i", link, *mark],
            ["-o", link, "-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", *mark],
        ],
        "INPUT": [["-i", link, "-p", protocol, "--dport", "53", *mark] for protocol in ("udp", "tcp")],
    }
    return [[chain, *rule] for chain, lines in rules.items() if always or _drops(chain) for rule in lines]


def _drops(chain: str) -> bool:
    if not shutil.which("iptables"):
        return False
    done = subprocess.run(["iptables", "-S", chain], capture_output=True, text=True)
    return f"-P {chain} DROP" in done.stdout


def _iptables(action: str, rule: Sequence[str]) -> bool:
    if not shutil.which("iptables"):
        return False
    return subprocess.run(["iptables", "-w", "5", action, *rule], capture_output=True).returncode == 0


def _is_v4(word: str) -> bool:
    try:
        ipaddress.IPv4Address(word.partition("/")[0])
    except ValueError:
        return False
    return True

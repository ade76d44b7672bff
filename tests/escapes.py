"""Attempts to break out of a sandbox, from inside. Each prints ``held`` when the wall held; all else is an escape
(or an attempt that did not happen)."""

from __future__ import annotations

_PRELUDE = """
import ctypes, errno, fcntl, os, resource, signal, socket, struct, subprocess, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *args):
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in args])
    return result, ctypes.get_errno()
def refused(act, *kinds):
    try:
        value = act()
    except kinds or OSError as exc:
        print("held", exc)
    else:
        print("ESCAPED", value)
def failed(number, *args):
    result, code = call(number, *args)
    print("held" if result < 0 else "ESCAPED", errno.errorcode.get(code))
"""

NEEDS = {"a fork bomb ends at the limit": "the number of processes of containers is not limited"}
"""Attempts that are not made where the platform says that the machine gives it no such wall: they would harm it."""

ATTEMPTS = {
    "mount a file system": "failed(165, b'none', b'/mnt', b'tmpfs', 0, None)",
    "mount proc anew": "failed(165, b'proc', b'/mnt', b'proc', 0, None)",
    "bind the root": "failed(165, b'/', b'/mnt', None, 4096, None)",
    "remount proc/sys writable": "failed(165, b'none', b'/proc/sys', None, 4096 | 32, None)",
    "unmount a mask": "failed(166, b'/proc/kcore', 2)",
    "open a new mount api": "failed(430, b'tmpfs', 0)",
    "open_tree": "failed(428, -100, b'/', 1)",
    "move_mount": "failed(429, -100, b'/', -100, b'/mnt', 0)",
    "pivot the root": "failed(155, b'/', b'/mnt')",
    "make a user namespace": "failed(272, 0x10000000)",
    "make a mount namespace": "failed(272, 0x00020000)",
    "clone with namespaces": "failed(56, 0x10000000 | 17, 0, 0, 0, 0)",
    "clone3 hides its flags": "failed(435, bytes(88), 88)",
    "see the namespaces of process 1": "refused(lambda: os.open('/proc/1/ns/mnt', os.O_RDONLY))",
    "enter a namespace": "failed(308, os.open('/proc/self/ns/net', os.O_RDONLY), 0)",
    "load a module": "failed(313, 0, b'', 0)",
    "load a module from memory": "failed(175, b'x', 1, b'')",
    "load bpf": "failed(321, 5, bytes(128), 128)",
    "watch performance counters": "failed(298, bytes(128), 0, -1, -1, 0)",
    "make an io_uring": "failed(425, 4, bytes(120))",
    "userfaultfd": "failed(323, 0)",
    "keyrings: join a session": "failed(250, 1, None)",
    "keyrings: add a key": "failed(248, b'user', b'k', b'v', 1, -4)",
    "keyrings: ask for one": "failed(249, b'user', b'k', None, 0)",
    "open by handle": "failed(304, -100, bytes(128), 0)",
    "the kernel's log": "failed(103, 3, ctypes.create_string_buffer(64), 64)",
    "reboot": "failed(169, 0xfee1dead, 672274793, 0x1234567, None)",
    "swap on": "failed(167, b'/tmp/x', 0)",
    "set the clock": "failed(227, 0, bytes(16))",
    "set the host name": "failed(170, b'x', 1)",
    "kexec": "failed(246, 0, 0, None, 0)",
    "a vsock to the hypervisor": "refused(lambda: socket.socket(40, socket.SOCK_STREAM))",
    "a raw socket": "refused(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))",
    "a packet socket": "refused(lambda: socket.socket(17, socket.SOCK_RAW, 0))",
    "a device node of a disk": "refused(lambda: os.mknod('/tmp/sda', 0o60666, os.makedev(8, 0)))",
    "a device node of memory": "refused(lambda: os.mknod('/tmp/mem', 0o20666, os.makedev(1, 1)))",
    "write /proc/sysrq-trigger": "refused(lambda: open('/proc/sysrq-trigger', 'w').write('b'))",
    "write core_pattern": "refused(lambda: open('/proc/sys/kernel/core_pattern', 'w').write('|/x'))",
    "write modprobe": "refused(lambda: open('/proc/sys/kernel/modprobe', 'w').write('/x'))",
    "write /sys": "refused(lambda: open('/sys/kernel/uevent_helper', 'w').write('/x'))",
    "memory of the kernel": (
        "b = os.path.exists('/proc/kcore') and open('/proc/kcore', 'rb').read(16); print('ESCAPED' if b else 'held')"
    ),
    "keys of others": "b = open('/proc/keys', 'rb').read(16); print('held' if not b else 'ESCAPED')",
    "control groups": "print('held' if not os.listdir('/sys/fs/cgroup') else 'ESCAPED')",
    "release_agent": "refused(lambda: open('/sys/fs/cgroup/release_agent', 'w').write('/x'))",
    "memory of process 1": "refused(lambda: open('/proc/1/mem', 'rb').read(1))",
    "environment of process 1": "refused(lambda: open('/proc/1/environ', 'rb').read() or [][0], OSError, IndexError)",
    "trace process 1": "failed(101, 16, 1, 0, 0)",
    "root of process 1": "refused(lambda: os.listdir('/proc/1/root/'))",
    "kill process 1": "os.kill(1, 9); time.sleep(0.2); print('held', open('/proc/1/stat').read()[:1])",
    "stop process 1": (
        "[os.kill(1, n) for n in (signal.SIGSTOP, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)]\n"
        "time.sleep(0.2); print('held', open('/proc/1/stat').read()[:1])"
    ),
    "see processes of the machine": (
        "def named(p):\n"
        "    try:\n        return open(f'/proc/{p}/cmdline').read()\n"
        "    except OSError:\n        return ''\n"  # it has ended; and threads of a kernel of its own have none
        "pids = [p for p in os.listdir('/proc') if p.isdigit() and named(p)]\n"
        "print('held' if len(pids) < 20 else 'ESCAPED')"
    ),
    "more capabilities": "failed(126, struct.pack('=Ii', 0x20080522, 0), struct.pack('=6I', *[0xffffffff]*6))",
    "less protection": (
        "libc.prctl(38, 0, 0, 0, 0); on = 'NoNewPrivs:\\t1' in open('/proc/self/status').read()\n"
        "print('held' if on else 'ESCAPED')"
    ),
    "chroot and back": (
        "os.makedirs('/tmp/j', exist_ok=True); root, f = os.stat('/').st_ino, os.open('/', os.O_RDONLY)\n"
        "try:\n    os.chroot('/tmp/j')\nexcept OSError:\n    pass\n"
        "os.fchdir(f)\n[os.chdir('..') for _ in range(50)]\n"
        "print('held' if os.stat('.').st_ino == root else 'ESCAPED')"
    ),
    "the server's socket": (
        "found = [n for n in ('/__windlass/run/server.sock', '/run/server.sock') if os.path.exists(n)]\n"
        "print('held' if not found else 'ESCAPED')"
    ),
    "metadata of the cloud": "refused(lambda: socket.create_connection(('169.254.169.254', 80), timeout=2))",
    "the gateway": (
        "lines = [line.split() for line in open('/proc/net/route').read().splitlines()[1:]]\n"
        "gates = [struct.pack('<I', int(line[2], 16)) for line in lines if line[1] == '00000000']\n"
        "gate = socket.inet_ntoa(gates[0]) if gates else '10.0.0.1'\n"
        "refused(lambda: socket.create_connection((gate, 22), timeout=2))"
    ),
    "a private neighbour": "refused(lambda: socket.create_connection(('192.168.0.1', 80), timeout=2))",
    "a fork bomb ends at the limit": (
        "stop, n = threading.Event(), 0\n"
        "threading.stack_size(65536)\n"
        "try:\n"
        "    while n < 6000:\n"
        "        threading.Thread(target=stop.wait, daemon=True).start(); n += 1\n"
        "except RuntimeError as exc:\n    print('held', n)\n"
        "else:\n    print('ESCAPED', n)\n"
        "stop.set()"
    ),
    "a hard link to what lies outside": "refused(lambda: os.link('/proc/1/root', '/tmp/hard'), OSError)",
    "a hard link to a device": "refused(lambda: os.link('/dev/full', '/tmp/full'), OSError)",
    "a device through the descriptor of another": "refused(lambda: open('/dev/fd/0/../kmsg', 'w'), OSError)",
    "the folder of devices has an end": (
        "try:\n"
        "    with open('/dev/fill', 'wb') as file:\n"
        "        for _ in range(80):\n            file.write(bytes(1 << 20))\n"
        "except OSError as exc:\n    print('held', exc)\n"
        "else:\n    print('ESCAPED')\n"
        "finally:\n    os.path.exists('/dev/fill') and os.unlink('/dev/fill')"
    ),
    "descriptors end at the limit": (
        "held = []\n"
        "try:\n"
        "    while len(held) < 200000:\n        held.append(os.open('/dev/null', os.O_RDONLY))\n"
        "except OSError:\n    print('held')\n"
        "else:\n    print('ESCAPED')"
    ),
    "more descriptors than allowed": (
        "refused(lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (1 << 20, 1 << 20)), ValueError, OSError)"
    ),
}

_AS_A_USER = "os.setgroups([]); os.setresgid(1000, 1000, 1000); os.setresuid(1000, 1000, 1000)\n"


def script(attempt: str, *, as_a_user: bool = False) -> str:
    """The program of an attempt, for ``python3 -c``; as root of the sandbox, or as an ordinary user in it."""
    if not as_a_user:
        return _PRELUDE + attempt
    return _PRELUDE + _AS_A_USER + f"""
try:
    exec({attempt!r})
except PermissionError as exc:
    print("held", exc)
"""


def held(said: str) -> bool:
    """Whether that is what a script says when the wall held."""
    return "held" in said and "ESCAPED" not in said

"""What a platform may leave behind on a machine, looked for from the host's side by the marks that it puts on things.

Every name that outlives a process (links, tables, groups) carries the tag of its home; everything else lies in the home
or is held by a process whose command line or environment names it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

SBIN = "/usr/sbin:/sbin"


def look(home: Path) -> list[str]:
    """One line for each thing that a stopped platform of ``home`` has left."""
    return [*_processes(home), *_mounts(home), *_network(home), *_groups(home), *_files(home)]


def tag(home: Path) -> str:
    return hashlib.sha256(os.fsencode(home)).hexdigest()[:8]


def _processes(home: Path) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
                environment = (entry / "environ").read_bytes()
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                namespaces = {(entry / "ns" / kind).readlink() for kind in ("mnt", "pid")}
            except OSError:
                continue
            ours = b"WINDLASS_HOME=" + os.fsencode(home) + b"\0" in environment and "pytest" not in line
            if (ours or str(home) in line) and state != "Z" and namespaces:
                found.append(f"process {entry.name}: {line}")
    return found


def _mounts(home: Path) -> list[str]:
    """In the mount namespaces of all processes: a namespace nobody lives in is gone, with its mounts."""
    seen: dict[str, str] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                namespace = os.readlink(entry / "ns/mnt")
                if namespace not in seen:
                    seen[namespace] = (entry / "mounts").read_text()
            except OSError:
                continue
    return [
        f"mount in {namespace}: {line}"
        for namespace, table in seen.items()
        for line in table.splitlines()
        if str(home) in line
    ]


def _network(home: Path) -> list[str]:
    mark = tag(home)
    return [
        f"{what}: {line.strip()}"
        for what, argv in {
            "link": ["ip", "-o", "link"],
            "route": ["ip", "route"],
            "table": ["nft", "list", "tables"],
            "rule": ["iptables-save"],
            "network namespace": ["ip", "netns", "list"],
        }.items()
        for line in _output(argv).splitlines()
        if mark in line
    ]


def _groups(home: Path) -> list[str]:
    mark = tag(home)
    return [
        f"control group: {folder}" for folder, _, _ in os.walk("/sys/fs/cgroup") if mark in os.path.basename(folder)
    ]


def _files(home: Path) -> list[str]:
    """Sockets, pids and containers in the home, stand-ins for its run folder, drafts of layers."""
    run = home / "run"
    inside = [path for path in run.rglob("*") if path.is_socket() or path.suffix in (".pid", ".json")]
    inside += list((home / "containers").glob("*")) if (home / "containers").is_dir() else []
    inside += [path for path in (home / "layers").glob("*") if not (path / "meta.json").exists()]
    return [f"file: {path}" for path in [*inside, *Path("/tmp").glob(f"windlass-*{tag(home)}*")]]


def _output(argv: list[str]) -> str:
    program = shutil.which(argv[0], path=f"{os.environ.get('PATH', '')}:{SBIN}")
    if program is None:
        return ""
    return subprocess.run([program, *argv[1:]], capture_output=True, text=True, check=False).stdout


def holding(home: Path, value: str) -> list[str]:
    """Files of a platform that hold a value in clear."""
    # Python would read for half a minute.
    line = ["grep", "-rlasF", "-D", "skip", "-e", value, "--", str(home)]
    ran = subprocess.run(line, capture_output=True, check=False, env={"PATH": os.environ["PATH"], "LC_ALL": "C"})
    return os.fsdecode(ran.stdout).splitlines()

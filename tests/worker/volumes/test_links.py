"""Links of a volume lead no mount of a cell elsewhere: the cell's own programs may lie beside the sandbox's files."""

from __future__ import annotations

import ctypes
import os
import platform
from pathlib import Path

import pytest

from windlass.worker import linux
from windlass.worker.snapshots import mounting

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the calls are those of x86-64")


def hang(root: Path, binds: list[tuple[Path, str]]) -> str:
    """Have the mounts of a cell, as its process 1 has them; why it cannot, or ""."""
    mounting.CELL = f"{root}.cell"
    os.mkdir(mounting.CELL)
    words = [
        {"destination": where, "type": "none", "source": str(source), "options": ["rbind", "ro", "nosuid"]}
        for source, where in binds
    ]
    plan: mounting.Plan = {"name": "sb-1", "rootfs": str(root), "mounts": words, "masked": [], "read_only": []}
    trees = [linux.open_tree(path) for path in (root, *(source for source, _ in binds))]
    files = [where for source, where in binds if source.is_file()]
    for call in mounting.calls(plan, trees, {where: 0 for _, where in binds}, files):
        if call.what == "mknod null":
            break
        what, function, arguments, tolerated = call.ready()
        if function(*arguments) < 0 and ctypes.get_errno() not in tolerated:
            return f"{what}: {os.strerror(ctypes.get_errno())}"
    return ""


def seen(root: Path, binds: list[tuple[Path, str]], *paths: str) -> tuple[str, list[str], bool]:
    """Why it cannot be, what is at ``paths`` then, and whether the last of them can be written to."""
    trouble = hang(root, binds)
    found = [Path(mounting.CELL + path).read_text() for path in paths]
    try:
        os.close(os.open(mounting.CELL + paths[-1], os.O_WRONLY))
    except OSError:
        return trouble, found, False
    return trouble, found, True


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Programs of a cell, the files of its sandbox, and two volumes. In the first one lies a link."""
    for name in ("cell/usr/bin", "cell/rootfs/a", "a/real/bin", "b"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "cell/usr/bin/python3").write_text("ours")
    (tmp_path / "b/python3").write_text("theirs")
    (tmp_path / "a/x").symlink_to("../../usr")
    return tmp_path


def test_a_link_of_a_volume_leads_no_other_mount_over_the_programs_of_a_cell(place, apart):
    binds = [(place / "a", "/rootfs/a"), (place / "b", "/rootfs/a/x/bin")]
    trouble, found, writable = apart(seen, place / "cell", binds, "/usr/bin/python3")
    assert (found, writable) == (["ours"], True)
    assert trouble.startswith("no link may lead to /rootfs/a/x/bin: ")


def test_a_link_of_a_volume_lets_no_file_be_made_elsewhere(place, apart):
    binds = [(place / "a", "/rootfs/a"), (place / "b/python3", "/rootfs/a/x/bin/new")]
    trouble, _, _ = apart(seen, place / "cell", binds, "/usr/bin/python3")
    assert trouble.startswith("no link may lead to /rootfs/a/x/bin: ")
    assert not (place / "cell/usr/bin/new").exists()


def test_a_mount_within_a_volume_is_where_it_was_asked_for_with_its_own_flags(place, apart):
    (place / "a/real/one").write_text("")
    (place / "cell/rootfs/new").mkdir()
    binds = [
        (place / "a", "/rootfs/a"), (place / "b", "/rootfs/a/real/bin"), (place / "b/python3", "/rootfs/a/real/one"),
        (place / "b/python3", "/rootfs/new/file"),
    ]  # fmt: skip
    where = ("/usr/bin/python3", "/rootfs/new/file", "/rootfs/a/real/one", "/rootfs/a/real/bin/python3")
    assert apart(seen, place / "cell", binds, *where) == ("", ["ours", "theirs", "theirs", "theirs"], False)

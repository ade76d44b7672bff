"""What the node decides before it asks the kernel."""
from __future__ import annotations

import os
from pathlib import Path

import pytest

from windlass import exception
from windlass.worker import cgroups, node, pause, uplink

NODE = node.Node(
    home=Path("/srv/w"), pid=42, start=7, view=Path("/boot"), uplink=uplink.Uplink("veth", ("10.0.0.53",), 1400),
    host_addresses=("203.0.113.7",),
    groups=(cgroups.Hierarchy(Path("/sys/fs/cgroup/memory/windlass-ab"), frozenset({"memory"}), False),),
    gaps=("no CPU limit",),
)  # fmt: skip


def test_what_up_wrote_down_is_read_back_whole(tmp_path: Path) -> None:
    written = NODE._replace(home=tmp_path)
    (tmp_path / "run").mkdir()
    node._save(written)
    assert node.load(tmp_path) == written


def test_a_record_that_is_torn_or_of_another_version_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    assert node.load(tmp_path) is None
    for text in ("{", "{}", '{"home": "/x", "pid": 1}'):
        (tmp_path / "run/node.json").write_text(text)
        assert node.load(tmp_path) is None


def test_a_program_enters_all_namespaces_and_dies_with_its_door() -> None:
    line = node.enter_argv(NODE, ["python3", "-m", "x"])
    assert line[:3] == ["nsenter", "--target", "42"] and line[-3:] == ["python3", "-m", "x"]
    assert {"--user", "--mount", "--pid", "--net", "--ipc", "--pdeathsig"} <= set(line)
    assert "--net" not in node.enter_argv(NODE._replace(uplink=uplink.Uplink("none")), ["true"])


def test_a_pid_of_somebody_else_is_not_the_node() -> None:
    assert not NODE._replace(pid=1, start=1).alive


def test_subordinate_ids_must_suffice_for_a_container() -> None:
    table = "other:100000:65536\nme:200000:1000\nme:300000:65536\n1007:400000:65536\n"
    assert pause.subordinate(table, ["me", "1000"]) == 300000
    assert pause.subordinate(table, ["nobody", "1007"]) == 400000
    assert pause.subordinate(table, ["else"]) is None


def test_root_inside_another_container_takes_the_highest_ids_it_has() -> None:
    assert pause._free_ids("         0          0 4294967295\n") == 1_900_000_000
    assert pause._free_ids("0 100000 200000\n") == 200000 - 65536
    with pytest.raises(exception.ExecutionError, match="too few"):
        pause._free_ids("0 100000 65536\n")


def test_the_view_covers_no_folder_above_the_home() -> None:
    assert not Path("/boot/w").is_relative_to(pause.view(Path("/boot/w")))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_home_with_the_group_of_a_shared_folder_gets_its_users_own(tmp_path: Path) -> None:
    os.chown(tmp_path, 4321, 8765)
    child = os.fork()
    if child == 0:
        try:
            os.chdir(tmp_path)  # what is above it is not the user's to see
            os.setgroups([])
            os.setgid(4321)
            os.setuid(4321)
            node.take_group(Path())
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert (tmp_path.stat().st_uid, tmp_path.stat().st_gid) == (4321, 4321)

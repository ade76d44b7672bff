"""Control groups of three kinds of machines, as folders of plain files."""
from __future__ import annotations

import os
from pathlib import Path

from windlass.worker import cgroups

LEGACY = (
    "32 31 0:29 / {root}/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 / {root}/memory rw,relatime - cgroup cgroup rw,memory\n"
    "40 31 0:37 / {root}/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd\n"
    "31 23 0:28 / {root} rw - tmpfs tmpfs rw,mode=755\n"
)
UNIFIED = "41 31 0:38 / {root}/unified rw,relatime - cgroup2 cgroup2 rw\n"


def _unified(group: Path, controllers: str) -> cgroups.Hierarchy:
    """A unified group and our own below it, as far as plain files can play them."""
    for folder in (group, group / "windlass-ab"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cgroup.controllers").write_text(controllers)
        (folder / "cgroup.subtree_control").write_text("")
        (folder / "cgroup.procs").write_text("")
        (folder / "cgroup.type").write_text("domain")
    return cgroups.Hierarchy(group, frozenset(controllers.split()), True)


def test_a_hybrid_machine_has_its_controllers_in_old_trees(tmp_path: Path) -> None:
    (tmp_path / "unified").mkdir()
    (tmp_path / "unified/cgroup.controllers").write_text("\n")
    trees = cgroups.hierarchies((LEGACY + UNIFIED).format(root=tmp_path))
    assert [(tree.root.name, sorted(tree.controllers), tree.unified) for tree in trees] == [
        ("cpu", ["cpu", "cpuacct"], False),
        ("memory", ["memory"], False),
        ("systemd", ["systemd", "xattr"], False),
        ("unified", [], True),
    ]


def test_what_no_tree_controls_is_a_gap_in_words(tmp_path: Path) -> None:
    trees = cgroups.hierarchies(LEGACY.format(root=tmp_path))
    (gap,) = cgroups.gaps(trees)
    assert "number of processes" in gap and "'pids'" in gap


def test_the_group_of_a_home_hands_controllers_on(tmp_path: Path) -> None:
    tree = _unified(tmp_path, "memory")
    (made,) = cgroups.make("ab", trees=[tree], own="0::/")
    assert made.root == tmp_path / "windlass-ab" and (made.root / "node").is_dir()
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+memory"
    assert (made.root / "cgroup.subtree_control").read_text() == "+memory"


def test_a_user_gets_groups_below_what_was_delegated_and_its_processes_step_aside(tmp_path: Path) -> None:
    scope = tmp_path / "user.slice/run-1.scope"
    tree = _unified(scope, "memory")._replace(root=tmp_path)
    (scope / "cgroup.procs").write_text("4711\n")
    (tmp_path / "windlass-ab").write_text("in the way, because the root is not ours")
    assert cgroups.make("ab", trees=[tree], own="0::/elsewhere") == []
    (made,) = cgroups.make("ab", trees=[tree], own="0::/user.slice/run-1.scope\n")
    assert made.root == scope / "windlass-ab"
    assert (scope / "windlass-ab-programs/cgroup.procs").read_text() == "4711"


def test_root_stays_below_a_group_that_systemd_delegated_and_elsewhere_goes_below_the_root(tmp_path: Path) -> None:
    service = tmp_path / "system.slice/windlass.service"
    _unified(service, "memory")
    tree = _unified(tmp_path, "memory")
    assert [made.root for made in cgroups.make("ab", trees=[tree], own="0::/system.slice/windlass.service\n")] == [
        tmp_path / "windlass-ab"
    ]
    os.setxattr(service, "user.delegate", b"1")
    # Also after ``make`` has moved us aside, where a second one must not go deeper.
    for own in ("0::/system.slice/windlass.service\n", "0::/system.slice/windlass.service/windlass-ab-programs\n"):
        (made,) = cgroups.make("ab", trees=[tree], own=own)
        assert made.root == service / "windlass-ab"


def test_limits_in_the_words_of_both_versions() -> None:
    wanted = cgroups.settings(cpu_request=0.125, cpu_limit=1.5, memory_limit=2**30, pids=100)
    assert wanted["legacy"]["cpu.cfs_quota_us"] == "150000" and wanted["legacy"]["cpu.shares"] == "128"
    assert wanted["unified"]["cpu.max"] == "150000 100000" and wanted["unified"]["memory.max"] == str(2**30)
    unlimited = cgroups.settings(cpu_request=2, cpu_limit=None, memory_limit=1, pids=1)
    assert unlimited["legacy"]["cpu.cfs_quota_us"] == "-1" and unlimited["unified"]["cpu.max"] == "max 100000"


def test_a_container_killed_for_memory_is_noticed_in_the_group_that_the_runtime_nested(tmp_path: Path) -> None:
    group = cgroups.Cgroup("ta-1", [cgroups.Hierarchy(tmp_path, frozenset({"memory"}), False)])
    nested = tmp_path / "ta-1/ta-1"
    nested.mkdir(parents=True)
    (tmp_path / "ta-1/memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 0\n")
    (tmp_path / "ta-1/memory.limit_in_bytes").write_text("1048576\n")
    (tmp_path / "ta-1/memory.max_usage_in_bytes").write_text("1048000\n")
    assert not group.oom()
    (nested / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n")
    assert group.oom() and group.limit == 1048576 and group.peak() == 1048000


def test_without_any_group_a_container_starts_without_limits() -> None:
    group = cgroups.Cgroups([]).create("ta-1", cpu_request=1, cpu_limit=None, memory_limit=1, pids_limit=1)
    assert group.enter_argv(["conmon"]) == ["conmon"]
    assert (group.limit, group.peak(), group.oom(), group.remove()) == (None, 0, False, True)


def test_the_runtime_is_told_its_group_only_where_we_have_a_say_in_every_tree() -> None:
    trees = [cgroups.Hierarchy(Path("/c") / name, frozenset({name}), False) for name in ("cpu", "memory")]
    ours = [tree._replace(root=tree.root / "docker/1/windlass-ab") for tree in trees]
    assert cgroups.prefix(ours, trees) == "/docker/1/windlass-ab"
    assert cgroups.prefix(ours[:1], trees) == cgroups.prefix([], trees) == cgroups.prefix([], []) == ""


def test_a_group_of_an_old_tree_gets_another_name_with_all_that_is_in_it(tmp_path: Path) -> None:
    tree = cgroups.Hierarchy(tmp_path, frozenset({"memory"}), unified=False)
    groups = cgroups.Cgroups([tree])
    group = groups.create("ce-1", cpu_request=1, cpu_limit=None, memory_limit=1 << 20, pids_limit=10)
    (tmp_path / "ce-1" / "tasks").write_text("4711")
    assert group.doors == [tmp_path / "ce-1" / "tasks"]
    group.rename("ta-1")
    assert (tmp_path / "ta-1" / "tasks").read_text() == "4711" and not (tmp_path / "ce-1").exists()
    assert group.paths == groups.find("ta-1").paths == [tmp_path / "ta-1"] and group.container_id == "ta-1"


def test_in_version_2_processes_are_beside_the_group_of_the_runtime_and_never_above_it(tmp_path: Path) -> None:
    groups = cgroups.Cgroups([cgroups.Hierarchy(tmp_path, frozenset({"memory"}), unified=True)])
    group = groups.create("ta-1", cpu_request=1, cpu_limit=None, memory_limit=1 << 20, pids_limit=10)
    inner = tmp_path / "ta-1" / cgroups.INNER
    assert inner.is_dir() and group.paths == [tmp_path / "ta-1"]
    assert group.doors == group.lists == [inner / "cgroup.procs"]
    assert str(inner / "cgroup.procs") in group.enter_argv(["true"])
    assert groups.find("ta-1").lists == group.lists and group.remove() and not list(tmp_path.iterdir())

"""Container root is nobody on the host; a link, path or manifest in user hands never reaches outside its container."""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import windlass
from programs import walls
from windlass.worker import mounts


@pytest.fixture(scope="module")
def running(stage):
    with walls.app.run():
        yield


def identity(pid: int) -> tuple[set[int], set[int]]:
    fields = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
    )
    return {int(n) for n in fields["Uid"].split()}, {int(n) for n in fields["Gid"].split()}


def test_no_process_of_a_container_is_root_or_the_owner_on_the_host(stage, running):
    container = walls.look.remote()["task"]
    users, groups = identity(stage.payload(container))
    assert not users & {0, os.geteuid()} and not groups & {0, os.getegid()}
    assert min(users) > 65535


def test_the_worker_itself_is_not_root_outside_its_namespace(stage, running):
    record = json.loads((stage.home / "run/node.json").read_text())
    assert os.readlink(f"/proc/{record['pid']}/ns/user") != os.readlink("/proc/self/ns/user")
    inside = []
    for pid in Path("/proc").iterdir():
        line = read(pid / "cmdline") if pid.name.isdigit() else b""
        if b"windlass.worker\0--home\0" + os.fsencode(stage.home) + b"\0" in line and b"--inside" in line:
            with contextlib.suppress(OSError):  # a child that was about to become another program, and has ended
                inside.append(os.readlink(pid / "ns/user"))
    assert inside
    assert os.readlink("/proc/self/ns/user") not in inside


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_files_that_a_container_makes_belong_to_nobody(stage, running):
    output, _, container = walls.shell.remote(
        "echo x > /tmp/made-inside; chmod 4755 /tmp/made-inside; ls -ln /tmp/made-inside", 0
    )
    assert output.split()[2] == "0"
    seen = Path(f"/proc/{stage.payload(container)}/root/tmp/made-inside")
    assert seen.stat().st_uid > 65535


def test_links_inside_lead_nowhere_outside(stage, running, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("of the host")
    output, _, _ = walls.shell.remote(
        f"ln -sf {secret} /tmp/a; cat /tmp/a; ln -sf /proc/1/root{secret} /tmp/b; cat /tmp/b;"
        f" cat ../../../../../../../..{secret}; ls {stage.home}",
        0,
    )
    assert "of the host" not in output and output.count("No such file") == 4


@pytest.mark.parametrize(
    "trick",
    [
        "rm -rf /root && ln -s {target} /root",
        "ln -s {target} /__windlass",
        "mkdir /__windlass; cd /__windlass && ln -s {target} lib; ln -s {target} run; ln -s {target}/plan plan.json",
        "mv /etc /etc.real && ln -s {target} /etc",
        "rm -rf /tmp && ln -s {target} /tmp",
    ],
    ids=["home", "library", "library's parts", "settings", "temporary folder"],
)
def test_an_image_full_of_links_reaches_nothing_outside(stage, tmp_path, trick):
    """Whether the container then starts does not matter; that the host is left alone does."""
    target = tmp_path / "outside"
    target.mkdir()
    before = sorted(os.listdir(target))
    image = windlass.Image.debian_slim().run_commands(f"{trick.format(target=target)} # {uuid.uuid4().hex}")
    app = windlass.App("test-links", image=image)
    function = app.function(serialized=True, startup_timeout=10)(lambda: __import__("os").listdir("/"))
    file = tmp_path / "file"
    file.write_text("x")
    mounted = app.function(
        serialized=True,
        startup_timeout=10,
        name="mounted",
        image=image.add_local_file(file, "/root/evil").add_local_file(file, "/tmp/evil"),
    )(lambda: 1)
    with app.run():
        for one in (function, mounted):
            try:
                one.remote()
            except windlass.Error:
                pass
    assert sorted(os.listdir(target)) == before


@given(
    st.text(max_size=30) | st.lists(st.sampled_from(["..", ".", "a", "", "/", "\0", "b c"]), max_size=6).map("/".join)
)
def test_a_path_of_a_manifest_stays_below_its_tree(path):
    try:
        parts = mounts.check(path)
    except windlass.exception.InvalidError:
        return
    assert parts and ".." not in parts and not any(part.startswith("/") or "\0" in part for part in parts)
    root = Path("/somewhere/tree")
    assert root in Path(os.path.normpath(root.joinpath(*parts))).parents


@pytest.mark.parametrize("path", ["../evil", "/evil", "a/../../evil", "a\0b", ""])
def test_a_forged_manifest_is_refused_and_leaves_nothing(tmp_path, path):
    import asyncio
    import hashlib

    content = json.dumps({"files": [{"path": path, "digest": "sha256:" + "0" * 64, "size": 0, "mode": 0o644}]}).encode()
    name = hashlib.sha256(content).hexdigest()
    blob = tmp_path / "home/blobs" / name[:2] / name
    blob.parent.mkdir(parents=True)
    blob.write_bytes(content)
    with pytest.raises(windlass.Error):
        asyncio.run(mounts.Mounts(tmp_path / "home", owner=False).tree(f"sha256:{name}"))
    assert os.listdir(tmp_path) == ["home"]
    assert not any((tmp_path / "home/mounts").iterdir())


def test_a_local_link_that_leads_out_of_the_folder_does_not_surprise(stage, tmp_path):
    """Local files are the caller's own: a link is followed here or left out, never resolved in the container."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "elsewhere").write_text("the caller's own file")
    (tmp_path / "folder/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "folder/dangling").symlink_to("/nowhere/at/all")
    app = windlass.App(
        "test-local-links", image=windlass.Image.debian_slim().add_local_dir(tmp_path / "folder", "/data")
    )

    def look():
        import os

        return {name: (os.path.islink(f"/data/{name}"), open(f"/data/{name}").read()) for name in os.listdir("/data")}

    function = app.function(serialized=True)(look)
    try:
        with app.run():
            assert function.remote() in ({"link": (False, "the caller's own file")}, {})
    except (FileNotFoundError, windlass.Error) as exc:
        assert "dangling" in str(exc)

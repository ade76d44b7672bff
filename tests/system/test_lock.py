"""`windlass image lock` and `run --locked`: exactly the versions of the lock, or an error that says what differs."""

from __future__ import annotations

import json
from pathlib import Path

PROGRAM = """
import modal
image = modal.Image.debian_slim().{steps}
app = modal.App("test-lock", image=image)

@app.function()
def versions():
    import importlib.metadata as m
    return [m.version(name) for name in ("iniconfig", "idna")]

@app.local_entrypoint()
def main(): print("GOT", *versions.remote())
"""


def edited(lock: Path, package: str, version: str) -> None:
    """The lock as it would have been written when ``package`` was at ``version``."""
    whole = json.loads(lock.read_text())
    for image in whole["images"]:
        for step in image["steps"]:
            if package in step.get("python", {}):
                step["python"][package] = version
    lock.write_text(json.dumps(whole))


def test_a_locked_program_gets_the_versions_of_the_lock_whatever_is_newest(stage, program):
    steps = 'pip_install("iniconfig").run_commands("python -m pip install -q --no-cache-dir idna")'
    path = program("locked.py", PROGRAM.format(steps=steps))
    lock = Path(path).with_name("locked.images.lock")

    stage.cli("run", "--locked", path, check=1).err.index("windlass image lock")
    stage.cli("deploy", "--locked", "--name", "locked", path, check=1).err.index("windlass image lock")
    said = stage.cli("image", "lock", path, check=0).out
    assert str(lock) in said and lock.exists()
    newest = stage.cli("run", path, check=0).out
    assert stage.cli("run", "--locked", path, check=0).out == newest
    assert "version 1" in stage.cli("deploy", "--locked", "--name", "locked", path, check=0).out
    stage.cli("app", "stop", "locked", "-y", check=0)

    edited(lock, "iniconfig", "1.1.1")
    edited(lock, "idna", "3.4")
    ran = stage.cli("run", "--locked", path)
    assert "GOT 1.1.1 3.4" in ran.out, ran.text
    assert stage.cli("run", path, check=0).out == newest, "without --locked the newest are taken"

    edited(lock, "idna", "999")
    ran = stage.cli("run", "--locked", path, check=1)
    assert "Cannot install idna" in ran.err and "held to the versions of locked.images.lock" in ran.err, ran.text


def test_a_program_that_is_not_the_locked_one_is_refused_before_anything_is_built(stage, program):
    path = program("moved.py", PROGRAM.format(steps='pip_install("iniconfig", "idna")'))
    stage.cli("image", "lock", "-q", path, check=0)
    layers = {entry.name for entry in (stage.home / "layers").iterdir()}
    program("moved.py", PROGRAM.format(steps='pip_install("iniconfig", "idna", "six")'))
    ran = stage.cli("run", "--locked", path, check=1)
    assert "step 2 is `pip idna iniconfig six`, in the lock `pip idna iniconfig`" in ran.err
    assert {entry.name for entry in (stage.home / "layers").iterdir()} <= layers, "old ones may go at any time"


def test_what_nobody_can_pin_is_compared(stage, program):
    """A base from a mirror holds what the mirror has now: where that differs, the difference is shown."""
    path = program("moving.py", PROGRAM.format(steps='pip_install("iniconfig", "idna")'))
    stage.cli("image", "lock", "-q", path, check=0)
    lock = Path(path).with_name("moving.images.lock")
    whole = json.loads(lock.read_text())
    assert len(whole["images"][0]["steps"][0]["debian"]) > 100
    whole["images"][0]["steps"][0]["debian"]["base-files"] = "1.0"
    lock.write_text(json.dumps(whole))
    ran = stage.cli("run", "--locked", path, check=1)
    assert "after step 1" in ran.err and "base-files" in ran.err and "locked 1.0" in ran.err


def test_locking_again_changes_nothing_and_says_so(stage, program):
    path = program("again.py", PROGRAM.format(steps='pip_install("iniconfig", "idna")'))
    stage.cli("image", "lock", "-q", path, check=0)
    before = Path(path).with_name("again.images.lock").read_text()
    assert json.loads(stage.cli("image", "lock", "-q", "--json", path, check=0).out)["changed"] is False
    assert Path(path).with_name("again.images.lock").read_text() == before


def test_a_pinned_package_of_debian_that_is_gone_from_the_mirror_is_an_error(stage, program):
    path = program("apt.py", PROGRAM.format(steps='apt_install("tree").pip_install("iniconfig", "idna")'))
    stage.cli("image", "lock", "-q", path, check=0)
    assert "GOT" in stage.cli("run", "--locked", path, check=0).out
    lock = Path(path).with_name("apt.images.lock")
    whole = json.loads(lock.read_text())
    steps = [step for image in whole["images"] for step in image["steps"]]
    (tree,) = {step["debian"]["tree"] for step in steps if "tree" in step.get("debian", {})}
    lock.write_text(lock.read_text().replace(f'"tree": "{tree}"', '"tree": "0.0.1"'))
    ran = stage.cli("run", "--locked", path, check=1)
    assert f"tree {tree} (locked 0.0.1)" in ran.text

"""Images leave, are checked and are handed out, with real layers: in a home of its own, because most of it goes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import registries
import windlass
from stage import Stage, until

PROGRAM = """
import modal
image = modal.Image.debian_slim(){steps}
app = modal.App("{name}", image=image)

@app.function()
def f(seconds):
    import time
    print("RUNNING", flush=True)
    time.sleep(seconds)
    return open("/made").read()

@app.local_entrypoint()
def main(seconds: float = 0): print("MADE", f.remote(seconds))
"""


def run_step(*commands: str) -> str:
    return f".run_commands({', '.join(map(repr, commands))})"


def made(mark: str) -> str:
    return run_step(f"echo {mark} > /made; mkdir /dir; echo 1 > /dir/a; ln /dir/a /dir/b")


@pytest.fixture(scope="module")
def place(stage: Stage) -> Iterator[Stage]:
    """A platform with nothing but the base, whose files are links to those of the session's."""
    base = stage.base()
    home = stage.home.with_name(stage.home.name + "-gc")
    other = Stage(home)
    other.stop()
    shutil.rmtree(home, ignore_errors=True)
    (home / "layers").mkdir(parents=True)
    subprocess.run(["cp", "-al", base, home / "layers"], check=True)
    other.start()
    try:
        yield other
    finally:
        other.stop()
        shutil.rmtree(home)


@pytest.fixture
def fresh(place: Stage, program: Any) -> Any:
    """Write a program with these further steps."""

    def write(steps: str, name: str = "leaving") -> str:
        return program(f"{name}.py", PROGRAM.format(steps=steps, name=name))

    return write


def layers(place: Stage) -> set[str]:
    return {entry.name for entry in (place.home / "layers").iterdir()}


def disk(place: Stage) -> int:
    words = subprocess.run(["du", "-s", "-B1", place.home / "layers"], capture_output=True, text=True, check=True)
    return int(words.stdout.split()[0])


def keep_base(place: Stage) -> None:
    """Its making takes half a minute."""
    for image in place.json("image", "list", "--all"):
        if image["last_step"].startswith("debian_slim"):
            place.cli("image", "publish", image["image_id"], "test-base", check=0)


def image_of(place: Stage, path: str) -> str:
    """Run a program and give back the image that it ran on."""
    before = {one["image_id"] for one in place.json("image", "list", "--all")}
    place.cli("run", path, check=0)
    return str(next(one["image_id"] for one in place.json("image", "list") if one["image_id"] not in before))


def until_it_says(process: Any, word: str) -> None:
    said = ""
    while word not in said:
        line = process.stdout.readline()
        assert line, f"it ended: {said}"
        said += line


def test_the_image_of_a_running_app_stays_and_goes_afterwards_and_comes_back(place: Stage, fresh: Any) -> None:
    path = fresh(made(uuid.uuid4().hex))
    with place.background("run", path, "--seconds", "600") as process:
        until_it_says(process, "RUNNING")
        keep_base(place)
        (used,) = [one["image_id"] for one in place.json("image", "list") if "echo" in one["last_step"]]
        found = json.loads(place.cli("image", "prune", "--all", "-y", "--json", check=0).out)
        assert found["images"] == [] and used in layers(place)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    until(lambda: not place.containers(), what="no container")

    def go() -> list[str]:
        found = json.loads(place.cli("image", "prune", "--all", "-y", "--json", check=0).out)
        return [one["image_id"] for one in found["images"]]

    assert until(go, 20, "the image is unused") == [used]
    assert used not in layers(place) and used not in {one["image_id"] for one in place.json("image", "list", "--all")}
    assert "MADE" in place.cli("run", path, check=0).out and used in layers(place)


def test_nothing_is_removed_without_consent_or_by_a_dry_run(place: Stage, fresh: Any) -> None:
    image = image_of(place, fresh(made(uuid.uuid4().hex)))
    keep_base(place)
    shown = place.cli("image", "prune", "--all", "--dry-run", check=0)
    assert image in shown.out and "would go" in shown.out
    refused = place.cli("image", "prune", "--all", check=1)
    assert "--yes" in refused.err and image in layers(place)
    assert place.cli("image", "prune", "--older-than", "1h", "-y", check=0).out.startswith("Removed 0 images")
    assert place.cli("image", "prune", "--all", "--older-than", "1h").code == 2
    assert place.cli("image", "prune", "--older-than", "yesterday").code == 2
    assert place.cli("image", "prune", "--keep-size", "much").code == 2
    assert image in layers(place)


def test_two_images_that_share_nine_steps_store_those_once(place: Stage, fresh: Any) -> None:
    size, mark = 2 * 2**20, uuid.uuid4().hex
    nine = "".join(run_step(f"head -c {size} /dev/urandom > /big{n} # {mark}") for n in range(9))
    before = disk(place)
    first = image_of(place, fresh(nine + made("one"), "first"))
    between = disk(place)
    second = image_of(place, fresh(nine + made("two"), "second"))
    after = disk(place)
    assert between - before > 9 * size, "the first one has nine large steps"
    assert after - between < size / 10, "the second one has only its last"
    infos = [json.loads(place.cli("image", "info", one, "--json", check=0).out) for one in (first, second)]
    assert all(info["shared"] >= 9 * size for info in infos)
    keep_base(place)
    place.cli("image", "publish", second, "kept", check=0)
    freed = json.loads(place.cli("image", "prune", "--all", "-y", "--json", check=0).out)
    assert first in {one["image_id"] for one in freed["images"]} and first not in layers(place)
    assert "MADE two" in place.cli("run", fresh(nine + made("two"), "second"), check=0).out, "it kept its nine steps"
    ran = place.cli("run", fresh(nine + made("one"), "first"), check=0)
    assert ran.text.count("Building image") == 1, "only the last step is made again"


def first_layer(place: Stage, image: str) -> Path:
    return place.home / "layers" / image


@pytest.mark.parametrize("what", ["deleted", "truncated", "record"])
def test_a_damaged_layer_is_found_repaired_and_built_again(place: Stage, fresh: Any, what: str) -> None:
    mark = uuid.uuid4().hex
    path = fresh(made(mark) + run_step("echo above > /above"))
    top = image_of(place, path)
    info = json.loads(place.cli("image", "info", top, "--json", check=0).out)
    below = info["steps"][-2]["image_id"]
    assert json.loads(place.cli("image", "fsck", "--json", check=0).out)["findings"] == []
    layer = first_layer(place, below)
    if what == "deleted":
        (layer / "files/dir/a").unlink()
    elif what == "truncated":
        os.truncate(layer / "files/made", 3)
    else:
        (layer / "meta.json").unlink()
    (place.home / "layers/.draft-forgotten").mkdir()
    found = json.loads(place.cli("image", "fsck", "--json", check=1).out)["findings"]
    kinds = {(one["name"], one["kind"]) for one in found}
    assert (".draft-forgotten", "draft") in kinds
    assert (below, "no record" if what == "record" else "changed") in kinds
    assert "Run `windlass image fsck --repair`" in place.cli("image", "fsck", check=1).out

    def repaired() -> bool:  # the app that ran on it may still be stopping
        return place.cli("image", "fsck", "--repair").code == 0

    until(repaired, 20, "a repaired store")
    assert not {below, top, ".draft-forgotten"} & layers(place)
    assert "all is well" in place.cli("image", "fsck", check=0).out
    assert f"MADE {mark}" in place.cli("run", path, check=0).out and {below, top} <= layers(place)
    place.cli("image", "fsck", check=0)


@pytest.mark.parametrize("program_name", ["worker", "server"])
def test_a_removal_whose_programs_are_killed_leaves_a_whole_store(
    place: Stage, fresh: Any, program_name: str
) -> None:
    many = run_step(f"mkdir /many && cd /many && seq 1 20000 | xargs touch # {uuid.uuid4().hex}")
    path = fresh(many + made(uuid.uuid4().hex))
    image_of(place, path)
    keep_base(place)
    until(lambda: not place.containers(), what="no container")
    with place.background("image", "prune", "--all", "-y") as process:
        until(lambda: any(name.startswith(".gone-") for name in layers(place)) or process.poll() is not None, 30)
        place.kill(program_name)
        process.communicate(timeout=150)
    until(lambda: not [name for name in layers(place) if name.startswith(".")], 30, "no leftovers")
    until(lambda: place.json("node", "list"), 30, "the worker is back")
    found = json.loads(place.cli("image", "fsck", "--json").out)["findings"]
    assert {one["kind"] for one in found} <= {"no image"}, "at most rows are behind, and such are never offered"
    assert "MADE" in place.cli("run", path, check=0).out
    place.cli("image", "fsck", "--repair", check=0)
    place.cli("image", "fsck", check=0)


SPECIAL = r"""
import os, struct
os.mkdir("/srv/x"); open("/srv/x/plain", "w").write("plain")
os.chown("/srv/x/plain", 1, 33); os.chmod("/srv/x/plain", 0o4711)
os.setxattr("/srv/x/plain", "user.colour", b"green")
os.setxattr("/srv/x/plain", "security.capability", struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0))
os.link("/srv/x/plain", "/srv/x/again"); os.symlink("plain", "/srv/x/link"); os.mkfifo("/srv/x/pipe")
os.utime("/srv/x/again", (7, 1234567890)); open("/srv/x/" + "n" * 200, "w")
"""


def test_an_exported_image_holds_every_kind_of_file_and_is_read_by_others(
    place: Stage, fresh: Any, tmp_path: Path
) -> None:
    (tmp_path / "special.py").write_text(SPECIAL)
    steps = f".add_local_file({str(tmp_path / 'special.py')!r}, '/special.py', copy=True)"
    steps += run_step("python /special.py") + made("exported")
    steps += run_step("rm /special.py; rm -r /dir; mkdir /dir; echo 3 > /dir/c") + ".env({'A': 'b c'}).workdir('/srv')"
    image = image_of(place, fresh(steps, "export"))
    archive = tmp_path / "image.tar"
    said = place.cli("image", "export", image, str(archive), check=0)
    assert said.out.startswith("Wrote ") and os.listdir(tmp_path).count("image.tar") == 1
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".part")]

    config, trees = unpacked(archive)
    assert config["config"]["WorkingDir"] == "/srv" and "A=b c" in config["config"]["Env"]
    assert [one.get("empty_layer", False) for one in config["history"]] == [False] * 5 + [True, True]
    special = {name: member for tree in trees for name, member in tree.items() if name.startswith("srv/x/")}
    plain, again = special["srv/x/plain"], special["srv/x/again"]
    first, second = (again, plain) if plain.islnk() else (plain, again)
    assert (first.mode, first.uid, first.gid, first.mtime) == (0o4711, 1, 33, 1234567890)
    assert second.linkname == first.name and special["srv/x/link"].linkname == "plain"
    assert special["srv/x/pipe"].isfifo() and "srv/x/" + "n" * 200 in special
    assert first.pax_headers["SCHILY.xattr.user.colour"] == "green"
    capability = first.pax_headers["SCHILY.xattr.security.capability"].encode()
    assert capability[:8] == b"\x01\x00\x00\x02\x00\x04\x00\x00" and len(capability) == 20
    top = trees[-1]
    assert {".wh.special.py", "dir/.wh..wh..opq", "dir/c"} <= top.keys()
    assert not any("user.overlay" in key for tree in trees for member in tree.values() for key in member.pax_headers)
    assert {member.uid for tree in trees for member in tree.values()} <= set(range(65536))
    done(["skopeo", "inspect", "--config", f"oci-archive:{archive}"])
    with tempfile.TemporaryDirectory(prefix="wl-") as folder:  # podman wants short paths
        podman = ["podman", "--root", f"{folder}/root", "--runroot", f"{folder}/run"]
        assert f"localhost/windlass:{image}" in done([*podman, "load", "-i", str(archive)])
        done([*podman, "rmi", "--all", "--force"])
        subprocess.run(["umount", "-q", f"{folder}/root/overlay"], check=False)


def done(line: list[str]) -> str:
    ran = subprocess.run(line, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def unpacked(archive: Path) -> tuple[Any, list[dict[str, tarfile.TarInfo]]]:
    """The config, and what each layer holds."""
    with tarfile.open(archive) as file:

        def blob(digest: str) -> bytes:
            return file.extractfile("blobs/" + digest.replace(":", "/")).read()  # type: ignore[union-attr]

        index = json.loads(file.extractfile("index.json").read())  # type: ignore[union-attr]
        manifest = json.loads(blob(index["manifests"][0]["digest"]))
        trees = []
        for described in manifest["layers"]:
            source = file.extractfile("blobs/" + described["digest"].replace(":", "/"))
            with tarfile.open(fileobj=source) as layer:
                trees.append({member.name: member for member in layer.getmembers()})
        return json.loads(blob(manifest["config"]["digest"])), trees


def test_an_export_that_cannot_be_written_leaves_nothing(place: Stage, fresh: Any, tmp_path: Path) -> None:
    image = image_of(place, fresh(made(uuid.uuid4().hex)))
    gone = place.cli("image", "export", image, str(tmp_path / "no/such/folder"), check=1)
    assert "cannot write" in gone.err
    (tmp_path / "there").write_text("before")
    missing = place.cli("image", "export", "im-" + "z" * 22, str(tmp_path / "there"), check=1)
    assert "no image" in missing.err and (tmp_path / "there").read_text() == "before"
    assert set(os.listdir(tmp_path)) - {"__pycache__"} == {"there", "leaving.py"}
    with place.background("image", "export", image, str(tmp_path / "stopped.tar")) as process:
        until(lambda: [draft for draft in tmp_path.glob(".*.part") if draft.stat().st_size], 60, "the first bytes")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert set(os.listdir(tmp_path)) - {"__pycache__"} == {"there", "leaving.py"}
    until(lambda: b"images.archive" not in commands(), 60, "the program that wrote it has ended, and those of others")


def commands() -> bytes:
    """What runs on this machine."""
    return subprocess.run(["ps", "-eo", "args"], capture_output=True, check=True).stdout


@pytest.mark.skipif(not (shutil.which("skopeo") and shutil.which("docker-registry")), reason="no registry")
def test_an_image_that_went_to_a_registry_and_back_is_the_same(stage: Stage, tmp_path: Path) -> None:
    """Exported, pushed by another program, pulled and exported again: every layer has the digest that it had."""

    def built(image: windlass.Image) -> str:
        return str(image.build().object_id)

    def exported(image: windlass.Image) -> tuple[Path, Any]:
        archive = tmp_path / f"{uuid.uuid4().hex}.tar"
        stage.cli("image", "export", built(image), str(archive), check=0)
        return archive, unpacked(archive)[0]

    with registries.running(tmp_path / "registry") as place:
        place.push("base:1", [registries.busybox()])
        image = windlass.Image.from_registry(f"{place.host}/base:1").run_commands(
            "mkdir /d; echo 1 > /d/a; busybox ln /d/a /d/b; busybox mkfifo /d/p; busybox chown 5:7 /d; echo 2 > /gone",
            f"busybox rm -r /d /gone; mkdir /d; echo {uuid.uuid4().hex} > /d/c; busybox chmod 4711 /d/c",
        )
        archive, before = exported(image.env({"COLOUR": "blue"}).workdir("/d"))
        line = ["skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false", f"oci-archive:{archive}"]
        done([*line, f"docker://{place.host}/back:1"])
        _, after = exported(windlass.Image.from_registry(f"{place.host}/back:1"))
    assert len(before["rootfs"]["diff_ids"]) == 3 and before["rootfs"] == after["rootfs"]
    assert before["config"] == after["config"]
    stage.cli("image", "fsck", check=0)


CALLER = """
import modal
app = modal.App("caller")

@app.local_entrypoint()
def main(): print("MADE", modal.Function.from_name("older", "f").remote(0))
"""


def test_the_image_of_an_older_version_is_there_for_a_rollback(place, fresh, program):
    def reaches(mark: str) -> None:
        until(lambda: f"MADE {mark}" in place.cli("run", caller, check=0).text, 60, mark)

    caller = program("caller.py", CALLER)
    place.cli("deploy", fresh(made("older-one"), "older"), check=0)
    reaches("older-one")
    place.cli("deploy", fresh(made("older-two"), "older"), check=0)
    reaches("older-two")
    place.cli("image", "prune", "--all", "-y", check=0)
    layers = {path.name for path in (place.home / "layers").glob("im-*")}
    place.cli("app", "rollback", "older", check=0)
    reaches("older-one")
    assert layers == {path.name for path in (place.home / "layers").glob("im-*")}, "nothing was built again"
    place.cli("app", "stop", "older", "-y", check=0)
    freed: set[str] = set()

    def both_go() -> bool:  # when the last container has ended
        found = json.loads(place.cli("image", "prune", "--all", "-y", "--json", check=0).out)
        freed.update(one["image_id"] for one in found["images"])
        return len(freed) >= 2

    until(both_go, 20, "nothing uses them")

"""Volumes in build steps: mounted and committed as in functions, and never part of what is built."""

from __future__ import annotations

import io
import os
import signal
import textwrap
import threading
import uuid

import pytest

import windlass
from stage import until

SLIM = windlass.Image.debian_slim


@pytest.fixture
def volume():
    name = f"test-{uuid.uuid4().hex[:12]}"
    yield windlass.Volume.from_name(name, create_if_missing=True).hydrate()
    windlass.Volume.objects.delete(name, allow_missing=True)


def put(volume, **files):
    with volume.batch_upload(force=True) as batch:
        for name, text in files.items():
            batch.put_file(io.BytesIO(text.encode()), name)


def read(volume, path):
    return b"".join(volume.read_file(path)).decode()


def built(image):
    with windlass.App("test-image-volumes").run() as app:
        return image.build(app).object_id


def sh(*commands: str):
    import subprocess

    return [subprocess.run(c, shell=True, capture_output=True, text=True).stdout.strip() for c in commands]


def inside(image, *commands: str):
    app = windlass.App("test-image-volumes", image=image)
    handle = app.function(serialized=True)(sh)
    with app.run():
        return handle.remote(*commands)


def layer(stage, image_id):
    return sorted(path.name for path in (stage.home / "layers" / image_id / "files").rglob("*") if path.is_file())


def fetching():
    def fetch(text):
        with open("/models/seen", "w") as file:
            file.write(open("/models/old").read() + text)
        with open("/srv/config", "w") as file:
            file.write("kept in the image")

    return fetch


def test_a_function_as_a_step_sees_the_volume_and_what_it_writes_is_committed_and_in_no_layer(stage, volume):
    put(volume, old="before ")
    text = uuid.uuid4().hex
    image = SLIM().run_function(fetching(), args=(text,), volumes={"/models": volume})
    image_id = built(image)
    assert read(volume, "seen") == f"before {text}"
    assert layer(stage, image_id) == ["config"]
    assert inside(image, "cat /srv/config", "ls /models") == ["kept in the image", ""]
    [newest, *_] = stage.json("volume", "history", volume.name)
    assert image_id in str(newest), "the history says which step it was"
    assert not list((stage.home / "building").iterdir())


def test_what_a_volume_holds_does_not_count_but_which_one_and_how_it_is_mounted_does(stage, volume):
    put(volume, old="before ")
    other = windlass.Volume.from_name(f"{volume.name}-b", create_if_missing=True).hydrate()
    try:
        def image(**mounted):
            commands = [f"mkdir -p /srv; echo {volume.name} > /srv/mark; cat {path}/* || true" for path in ("/v",)]
            return SLIM().run_commands(*commands, volumes={f"/{path}": one for path, one in mounted.items()})

        first = built(image(v=volume))
        put(volume, old="after")
        assert built(image(v=volume)) == first
        others = [
            built(image(w=volume)), built(image(v=other)), built(image(v=volume.with_mount_options(read_only=True))),
            built(image(v=volume.with_mount_options(sub_path="a"))), built(image()),
        ]  # fmt: skip
        assert len({first, *others}) == 6
    finally:
        windlass.Volume.objects.delete(other.name, allow_missing=True)


def test_read_only_and_a_part_of_a_volume(stage, volume):
    with volume.batch_upload() as batch:
        batch.put_file(io.BytesIO(b"deep"), "/part/file")
    lines = "cat /ro/part/file > /srv/a; touch /ro/x 2> /srv/b || true; cat /part/file > /srv/c; echo new > /part/more"
    other = windlass.Volume.from_name(f"{volume.name}-b", create_if_missing=True).hydrate()
    put(other, file="other")
    try:
        image = SLIM().run_commands(
            "mkdir -p /srv; " + lines,
            volumes={
                "/ro": volume.with_mount_options(read_only=True), "/part": other.with_mount_options(sub_path="sub"),
            },
        )  # fmt: skip
        deep, refused, part = inside(image, "cat /srv/a", "cat /srv/b", "cat /srv/c")
        assert deep == "deep" and "Read-only file system" in refused and part == ""
        assert read(other, "sub/more") == "new\n" and read(other, "file") == "other"
        assert [entry.path for entry in volume.iterdir("/")] == ["part", "part/file"]
    finally:
        windlass.Volume.objects.delete(other.name, allow_missing=True)


def test_a_step_that_fails_commits_as_a_function_that_fails_and_publishes_nothing(stage, volume):
    inside(SLIM(), "true")
    before = set(os.listdir(stage.home / "layers"))
    image = SLIM().run_commands(f"echo half > /data/{volume.name}; exit 3", volumes={"/data": volume})
    with pytest.raises(windlass.exception.ImageBuildError, match="exit code 3"):
        built(image)
    assert read(volume, volume.name) == "half\n"
    assert set(os.listdir(stage.home / "layers")) == before


def test_two_who_need_one_step_join_it_and_both_commits_of_its_neighbours_stay(stage, volume):
    marks = [uuid.uuid4().hex for _ in range(2)]

    def image(mark):
        return SLIM().run_commands(
            f"echo {mark} >> /data/joined-{mark}; until [ $(ls /data | wc -l) -ge 1 ]; do sleep 0.1; done; sleep 1",
            volumes={"/data": volume},
        )

    found: list[str] = []
    with windlass.App("test-image-volumes").run() as app:
        def work(mark):
            found.append(image(mark).build(app).object_id)

        threads = [threading.Thread(target=work, args=(mark,)) for mark in (marks[0], marks[0], marks[1])]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(90)
    assert len(found) == 3 and len(set(found)) == 2
    assert [read(volume, f"joined-{mark}") for mark in marks] == [f"{mark}\n" for mark in marks]


def test_a_step_whose_volume_is_deleted_meanwhile_publishes_no_layer(stage, volume):
    image = SLIM().run_commands(
        f"echo {volume.name} > /data/x; touch /data/ready; sleep 18; echo late > /data/late", volumes={"/data": volume}
    )
    failed: list[BaseException] = []

    def work():
        try:
            built(image)
        except windlass.exception.Error as exc:
            failed.append(exc)

    thread = threading.Thread(target=work)
    thread.start()
    until(lambda: [e for e in volume.iterdir("/") if e.path == "ready"], 60, "a commit in the background")
    windlass.Volume.objects.delete(volume.name)
    thread.join(90)
    assert failed and isinstance(failed[0], windlass.exception.ImageBuildError)
    assert "could not be committed" in str(failed[0]) and "does not exist" in str(failed[0])


def test_a_worker_killed_in_the_middle_of_a_step_loses_nothing_that_the_step_wrote(stage, volume):
    line = (
        "if [ -e /data/first ]; then cp /data/first /data/second; else "
        "echo before the kill > /data/first; touch /tmp/now; sleep 100; fi"
    )
    image = SLIM().run_commands(f": {volume.name}; {line}", volumes={"/data": volume})
    done: list[str] = []
    thread = threading.Thread(target=lambda: done.append(built(image)))
    thread.start()
    until(lambda: list((stage.home / "building").glob("*/volumes/0/upper-0/first")), 60, "the step's first file")
    stage.kill("worker")
    thread.join(90)
    assert done, "the step was run again, and saw what it had written before"
    assert read(volume, "first") == read(volume, "second") == "before the kill\n"
    assert not list((stage.home / "building").iterdir())


GIVEN_UP = """
import modal
vol = modal.Volume.from_name({name!r})
image = modal.Image.debian_slim().run_commands("echo {name} > /v/first; sleep 300", volumes={{"/v": vol}})
app = modal.App("test-given-up", image=image)
@app.function()
def f(): ...
@app.local_entrypoint()
def main(): f.remote()
"""


def test_what_a_step_wrote_that_nobody_waits_for_any_more_is_committed(stage, program, volume):
    with stage.background("run", program("given_up.py", GIVEN_UP.format(name=volume.name))) as running:
        until(lambda: list((stage.home / "building").glob("*/volumes/0/upper-0/first")), 60, "the step's first file")
        running.send_signal(signal.SIGINT)
        running.wait(30)
    until(lambda: not list((stage.home / "building").iterdir()), 30, "all is committed")
    assert read(volume, "first") == f"{volume.name}\n"


def test_a_network_file_system_in_a_step_and_buckets_are_refused(stage):
    name = f"test-{uuid.uuid4().hex[:8]}"
    with windlass.NetworkFileSystem.ephemeral() as shared:

        def leave():
            with open("/shared/left", "w") as file:
                file.write("by a step")

        built(SLIM().run_function(leave, args=(), network_file_systems={"/shared": shared}))
        assert b"".join(shared.read_file("left")) == b"by a step"
    bucket = windlass.CloudBucketMount(name, bucket_endpoint_url="http://127.0.0.1:1")
    with pytest.raises(windlass.exception.InvalidError, match="bucket"):
        SLIM().run_commands("true", volumes={"/b": bucket})
    with pytest.raises(windlass.exception.InvalidError, match="bucket"):
        SLIM().run_function(fetching(), volumes={"/b": bucket})


LOCKED = """
import modal
vol = modal.Volume.from_name({name!r}, create_if_missing=True)
def leave(): open("/v/file", "a").write("x")
image = modal.Image.debian_slim().run_function(leave, volumes={{"/v": vol}}).pip_install("iniconfig")
app = modal.App("test-lock-volume", image=image)
@app.function()
def look():
    import iniconfig
    return "fine"
@app.local_entrypoint()
def main(): print("GOT", look.remote())
"""


def test_a_lock_holds_with_a_volume_made_anew(stage, program, volume):
    path = program("locked_volume.py", textwrap.dedent(LOCKED.format(name=volume.name)))
    stage.cli("image", "lock", path, check=0)
    assert "GOT fine" in stage.cli("run", "--locked", path, check=0).out
    windlass.Volume.objects.delete(volume.name)
    ran = stage.cli("run", "--locked", path, check=0)
    assert "GOT fine" in ran.out, ran.text
    assert set(read(windlass.Volume.from_name(volume.name), "file")) == {"x"}, "the step ran again, for another volume"

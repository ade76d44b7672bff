"""What the platform remembers of images: logs, names, sizes, use; and that builds end right whoever is killed."""

from __future__ import annotations

import os
import signal
import uuid

import pytest

import windlass
from stage import until

SLIM = windlass.Image.debian_slim


def sh(*commands: str):
    import subprocess

    return [subprocess.run(c, shell=True, capture_output=True, text=True).stdout.strip() for c in commands]


def inside(image, *commands: str):
    app = windlass.App("test-image-store", image=image)
    handle = app.function(serialized=True)(sh)
    with app.run():
        return handle.remote(*commands)


@pytest.fixture
def mark():
    return uuid.uuid4().hex


SLOW = """
import modal
step = "echo begun-{mark}; sleep {seconds}; echo ended-{mark}; echo whole > /made"
image = modal.Image.debian_slim().run_commands(step).run_commands("cat /made > /again")
app = modal.App("test-slow-build", image=image)

@app.function()
def f(): return open("/again").read()

@app.local_entrypoint()
def main(): print("MADE", f.remote())
"""


# -- logs


def test_the_log_of_every_layer_is_read_with_the_sdk_and_the_command(stage, mark):
    image = SLIM().run_commands(f"echo first-{mark}", f"printf 'a\\nb\\nc-{mark}'")
    inside(image)
    _, first, second = image.logs.fetch()
    assert first.text == f"first-{mark}\n" and second.text == f"a\nb\nc-{mark}\n"
    assert first.command == f"echo first-{mark}" and first.error is None and second.image_id == image.object_id
    (tail,) = image.logs.tail(2)
    assert tail.text == f"b\nc-{mark}\n" and tail.image_id == second.image_id
    two = image.logs.tail(4)
    assert [layer.image_id for layer in two] == [first.image_id, second.image_id]

    ran = stage.cli("image", "logs", image.object_id, check=0)
    assert ran.out.endswith(f"first-{mark}\na\nb\nc-{mark}\n") and f"Step 2/3: echo first-{mark}" in ran.err
    assert stage.cli("image", "logs", image.object_id, "--layer", "-1", check=0).out == f"a\nb\nc-{mark}\n"
    layers = stage.json("image", "logs", image.object_id, "--layer", first.image_id)
    assert [layer["text"] for layer in layers] == [f"first-{mark}\n"] and layers[0]["ended_at"]
    assert stage.cli("image", "logs", image.object_id, "--layer", "9", check=1).err.count("no layer") == 1
    assert "nothing is known" in stage.cli("image", "logs", "im-" + "0" * 22, check=1).err


def test_the_log_of_a_failed_build_stays_readable(stage, mark):
    with pytest.raises(windlass.exception.ImageBuildError) as caught:
        inside(SLIM().run_commands(f"echo why-{mark}; exit 7"))
    failed = caught.value.image_id
    assert failed and f"windlass image logs {failed}" in caught.value.hint
    layers = windlass.Image.from_id(failed).logs.fetch()
    assert layers[-1].text == f"why-{mark}\n" and "exit code 7" in layers[-1].error
    ran = stage.cli("image", "logs", failed, check=0)
    assert f"why-{mark}" in ran.out and "exit code 7" in ran.err
    with pytest.raises(windlass.exception.NotFoundError):
        windlass.Image.from_id(failed).hydrate()
    assert failed not in [row["image_id"] for row in stage.json("image", "list", "--all")]


def test_a_build_is_followed_by_another_client_while_it_runs(stage, program, mark):
    path = program("slow.py", SLOW.format(mark=mark, seconds=8))
    with stage.background("run", path) as process:
        for line in process.stdout:
            if "begun-" in line and "echo" not in line:
                break
        image_id = _building(stage)
        done = stage.json("image", "list", "--all")
        assert mark not in str(done), "what is being built is no image yet"
        ran = stage.cli("image", "logs", image_id, "--follow", check=0)
        assert ran.out.endswith(f"begun-{mark}\nended-{mark}\n")
        assert process.wait(60) == 0


def _building(stage):
    """The image whose log says that it is being built."""
    import sqlite3

    with sqlite3.connect(f"file:{stage.home}/db/windlass.sqlite3?mode=ro", uri=True) as db:
        return db.execute("SELECT image FROM image_build WHERE ended_at IS NULL").fetchone()[0]


def test_a_step_that_prints_a_flood_keeps_its_two_ends(stage, mark):
    image = SLIM().run_commands(f"echo BEGIN-{mark}; seq 1 3000000; echo END-{mark}")
    inside(image)
    (step,) = image.logs.fetch()[1:]
    assert step.text.startswith(f"BEGIN-{mark}\n") and step.text.endswith(f"3000000\nEND-{mark}\n")
    assert len(step.text) < 6_000_000 and step.left_out >= 0
    assert "not kept" in step.text or "left out" in step.text


# -- names and ids


def test_a_published_image_is_found_by_name_and_the_name_can_be_moved(stage, mark):
    one, two = SLIM().run_commands(f"echo one-{mark} > /who"), SLIM().run_commands(f"echo two-{mark} > /who")
    with pytest.raises(windlass.exception.InvalidError, match="built before"):
        one.publish("store-test")
    inside(one)
    inside(two)
    one.publish("store-test")
    two.publish("store-test:other")
    assert inside(windlass.Image.from_name("store-test"), "cat /who") == [f"one-{mark}"]
    assert inside(windlass.Image.from_name("main/store-test:other"), "cat /who") == [f"two-{mark}"]
    two.publish("store-test")
    named = windlass.Image.from_name("store-test")
    assert named.hydrate().object_id == two.object_id
    further = named.run_commands("cat /who > /copy").env({"X": "y"})
    assert inside(further, "cat /copy", "echo $X") == [f"two-{mark}", "y"]
    again = windlass.Image.from_id(two.object_id).run_commands("cat /who > /copy").env({"X": "y"})
    inside(again)
    assert again.object_id == further.object_id, "the parent is the image, however it was found"
    with pytest.raises(windlass.exception.NotFoundError, match="environment"):
        one.publish("dev/store-test")
    stage.cli("environment", "create", "dev", check=0)
    one.publish("dev/store-test")
    with pytest.raises(windlass.exception.NotFoundError):
        windlass.Image.from_name("store-test:other", environment_name="dev").hydrate()
    assert windlass.Image.from_name("store-test", environment_name="dev").hydrate().object_id == one.object_id

    stage.cli("image", "publish", one.object_id, "store-test:third", check=0)
    assert windlass.Image.from_name("store-test:third").hydrate().object_id == one.object_id
    (row,) = [row for row in stage.json("image", "list") if row["image_id"] == two.object_id]
    assert row["names"] == ["main/store-test:latest", "main/store-test:other"]


def test_what_exists_can_be_asked_for_in_a_container_and_mounted_with_local_files(stage, mark, tmp_path):
    image = SLIM().run_commands(f"echo {mark} > /who")
    inside(image)
    image.publish("store-inside")
    (tmp_path / "f").write_text("local")
    mounted = windlass.Image.from_name("store-inside").add_local_file(tmp_path / "f", "/srv/f")
    assert inside(mounted, "cat /who /srv/f") == [f"{mark}\nlocal"]
    with pytest.raises(windlass.exception.InvalidError, match="attached when a container starts"):
        mounted.publish("store-mounted")

    def find(name):
        import modal

        return modal.Image.from_name(name).hydrate().object_id

    app = windlass.App("test-image-inside", image=image)
    handle = app.function(serialized=True)(find)
    with app.run():
        assert handle.remote("store-inside") == image.object_id
        with pytest.raises(windlass.exception.NotFoundError):
            handle.remote("store-nothing")


def test_an_id_that_is_not_known_is_said_where_it_is_used(stage):
    unknown = windlass.Image.from_id("im-" + "0" * 22)
    for image in (unknown, unknown.run_commands("true")):
        with pytest.raises(windlass.exception.NotFoundError, match="no image im-0"):
            inside(image)


# -- list and info


def test_list_and_info_say_what_is_shared_and_who_uses_it(stage, program, mark):
    one = SLIM().run_commands(f"head -c 3000000 /dev/urandom > /big # {mark}").env({"MODE": "fast"}).workdir("/srv")
    two = one.run_commands(f"head -c 1000000 /dev/urandom > /more # {mark}")
    inside(two)
    rows = {row["image_id"]: row for row in stage.json("image", "list", "--all")}
    top = rows[two.object_id]
    assert 1_000_000 <= top["size"] < 2_000_000 and top["total"] > top["size"] + 3_000_000
    assert top["last_used"] and top["last_step"].startswith("head -c 1000000")
    app = windlass.App("test-image-user", image=two)
    handle = app.function(serialized=True)(sh)
    with app.run():
        handle.remote("true")

        def users() -> list[tuple[str, list[str]]]:
            found = stage.json("image", "info", two.object_id)["users"]
            return [(user["description"], user["functions"]) for user in found]

        until(lambda: users() == [("test-image-user", ["sh"])], what="the one user; the app before has ended")
        info = stage.json("image", "info", two.object_id)
    assert info["env"]["MODE"] == "fast" and info["workdir"] == "/srv" and info["python"].startswith("3.")
    assert [step["command"].split()[0] for step in info["steps"]] == ["debian_slim", "head", "ENV", "WORKDIR", "head"]
    shown = stage.cli("image", "info", two.object_id, check=0).out
    assert "MODE=fast" in shown and "shared with other images" in shown
    assert two.object_id in stage.cli("image", "list", check=0).out


# -- builds end right


def test_a_server_that_is_killed_in_the_middle_of_a_step_costs_time_and_nothing_else(stage, program, mark):
    path = program("slow.py", SLOW.format(mark=mark, seconds=4))
    with stage.background("run", path) as process:
        for line in process.stdout:
            if "begun-" in line and "echo" not in line:
                break
        stage.kill("server")
        out = process.communicate(timeout=120)[0]
        assert process.returncode == 0 and "MADE whole" in out, out
    until(lambda: not list((stage.home / "layers").glob(".draft-*")), 20, "no half-made layer")
    (row,) = [row for row in stage.json("image", "list", "--all") if mark in row["last_step"]]
    log = stage.json("image", "logs", row["image_id"], "--layer", "-1")[0]
    assert log["error"] is None and log["text"].endswith(f"ended-{mark}\n")
    assert "MADE whole" in stage.cli("run", path, check=0).out


def test_a_worker_that_is_killed_in_the_middle_of_a_step_leaves_no_draft_and_a_log_that_says_so(stage, program, mark):
    path = program("slow.py", SLOW.format(mark=mark, seconds=4))
    with stage.background("run", path) as process:
        for line in process.stdout:
            if "begun-" in line and "echo" not in line:
                break
        os.kill(stage.pid("worker"), signal.SIGKILL)
        out = process.communicate(timeout=120)[0]
        assert process.returncode == 0 and "MADE whole" in out, out
    until(lambda: not list((stage.home / "layers").glob(".draft-*")), 20, "no half-made layer")
    (row,) = [row for row in stage.json("image", "list", "--all") if mark in row["last_step"]]
    (log,) = stage.json("image", "logs", row["image_id"], "--layer", "-1")
    assert "worker was restarted" in log["text"] and log["text"].endswith(f"ended-{mark}\n")


# -- settings of a run


TIMED = """
import modal
image = modal.Image.debian_slim().run_commands("true")
image = modal.Image.from_name("{base}").run_commands("date +%s%N > /when # {mark}")
app = modal.App("test-cache-settings", image=image)

@app.function()
def f(): return open("/when").read().strip()

@app.local_entrypoint()
def main(): print("WHEN", f.remote())
"""


def test_the_environment_can_force_builds_or_leave_the_cache_aside(stage, program, mark):
    base = SLIM().run_commands(f"true # {mark}")
    inside(base)
    base.publish("store-cache")
    path = program("timed.py", TIMED.format(base="store-cache", mark=mark))

    def when(**environment):
        out = stage.cli("run", path, check=0, **environment).out
        return next(line for line in out.splitlines() if "WHEN" in line)

    first = when()
    assert when() == first
    ignored = when(MODAL_IGNORE_CACHE="1")
    assert ignored != first and when() == first, "the cache is as it was"
    forced = when(WINDLASS_FORCE_BUILD="1")
    assert forced != first and when() == forced, "the cache has the new one"
    older = when(WINDLASS_IMAGE_BUILDER_VERSION="2024.10")
    assert older != forced and when(MODAL_IMAGE_BUILDER_VERSION="2024.10") == older
    assert "image_builder_version" in stage.cli("run", path, check=1, MODAL_IMAGE_BUILDER_VERSION="1999.01").err

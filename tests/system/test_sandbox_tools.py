"""Snapshots of sandboxes, and sandboxes on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

import windlass
from stage import Stage, until
from windlass import exception


@pytest.fixture(scope="module")
def app(stage: Stage) -> windlass.App:
    stage.base()
    return windlass.App.lookup("test-sandbox-tools", create_if_missing=True)


@pytest.fixture(scope="module")
def shared(app: windlass.App) -> Iterator[windlass.Sandbox]:
    sandbox = windlass.Sandbox.create(app=app, timeout=600)
    yield sandbox
    sandbox.terminate(wait=True)


def test_a_snapshot_holds_what_was_written_and_not_what_was_removed(app, shared):
    shared.exec("sh", "-c", "echo kept > /kept; ln -s kept /link; mkdir -p /d/e; rm /etc/debian_version").wait()
    image = shared.snapshot_filesystem()
    shared.exec("sh", "-c", "echo later > /kept").wait()
    copy = windlass.Sandbox.create(app=app, image=image)
    said = copy.exec("sh", "-c", "cat /link; ls -d /d/e; test -e /etc/debian_version || echo removed").stdout.read()
    assert said == "kept\n/d/e\nremoved\n"
    again = copy.snapshot_filesystem(ttl=None)
    third = windlass.Sandbox.create("cat", "/kept", app=app, image=again)
    third.wait()
    assert third.stdout.read() == "kept\n"
    copy.terminate()


def test_local_files_are_in_snapshots_and_forks_as_the_sandbox_changed_them(app, tmp_path):
    for name in ("changed", "removed", "kept"):
        (tmp_path / name).write_text("ours\n")
    sandbox = windlass.Sandbox.create(app=app, image=windlass.Image.debian_slim().add_local_dir(tmp_path, "/repo"))
    sandbox.exec("sh", "-c", "cd /repo; echo new > changed; rm removed; echo new > made").wait()
    look = ("sh", "-c", "cd /repo; grep '' *")
    [fork] = sandbox.fork()
    image = sandbox.snapshot_filesystem()
    images = (image, windlass.Image.from_id(image.object_id))
    of_image, of_id = (windlass.Sandbox.create(app=app, image=one) for one in images)
    sandbox.terminate()
    of_fork = of_image.fork()[0]  # what was fitted once is found again
    for copy in (fork, of_image, of_id, of_fork):
        assert copy.exec(*look).stdout.read() == "changed:new\nkept:ours\nmade:new\n"
        copy.terminate()


def test_a_snapshot_is_an_image_like_any_other(app, shared, stage, program):
    shared.exec("sh", "-c", "echo for functions > /note").wait()
    image = shared.snapshot_filesystem()
    source = f"""
import modal
app = modal.App("test-snapshot-image", image=modal.Image.from_id("{image.object_id}"))

@app.function()
def f(): return open("/note").read()

@app.local_entrypoint()
def main(): print("SAID", f.remote())
"""
    ran = stage.cli("run", program("snapshot_image.py", source), check=0)
    assert "SAID for functions" in ran.out


def test_a_folder_becomes_an_image_of_its_own(app, shared):
    shared.exec("sh", "-c", "mkdir -p /part/in; echo x > /part/in/file").wait()
    image = shared.snapshot_directory("/part")
    assert image.is_hydrated
    with pytest.raises(exception.SandboxFilesystemNotFoundError):
        shared.snapshot_directory("/no/such")
    with pytest.raises(exception.InvalidError):
        shared.snapshot_directory("part")


def test_a_snapshot_whose_time_is_over_is_not_found(app, shared):
    image = shared.snapshot_filesystem(ttl=1)
    with pytest.raises(exception.InvalidError):
        shared.snapshot_filesystem(ttl=0)

    def gone() -> bool:
        try:
            windlass.Sandbox.create("true", app=app, image=image).wait()
        except exception.NotFoundError:
            return True
        return False

    until(gone, what="the end of the snapshot")


def test_forks_begin_with_the_files_of_their_sandbox_and_go_their_own_ways(app):
    sandbox = windlass.Sandbox.create(app=app, tags={"kind": "try"}, env={"OWN": "here"}, name="original")
    sandbox.exec("sh", "-c", "echo one > /state; rm /etc/debian_version").wait()
    forks = sandbox.fork(3)
    sandbox.exec("sh", "-c", "echo later > /state").wait()
    for number, fork in enumerate(forks):
        said = fork.exec("sh", "-c", f"cat /state; echo $OWN; echo {number} >> /state; ls /etc/debian_version").stdout
        assert said.read() == "one\nhere\n"
        assert fork.get_tags() == {"kind": "try"}
    assert [fork.filesystem.read_text("/state") for fork in forks] == ["one\n0\n", "one\n1\n", "one\n2\n"]
    (again,) = forks[1].fork()
    assert again.filesystem.read_text("/state") == "one\n1\n"
    sandbox.terminate(wait=True)
    assert again.exec("true").wait() == 0
    for fork in (*forks, again):
        fork.terminate(wait=True)
    with pytest.raises(exception.ConflictError):
        sandbox.fork()
    for wrong in (0, 101, True, "2"):
        with pytest.raises(exception.InvalidError):
            again.fork(wrong)


def test_the_command_of_a_sandbox_has_a_terminal_where_that_is_asked_for(app):
    line = "test -t 0 && test -t 1 && test -t 2 && tty; read word; echo got $word; echo oh >&2; read rest || echo over"
    sandbox = windlass.Sandbox.create("sh", "-c", line, app=app, pty=True)
    sandbox.stdin.write("hello\n")
    sandbox.stdin.drain()
    sandbox.stdin.write_eof()
    sandbox.stdin.drain()
    sandbox.wait()
    said = sandbox.stdout.read()
    assert "/dev/pts/0" in said and "got hello" in said and "oh" in said and "over" in said, said


def test_the_log_of_a_verbose_sandbox_tells_of_commands_and_files(app):
    sandbox = windlass.Sandbox.create("sleep", "60", app=app, verbose=True)
    sandbox.exec("echo", "two words").wait()
    sandbox.filesystem.write_text("x" * 10, "/note")

    def told() -> bool:
        said = "".join(entry.message for entry in sandbox.logs.tail(20))
        return "exec: echo 'two words'" in said and "file: write /note" in said

    until(told, what="the commands in the log")
    sandbox.terminate(wait=True)


def test_an_image_is_mounted_over_a_folder_and_taken_away_again(app, shared):
    shared.exec("sh", "-c", "mkdir -p /tools/bin /hidden; echo tool > /tools/bin/one; echo below > /hidden/file").wait()
    image = shared.snapshot_directory("/tools")
    shared.mount_image("/hidden", image)
    assert shared.exec("sh", "-c", "cat /hidden/bin/one; ls /hidden").stdout.read() == "tool\nbin\n"
    assert shared.exec("sh", "-c", "echo new > /hidden/bin/two && rm /hidden/bin/one").wait() == 0
    assert shared.filesystem.read_text("/hidden/bin/two") == "new\n"
    with pytest.raises(exception.ConflictError):
        shared.mount_image("/hidden", image)
    shared.unmount_image("/hidden")
    assert shared.exec("ls", "/hidden").stdout.read() == "file\n"
    shared.mount_image("/fresh/place", image)
    assert shared.exec("cat", "/fresh/place/bin/one").stdout.read() == "tool\n"
    with pytest.raises(exception.NotFoundError):
        shared.unmount_image("/hidden")
    for path in ("/", "relative", "/proc", "/proc/sys", "/sys/x", "/dev", "/a/../.."):
        with pytest.raises(exception.InvalidError):
            shared.mount_image(path, image)
    with pytest.raises(exception.InvalidError):
        shared.mount_image("/hidden", windlass.Image.debian_slim().run_commands("true"))
    shared.exec("ln", "-s", "/proc", "/way").wait()
    with pytest.raises(exception.Error):
        shared.mount_image("/way/sys", image)


def test_volumes_are_reloaded_when_asked(app):
    with windlass.Volume.ephemeral() as volume:
        sandbox = windlass.Sandbox.create(app=app, volumes={"/data": volume})
        assert sandbox.exec("test", "-e", "/data/new").wait() == 1
        with volume.batch_upload() as batch:
            import io

            batch.put_file(io.BytesIO(b"new"), "/new")
        sandbox.reload_volumes()
        assert sandbox.exec("cat", "/data/new").stdout.read() == "new"
        sandbox.terminate()


def test_the_sandboxes_of_an_app_are_listed(app, shared):
    assert shared.object_id in [one.object_id for one in app.sandboxes.list()]


def test_sandboxes_are_looked_after_from_the_command_line(stage, app):
    script = "echo out; echo err >&2; exec sleep 100"
    sandbox = windlass.Sandbox.create("sh", "-c", script, app=app, name="cli", tags={"a": "b"})
    assert sandbox.exec("true").wait() == 0
    rows = stage.json("sandbox", "list", "--app-id", str(app.app_id), "--tag", "a=b")
    assert [(row["sandbox_id"], row["name"], row["state"]) for row in rows] == [(sandbox.object_id, "cli", "running")]
    until(lambda: "err" in stage.cli("sandbox", "logs", sandbox.object_id).text)
    ran = stage.cli("sandbox", "exec", sandbox.object_id, "--", "sh", "-c", "cat; exit 5", stdin="typed")
    assert ran.code == 5 and ran.out == "typed"
    stage.cli("sandbox", "terminate", sandbox.object_id, "--yes", check=0)
    sandbox.wait(raise_on_termination=False)
    rows = stage.json("sandbox", "list", "--app-id", str(app.app_id), "--tag", "a=b")
    assert rows == []
    rows = json.loads(stage.cli("sandbox", "list", "--all", "--app-id", str(app.app_id), "--json").out)
    assert sandbox.object_id in [row["sandbox_id"] for row in rows]
    assert stage.cli("sandbox", "exec", sandbox.object_id, "true").code == 1
    assert stage.cli("sandbox", "terminate", "nonsense", "--yes").code != 0


def test_a_shell_runs_a_command_in_a_new_sandbox_or_in_one_that_runs(stage, shared):
    ran = stage.cli("shell", "--cmd", "echo $((6 * 7)); cat", stdin="through", check=0)
    assert ran.out.endswith("42\nthrough")
    ran = stage.cli("shell", shared.object_id, "--cmd", "hostname", check=0)
    assert ran.out.startswith("ta-")
    assert stage.cli("shell", shared.object_id, "--memory", "128").code == 2

"""Buckets: a real program mounts them in real containers, from a server that speaks S3 on the machine's loopback."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

import ports
import windlass
from stage import until

boto3 = pytest.importorskip("boto3")

KEY, SECRET = "key-for-tests", "a-secret-that-nobody-may-see"
BUCKET = "test-bucket"
REFUSED = [
    "mv small.txt renamed.txt", "echo x >> small.txt", "echo x >> new.txt", "ln small.txt linked.txt",
    "dd if=/dev/zero of=small.txt conv=notrunc seek=3 bs=1 count=1 status=none",
]  # fmt: skip
"""Of programs, in a bucket with small.txt."""
LOG = "(/bin/echo one; echo two; /bin/echo three) > log.txt"
"""Several processes have it open, and the first to end does not finish it."""


def work(steps):
    """Do what each step says, and return what it saw."""
    import os
    import pathlib
    import shutil
    import subprocess

    seen = []
    for step, *arguments in steps:
        try:
            path = pathlib.Path(arguments[0])
            if step == "write":
                seen.append(path.write_bytes(arguments[1]))
            elif step == "read":
                seen.append(path.read_bytes())
            elif step == "list":
                seen.append(sorted(os.listdir(path)))
            elif step == "open":
                with open(path, arguments[1]) as file:
                    file.seek(arguments[2])
                    file.write(b"x")
                seen.append("written")
            elif step == "mkdir":
                seen.append(path.mkdir())
            elif step == "rename":
                seen.append(os.rename(path, arguments[1]))
            elif step == "replace":
                seen.append(path.replace(arguments[1]))
            elif step == "move":
                seen.append(shutil.move(path, arguments[1]))
            elif step == "cp":
                seen.append(subprocess.run(["cp", "-a", path, arguments[1]]).returncode)
            elif step == "sh":
                ran = subprocess.run(["bash", "-c", arguments[0]], cwd="/b", capture_output=True, text=True)
                seen.append(ran.stderr.strip().rpartition(": ")[2])
            elif step == "unlink":
                seen.append(path.unlink())
            elif step == "environ":
                seen.append({name: value for name, value in os.environ.items() if name.startswith(("AWS", "RCLONE"))})
        except OSError as exc:
            seen.append(type(exc).__name__)
    return seen


@pytest.fixture(scope="module")
def endpoint():
    with ports.reserved() as port:
        yield from _endpoint(port)


def _endpoint(port):
    line = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"

    def answers():
        with contextlib.suppress(OSError):
            urllib.request.build_opener(urllib.request.ProxyHandler({})).open(address, timeout=5)
            return True

    try:
        until(answers, 30, "the server speaks")
        yield address
    finally:
        server.terminate()
        server.wait()


@pytest.fixture(scope="module")
def bucket(endpoint):
    """Its contents, seen past the platform."""
    from botocore.config import Config

    client = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=KEY, aws_secret_access_key=SECRET,
        verify=False, config=Config(proxies={}),
    )  # fmt: skip
    client.create_bucket(Bucket=BUCKET)
    # Without versions moto says that an upload has the version "null", and then knows of none such; S3 does not.
    client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    return client


@pytest.fixture
def call(stage, endpoint, bucket):
    """Run steps in a container that mounts the bucket at /b."""
    def run(*steps, name=BUCKET, **options):
        app = windlass.App("test-buckets")
        mount = mount_of(endpoint, name, **options)
        function = app.function(volumes={"/b": mount}, serialized=True)(work)
        with app.run():
            return function.remote(list(steps))

    return run


def mount_of(endpoint, name=BUCKET, **options):
    secret = windlass.Secret.from_dict({"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET})
    return windlass.CloudBucketMount(name, endpoint, secret=secret, **options)


def content(bucket, key):
    return bucket.get_object(Bucket=BUCKET, Key=key)["Body"].read()


def mounts_of_buckets(stage):
    """Of all processes of this machine: what still mounts a bucket, or is about to."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if words[0] == b"rclone" and BUCKET.encode() in b" ".join(words):
                found.append(folder)
    return found


def test_files_are_objects_both_ways_and_what_objects_cannot_do_is_refused(stage, call, bucket):
    large = os.urandom(20_000_000)  # more than one piece of an upload
    bucket.put_object(Bucket=BUCKET, Key="there/before.txt", Body=b"hello")
    seen = call(
        ("list", "/b"),
        ("read", "/b/there/before.txt"),
        ("write", "/b/small.txt", b"small"),
        ("write", "/b/large.bin", large),
        ("write", "/b/empty", b""),
        ("read", "/b/small.txt"),
        ("write", "/b/there/before.txt", b"again"),
        ("open", "/b/small.txt", "r+b", 0),
        ("open", "/b/small.txt", "ab", 0),
        ("open", "/b/gap", "wb", 10),
        ("write", "/b/no/parent.txt", b""),
        ("mkdir", "/b/folder"),
        ("write", "/b/folder/file.txt", b"in it"),
        ("unlink", "/b/empty"),
        ("list", "/b/folder"),
        ("rename", "/b/small.txt", "/b/renamed.txt"),
        ("replace", "/b/folder", "/b/other"),
        ("write", "/tmp/one", b"own"),
        ("rename", "/tmp/one", "/tmp/other"),
        ("move", "/b/folder/file.txt", "/b/folder/moved.txt"),
        ("list", "/b/folder"),
        ("cp", "/b/folder/moved.txt", "/tmp/out"),
        ("cp", "/b/folder/moved.txt", "/b/folder/copy.txt"),
        ("environ", "/"),
        *(("sh", script) for script in [*REFUSED, LOG]),
    )
    assert seen[:7] == [["there"], b"hello", 5, len(large), 0, b"small", 5]
    assert seen[7:9] == ["PermissionError", "PermissionError"], seen
    assert seen[9] == "PermissionError", "it leaves a gap"
    assert seen[10] == "FileNotFoundError"
    assert seen[11:15] == [None, 5, None, ["file.txt"]]
    assert seen[15:17] == ["PermissionError", "PermissionError"], "a bucket renames nothing"
    assert seen[17:24] == [3, None, "/b/folder/moved.txt", ["moved.txt"], 0, 0, {}], "and its keys stay outside"
    assert seen[24:] == ["Operation not permitted"] * len(REFUSED) + [""], "whatever program asks"
    assert content(bucket, "log.txt") == b"one\ntwo\nthree\n"
    assert content(bucket, "large.bin") == large
    assert content(bucket, "small.txt") == b"small"
    assert content(bucket, "there/before.txt") == b"again"
    assert content(bucket, "folder/moved.txt") == content(bucket, "folder/copy.txt") == b"in it"
    until(lambda: not mounts_of_buckets(stage), 20, "nothing mounts it any more")


def test_a_sandbox_is_refused_the_same_and_may_do_the_rest(stage, endpoint, bucket):
    bucket.put_object(Bucket=BUCKET, Key="small.txt", Body=b"small")
    app = windlass.App.lookup("test-buckets-sandbox", create_if_missing=True)
    box = windlass.Sandbox.create("sleep", "100", app=app, volumes={"/b": mount_of(endpoint)}, workdir="/b")
    try:
        for script in REFUSED:
            ran = box.exec("bash", "-c", script)
            assert ran.wait() != 0 and "Operation not permitted" in ran.stderr.read(), script
        rest = "cat small.txt; echo new > small.txt; cp -p small.txt box.txt; rm small.txt; " + LOG
        done = box.exec("bash", "-ec", rest)
        assert (done.wait(), done.stdout.read(), done.stderr.read()) == (0, "small", "")
    finally:
        box.terminate(wait=True)
    assert content(bucket, "box.txt") == b"new\n"
    assert content(bucket, "log.txt") == b"one\ntwo\nthree\n"


def test_a_prefix_shows_a_part_and_read_only_means_it(stage, call, bucket):
    bucket.put_object(Bucket=BUCKET, Key="part/one.txt", Body=b"1")
    seen = call(
        ("list", "/b"), ("read", "/b/one.txt"), ("write", "/b/two.txt", b"2"), key_prefix="part/", read_only=True
    )
    assert seen == [["one.txt"], b"1", "OSError"]
    assert call(("list", "/b"), ("write", "/b/new.txt", b"2"), key_prefix="not-yet/") == [[], 1]
    assert content(bucket, "not-yet/new.txt") == b"2"


def test_a_bucket_that_is_not_there_ends_the_start_with_its_name(stage, call):
    with pytest.raises(windlass.exception.Error, match="bucket 'no-such-bucket'"):
        call(("list", "/b"), name="no-such-bucket")


def test_the_keys_are_in_no_command_line_log_or_file(stage, endpoint, bucket):
    app = windlass.App("test-buckets")
    function = app.function(volumes={"/b": mount_of(endpoint)}, serialized=True, min_containers=1)(work)
    with app.run():
        function.remote([("list", "/b")])
        assert mounts_of_buckets(stage), "one mounts it now"
        lines = [path for path in Path("/proc").glob("[0-9]*/cmdline") if SECRET.encode() in _read(path)]
        found = subprocess.run(["grep", "-rlaF", SECRET, str(stage.home)], capture_output=True, text=True).stdout
        assert not lines and not found
        stage.kill("worker")
        assert function.remote([("write", "/b/after", b"!")]) == [1], "mounts outlive the worker"
    assert content(bucket, "after") == b"!"
    until(lambda: not mounts_of_buckets(stage), 20, "the next worker clears what the first one mounted")


def _read(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""

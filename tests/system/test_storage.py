"""What the platform keeps on its disk: garbage that goes, quotas that hold, and what is told of both."""

from __future__ import annotations

import contextlib
import os
import time

import pytest

import windlass
from stage import until


@pytest.fixture
def volume(stage):
    name = f"storage-{os.urandom(4).hex()}"
    yield windlass.Volume.from_name(name, create_if_missing=True).hydrate(), name
    stage.cli("volume", "delete", name, "--yes", "--allow-missing", check=0)


def _aged(folder) -> None:
    """Let an hour pass for files."""
    for path in folder.glob("??/*"):
        with contextlib.suppress(FileNotFoundError):  # the platform clears up, too
            os.utime(path, (time.time() - 3600, time.time() - 3600))


def _settled(folder) -> bool:
    """Whether nothing comes any more of what was on its way when the sender died."""
    before = len(list(folder.glob("??/*")))
    time.sleep(0.5)
    return len(list(folder.glob("??/*"))) == before


def test_an_upload_whose_program_was_killed_is_swept_and_what_is_in_use_stays(stage, volume, tmp_path):
    _, name = volume
    (tmp_path / "kept").write_bytes(os.urandom(300_000))
    stage.cli("volume", "put", name, str(tmp_path / "kept"), "/kept", check=0)
    big = tmp_path / "big"
    big.mkdir()
    for n in range(400):
        (big / f"f{n}").write_bytes(os.urandom(200_000))
    uploads = stage.home / "uploads"
    stage.json("storage", "gc", "--older-than", "5m")  # what other tests left: from here on all of it is ours
    with stage.background("volume", "put", name, str(big), "/big"):  # killed at the end of the block
        until(lambda: list(uploads.glob("??/*")), what="a piece that has arrived")
    assert list(uploads.glob("??/*")), "it was faster than its killer"
    until(lambda: _settled(uploads), 10, "an end of what comes")

    young = stage.json("storage", "gc", "--older-than", "5m")
    assert young["garbage"][0] == {"what": "uploads", "count": 0, "size": 0}
    _aged(uploads)
    _aged(stage.home / "blobs")  # of the functions and calls of this session: all of them are named
    told = stage.json("storage", "gc", "--older-than", "5m", "--dry-run")
    assert told["garbage"][0]["count"] > 0 and list(uploads.glob("??/*"))
    done = stage.json("storage", "gc", "--older-than", "5m")
    assert done["garbage"][0] == told["garbage"][0] and not list(uploads.glob("??/*"))

    assert [entry["filename"] for entry in stage.json("volume", "ls", name)] == ["kept"]
    stage.cli("volume", "put", name, str(big), "/big", check=0)
    assert len(stage.json("volume", "ls", name, "/big")) == 400
    refused = stage.cli("storage", "gc", "--older-than", "1s")
    assert refused.code == 1 and "1m" in refused.text


def fill(volume_id, steps):
    """Write, remove, commit as told; what each commit said."""
    import os
    import pathlib
    import time

    import windlass

    volume, said, handles = windlass.Volume.from_id(volume_id), [], []
    for step, *arguments in steps:
        if step == "write":
            pathlib.Path("/data", arguments[0]).write_bytes(b"x" * arguments[1])
        elif step == "remove":
            os.unlink(f"/data/{arguments[0]}")
        elif step == "open":  # the mount is busy from now on
            handles.append(open(f"/data/{arguments[0]}", "a"))
        elif step == "until":
            deadline = time.monotonic() + 40
            while time.monotonic() < deadline and not os.path.exists(arguments[0]):
                time.sleep(0.1)
        else:
            try:
                getattr(volume, step)()
                said.append("")
            except Exception as exc:
                said.append(f"{type(exc).__name__}: {exc} {getattr(exc, 'hint', '')}")
    return said


def _names(volume) -> list[str]:
    return sorted(entry.path for entry in volume.iterdir("/"))


@pytest.mark.parametrize("busy", [False, True])
def test_a_volume_that_is_full_refuses_a_commit_whole_and_takes_the_next_one_that_fits(stage, volume, busy):
    data, name = volume
    stage.cli("volume", "quota", name, "1MB", check=0)
    app = windlass.App("test-quotas")
    work = app.function(serialized=True, volumes={"/data": data}, single_use_containers=True)(fill)
    with app.run():
        said = work.remote(
            data.object_id,
            [
                *([("open", "log")] if busy else []),
                ("write", "fits", 600_000), ("commit",),
                ("write", "small", 1), ("write", "much", 70_000_000), ("commit",), ("reload",),
                ("remove", "much"), ("commit",),
            ],
        )  # fmt: skip
    assert said[0] == said[3] == ""
    assert said[1].startswith("ResourceExhaustedError"), said
    assert "600,000 of 1,000,000 bytes are used" in said[1] and f"windlass volume rm {name}" in said[1]
    assert "is full" in said[2], "a reload commits first"
    assert _names(data) == ["fits", *(["log"] if busy else []), "small"]
    told = stage.json("volume", "quota", name)
    assert (told["quota"], told["own"], told["used"]) == (1_000_000, True, 600_001)


def test_background_commits_say_in_the_log_that_there_is_no_room_and_go_on_when_there_is(stage, volume, tmp_path):
    data, name = volume
    (tmp_path / "old").write_bytes(b"x" * 700_000)
    stage.cli("volume", "put", name, str(tmp_path / "old"), "/old", check=0)
    stage.cli("volume", "quota", name, "1MB", check=0)
    app = windlass.App("test-full-in-the-background")
    work = app.function(serialized=True, volumes={"/data": data}, single_use_containers=True)(fill)
    with app.run():
        work.spawn(data.object_id, [("write", "new", 600_000), ("until", "/tmp/never")])

        def told() -> str:
            lines = stage.cli("app", "logs", app.app_id).text
            return lines if "not committed" in lines else ""

        lines = until(told, 60, "the container's log")
        assert f"volume {name} is full: 700,000 of 1,000,000 bytes are used" in lines
        assert f"windlass volume quota {name} SIZE" in lines
        assert _names(data) == ["old"]
        stage.cli("volume", "rm", name, "/old", check=0)
        until(lambda: _names(data) == ["new"], 60, "the commit for which there is room now")
        assert stage.cli("app", "logs", app.app_id).text.count("is full") == 1, "said once"


def test_a_put_that_does_not_fit_leaves_the_volume_as_it_was(stage, volume, tmp_path):
    _, name = volume
    stage.cli("volume", "quota", name, "1MB", check=0)
    for n in range(3):
        (tmp_path / f"f{n}").write_bytes(os.urandom(400_000))
    stage.cli("volume", "put", name, str(tmp_path / "f0"), "/f0", check=0)
    stage.cli("volume", "put", name, str(tmp_path / "f1"), "/f1", check=0)
    refused = stage.cli("volume", "put", name, str(tmp_path / "f2"), "/f2")
    assert refused.code == 1 and "is full: 800,000 of 1,000,000" in refused.text
    refused = stage.cli("volume", "put", name, str(tmp_path), "/all")
    assert refused.code == 1 and "do not fit" in refused.text
    assert [entry["filename"] for entry in stage.json("volume", "ls", name)] == ["f0", "f1"]
    stage.cli("volume", "put", "--force", name, str(tmp_path / "f2"), "/f1", check=0)
    stage.cli("volume", "rm", name, "/f0", check=0)
    stage.cli("volume", "put", name, str(tmp_path / "f0"), "/f3", check=0)
    assert "1.0 MB" in stage.cli("volume", "quota", name, check=0).out
    assert "no limit" in stage.cli("volume", "quota", name, "none", check=0).out
    assert stage.cli("volume", "quota", name, "much").code == 2


def test_usage_tells_what_takes_the_room_and_what_of_it_can_go(stage, volume, tmp_path):
    _, name = volume
    (tmp_path / "file").write_bytes(os.urandom(1_000_000))
    # other tests' volumes may stand in this home
    before = next(k["size"] for k in stage.json("storage", "usage")["kinds"] if k["what"] == "volumes")
    stage.cli("volume", "put", name, str(tmp_path / "file"), "/a", check=0)
    stage.cli("volume", "put", "--force", name, str(tmp_path / "file"), "/b", check=0)
    stage.cli("volume", "fork", name, f"{name}-fork", check=0)
    stage.cli("volume", "rm", name, "/b", check=0)
    shared = windlass.Dict.from_name(name, create_if_missing=True)
    shared["k"] = "v" * 3_000_000
    try:
        found = stage.json("storage", "usage")
        kinds = {one["what"]: one for one in found["kinds"]}
        assert kinds["images"]["size"] > 50_000_000 and kinds["images"]["command"] == "windlass image prune"
        assert kinds["blobs"]["size"] >= 3_000_000 and kinds["dicts"]["size"] >= 3_000_000
        assert kinds["database"]["size"] > 100_000 and kinds["logs"]["size"] > 0
        one, fork = (next(v for v in found["volumes"] if v["name"] == n) for n in (name, f"{name}-fork"))
        assert (one["newest"], one["versions"], one["quota"]) == (1_000_000, 3, 0)
        assert one["size"] > 2_000_000 and one["shared"] > 2_000_000, "the removed file is still in a version"
        assert fork["newest"] == 2_000_000 and fork["shared"] == fork["size"]
        assert kinds["volumes"]["size"] - before < one["size"] + fork["size"], "what they share is counted once"
        assert next(d for d in found["dicts"] if d["name"] == name)["held"] == 1
        assert 0 < found["free"] < found["disk"] and found["quota"] == 0 and found["counted"] > 6_000_000
        assert {"volumes", "layers of no volume"} <= kinds.keys() and kinds["volumes"]["freeable"] == 0
        shown = stage.cli("storage", "usage", check=0).out
        assert name in shown and "windlass image prune" in shown and "without a quota" in shown
    finally:
        windlass.Dict.objects.delete(name)
        stage.cli("volume", "delete", f"{name}-fork", "--yes", check=0)

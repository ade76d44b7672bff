"""Handles of volumes: what is refused before anybody is asked."""

from __future__ import annotations

import asyncio
import io
import warnings

import pytest

import windlass
from windlass import exception, volume
from windlass.client import uploads


def test_names_versions_and_ids_are_checked_at_once():
    for bad in ("", "a/b", "x" * 65, 5):
        with pytest.raises(exception.InvalidError):
            windlass.Volume.from_name(bad)  # type: ignore[arg-type]
    for version in (0, 3, "1", True):
        with pytest.raises(exception.InvalidError):
            windlass.Volume.from_name("data", version=version)  # type: ignore[arg-type]
    with pytest.raises(exception.InvalidError):
        windlass.Volume.from_id("im-123")
    assert windlass.Volume.from_name("data").name == "data"


def _work() -> None:
    pass


def test_a_volume_is_mounted_once_and_at_a_path_of_its_own():
    app, vol = windlass.App(), windlass.Volume.from_name("data")
    for mounted in (
        {"/a": vol, "/b": vol},
        {"/a": vol, "/b": vol.with_mount_options(read_only=True)},
        {"/a": vol, "/a/": windlass.Volume.from_name("other")},
        {"a": vol},
        {"/": vol},
        {"/a/../..": vol},
        {"/proc/x": vol},
        {"/dev/": vol},
        {"//__windlass/lib": vol},
        {"/" + "é" * 128: vol},
        {"/x\0": vol},
        {"/a": "data"},
    ):
        with pytest.raises(exception.InvalidError):
            app.function(volumes=mounted, serialized=True)(_work)
    app.function(volumes={"/a": vol, "/b/": windlass.Volume.from_name("other")}, serialized=True)(_work)


def test_options_of_a_mount_stack_and_do_not_mix_with_the_older_form():
    vol = windlass.Volume.from_name("data")
    part = vol.with_mount_options(sub_path="/a/b/").with_mount_options(read_only=True)
    assert (part._sub_path, part._read_only, part.name) == ("a/b", True, "data")
    assert part.with_mount_options(read_only=False, sub_path="/")._sub_path == ""
    assert vol._sub_path is None and vol._read_only is None
    with pytest.raises(exception.InvalidError, match="leads out"):
        vol.with_mount_options(sub_path="a/../../b")
    with pytest.raises(exception.InvalidError, match="3 is no path"):
        vol.with_mount_options(sub_path=3)  # type: ignore[arg-type]
    with pytest.raises(exception.InvalidError):
        vol.read_only().with_mount_options(sub_path="x")
    with pytest.raises(exception.InvalidError):
        part.read_only()


def test_the_read_only_form_refuses_to_write_and_others_outside_to_commit():
    fixed = windlass.Volume.from_name("data").read_only()
    for write in (lambda: fixed.remove_file("x"), lambda: fixed.copy_files(["x"], "y"), fixed.batch_upload):
        with pytest.raises(exception.InvalidError, match="read-only"):
            write()
    for verb in (fixed.commit, fixed.reload):
        with pytest.raises(RuntimeError, match="only in a container"):
            verb()


def test_a_batch_refuses_what_is_no_file_and_what_leads_out():
    batch = uploads.Upload(force=False)
    for remote in ("folder/", "/"):
        with pytest.raises(ValueError):
            batch.put_file(io.BytesIO(), remote)
    for remote in ("../x", "a/../../x", "zero\0"):
        with pytest.raises(exception.InvalidError):
            batch.put_file(io.BytesIO(), remote)
    with pytest.raises(exception.InvalidError):
        batch.put_file(5, "x")  # type: ignore[arg-type]
    with pytest.raises(exception.InvalidError, match="not text"):
        batch.put_file(io.StringIO("text"), "x")  # type: ignore[arg-type]
    for mode in (-1, 0o10000, "644"):
        with pytest.raises(exception.InvalidError, match="mode"):
            batch.put_file(io.BytesIO(), "x", mode=mode)  # type: ignore[arg-type]


def test_a_batch_that_was_sent_takes_no_more():
    async def left(volume):
        async with uploads.upload(volume, False) as batch:
            pass
        return batch

    class Empty:
        async def _ready(self):
            return "vo-0123456789012345678901"

    async def collected():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(uploads.Upload, "send", lambda self, volume_id: asyncio.sleep(0))
            return await left(Empty())

    batch = asyncio.run(collected())
    for late in (lambda: batch.put_file(io.BytesIO(), "x"), lambda: batch.put_directory(".", "x")):
        with pytest.raises(exception.InvalidError, match="has ended"):
            late()


def test_lists_refuse_what_is_no_time():
    with pytest.raises(exception.InvalidError, match="must be a time"):
        windlass.Volume.objects.list(created_before="yesterday")


def test_entries_compare_by_what_they_say():
    one = volume.FileEntry("a", volume.FileEntryType.FILE, 1, 2)
    assert one == volume.FileEntry("a", volume.FileEntryType.FILE, 1, 2)
    assert one != volume.FileEntry("a", volume.FileEntryType.DIRECTORY, 1, 2)


def test_a_local_call_warns_of_what_it_has_not_mounted_and_others_do_not() -> None:
    vol, other = windlass.Volume.from_name("a"), windlass.Volume.from_name("b")
    plain, app = windlass.App("plain"), windlass.App("mounted", volumes={"/of-app": other})

    def work() -> int:
        return 1

    class Job:
        @windlass.method()
        def work(self) -> int:
            return 2

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bare = plain.function(serialized=True)(work)
        assert bare.local() == 1
    with pytest.warns(UserWarning, match="nothing is mounted at /data, /of-app"):
        assert app.function(serialized=True, volumes={"/data": vol})(work).local() == 1
    with pytest.warns(UserWarning, match="/of-app"):
        assert app.function(serialized=True, name="other")(work).local() == 1
    with pytest.warns(UserWarning, match="at /other$"):
        assert bare.with_options(volumes={"/other": vol}).local() == 1
    with pytest.warns(UserWarning, match="at /data$"):
        assert plain.cls(serialized=True, volumes={"/data": vol})(Job)().work.local() == 2

"""Images from a real registry on this machine: pulled, unpacked, built upon; and whatever may be wrong with one."""

from __future__ import annotations

import asyncio
import gzip
import os
import stat
import subprocess
import tarfile
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import oci
import registries
import windlass
from windlass import exception
from windlass.worker import outside
from windlass.worker.images import cache, registry, settings, skopeo

LOGIN = {"REGISTRY_USERNAME": registries.USER, "REGISTRY_PASSWORD": registries.PASSWORD}
CAPABILITY = b"\x01\x00\x00\x02\x00\x04\x00\x00" + bytes(12)


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[registries.Registry]:
    with registries.running(tmp_path_factory.mktemp("public")) as running:
        yield running


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Iterator[registries.Registry]:
    with registries.running(tmp_path_factory.mktemp("private"), private=True) as running:
        yield running


def named(where: registries.Registry, name: str) -> str:
    return f"{where.host}/{name}"


def unique() -> bytes:
    """A layer that no other image has."""
    return oci.archive(oci.entry("srv"), oci.entry("srv/unique", uuid.uuid4().bytes))


# -- on the platform ----------------------------------------------------------------------------------------


def built(image: windlass.Image) -> str:
    """Build ``image`` and give its id. Nothing runs in it: it may have no Python."""
    return str(image.build().object_id)


def layers(stage: Any) -> set[str]:
    """Old ones may go at any time, and what another test began to remove."""
    return {path.name for path in (stage.home / "layers").iterdir()}


def stack() -> list[bytes]:
    """Three layers in which everything happens that layers can do."""
    attributes = {"SCHILY.xattr.user.colour": "blue", "SCHILY.xattr.security.capability": CAPABILITY.decode("latin-1")}
    return [
        registries.busybox(),
        oci.archive(
            oci.entry("data"), oci.entry("data/kept", b"one"), oci.entry("data/gone", b"x"),
            oci.entry("data/replaced", b"old"), oci.entry("full"), oci.entry("full/old", b"x"), oci.entry("full/deep"),
            oci.entry("full/deep/old", b"x"), oci.entry("tree"), oci.entry("tree/leaf", b"x"),
            oci.entry("suid", b"x", mode=0o4755), oci.entry("theirs", b"x", uid=1000, gid=65534, mode=0o640),
            oci.entry("marked", b"x", pax_headers=attributes), oci.entry("fifo", type=tarfile.FIFOTYPE),
        ),
        oci.archive(
            oci.entry("data/.wh.gone", b""), oci.entry("data/replaced", b"new"), oci.entry("full"),
            oci.entry("full/.wh..wh..opq", b""), oci.entry("full/new", b"x"), oci.entry(".wh.tree", b""),
            oci.entry("data/twin", b"twin"), oci.link("data/other", "data/twin", hard=True), oci.link("way", "data"),
        ),
        unique(),
    ]  # fmt: skip


CHECKS = """
set -e
test "$(cat /data/kept)" = one; test ! -e /data/gone; test "$(cat /data/replaced)" = new
test "$(ls /full)" = new; test ! -e /tree; test "$(cat /way/twin)" = twin
test "$(stat -c %h /data/twin)" = 2; test "$(stat -c %i /data/twin)" = "$(stat -c %i /data/other)"
test "$(stat -c %a:%u:%g /suid)" = 4755:0:0; test "$(stat -c %a:%u:%g /theirs)" = 640:1000:65534
test "$(stat -c %Y /data/kept)" = 1600000000; test -p /fifo; test "$(stat -c %a /tmp)" = 1777
test "$COLOUR" = green; test "$(readlink -f .)" = /data; touch /data/kept /full/more; test ! -e /full/old
"""


def test_an_image_of_many_layers_is_what_its_layers_say_and_steps_run_on_it(stage, public):
    name, held = named(public, "team/many:1"), stack()
    digest = public.push("team/many:1", held, config={"Env": ["COLOUR=green"], "WorkingDir": "/data", "Cmd": ["sh"]})
    image = windlass.Image.from_registry(name).run_commands(CHECKS)
    identity = built(image)
    names = [oci.layer(layer) for layer in held]
    base = cache.Layers(stage.home).read(identity)
    assert base["layers"] == [*names, identity] and base["env"] == {"COLOUR": "green"} and base["digest"] == digest
    files = stage.home / "layers" / names[1] / "files"
    assert os.getxattr(files / "marked", "user.colour") == b"blue"
    assert os.getxattr(files / "marked", "security.capability")[4:8] == CAPABILITY[4:8]
    owners = {path.lstat().st_uid for path in (stage.home / "layers" / names[0]).rglob("files/*")}
    assert owners == {(files / "suid").stat().st_uid} and 0 not in owners


def test_a_layer_is_unpacked_once_for_all_images_that_have_it(stage, public):
    shared, first, second = unique(), unique(), unique()
    public.push("team/first:1", [shared, first])
    public.push("team/second:1", [shared, second])
    built(windlass.Image.from_registry(named(public, "team/first:1")))
    folder = stage.home / "layers" / oci.layer(shared)
    before = folder.stat().st_ino
    built(windlass.Image.from_registry(named(public, "team/second:1")))
    assert folder.stat().st_ino == before


def test_a_tag_means_what_it_meant_at_the_first_build_until_a_build_is_forced(stage, public):
    name = named(public, "team/moving:1")
    public.push("team/moving:1", [unique()])
    first = built(windlass.Image.from_registry(name))
    moved = public.push("team/moving:1", [unique()])
    assert built(windlass.Image.from_registry(name)) == first
    forced = built(windlass.Image.from_registry(name, force_build=True))
    assert forced != first and cache.Layers(stage.home).read(forced)["digest"] == moved
    assert built(windlass.Image.from_registry(name)) == forced


def test_a_digest_names_an_image(stage, public):
    digest = public.push("team/exact:1", [unique()])
    public.push("team/exact:1", [unique()])
    identity = built(windlass.Image.from_registry(named(public, f"team/exact@{digest}")))
    assert cache.Layers(stage.home).read(identity)["digest"] == digest


def test_a_private_image_needs_its_secret_and_leaves_none_of_it_anywhere(stage, private, capfd):
    name = named(private, "team/secret:1")
    private.push("team/secret:1", [registries.busybox(), unique()])
    with pytest.raises(exception.ImageBuildError, match="asks for credentials"):
        built(windlass.Image.from_registry(name))
    wrong = windlass.Secret.from_dict({**LOGIN, "REGISTRY_PASSWORD": "wr0ng-" + registries.PASSWORD})
    with pytest.raises(exception.ImageBuildError, match="credentials are wrong or do not suffice") as caught:
        built(windlass.Image.from_registry(name, wrong))
    seen = Watch()
    with seen, windlass.enable_output():
        image = windlass.Image.from_registry(name, windlass.Secret.from_dict(LOGIN)).run_commands("env; ls -lR /srv")
        built(image)
    assert any("skopeo" in line for line in seen.lines), "no command line of skopeo was seen"
    out, err = capfd.readouterr()
    said = [*seen.lines, out, err, str(caught.value)]
    assert not [text for text in said if registries.PASSWORD in text]
    holding = subprocess.run(
        ["grep", "-rlaF", "--devices=skip", registries.PASSWORD, stage.home / "layers", stage.home / "log"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert holding.stdout == ""


class Watch:
    """All command lines of this machine while the block lasts."""

    def __init__(self) -> None:
        self.lines: set[str] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._over.wait(0.02):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self.lines.add(path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
                except OSError:
                    continue

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def test_a_step_does_not_reach_what_listens_on_this_machines_loopback(stage, public):
    if windlass_uplink(stage) == "none":
        pytest.skip("this machine gives containers no network of their own")
    name = named(public, "team/net:1")
    public.push("team/net:1", [registries.busybox(), unique()])  # the pull itself gets there
    refused = f"if busybox wget -T 3 -q -O /x http://127.0.0.1:{public.host.partition(':')[2]}/v2/; then exit 3; fi"
    built(windlass.Image.from_registry(name).run_commands(refused))


def windlass_uplink(stage: Any) -> str:
    from windlass.worker import node

    place = node.load(stage.home)
    return "" if place is None else place.uplink.kind


def test_what_is_wrong_with_a_name_or_a_registry_is_said(stage, public):
    known = layers(stage)
    public.push("team/arm:1", [unique()], architecture="arm64" if skopeo.ARCHITECTURE != "arm64" else "amd64")
    for tag, match in {
        named(public, "team/none:1"): "does not exist at its registry",
        named(public, "team/arm:1"): "has no variant for linux/",
        named(public, "team/arm@sha256:" + "0" * 64): "does not exist at its registry",
        "localhost:1/team/app:1": "cannot be reached",
        "Not/An/Image": "does not name an image",
    }.items():
        with pytest.raises(exception.ImageBuildError, match=match):
            built(windlass.Image.from_registry(tag))
    assert layers(stage) <= known


def test_an_image_with_a_hostile_layer_is_refused_and_leaves_nothing(stage, public, tmp_path):
    known, goal = layers(stage), stage.home / f"escaped-{uuid.uuid4().hex}"
    climbing = "../" * 12 + str(goal)[1:]
    for number, members in enumerate([
        [oci.entry(climbing, b"x")],
        [oci.entry(str(goal), b"x")],
        [oci.link("l", str(stage.home)), oci.entry(f"l/{goal.name}", b"x")],
        [oci.link("h", "../../meta.json", hard=True)],
    ]):  # fmt: skip
        good = unique()
        public.push(f"team/hostile:{number}", [good, oci.archive(oci.entry("before", b""), *members)])
        with pytest.raises(exception.ImageBuildError, match=r"layer sha256:\w+ is refused"):
            built(windlass.Image.from_registry(named(public, f"team/hostile:{number}")))
        known.add(oci.layer(good))  # it is whole, and may serve another image
        assert oci.layer(good) in layers(stage) <= known and not goal.exists()


def test_an_image_of_nothing_takes_files_and_says_that_it_can_run_nothing(stage, tmp_path):
    (tmp_path / "file").write_text("there")
    image = windlass.Image.from_scratch()
    assert cache.Layers(stage.home).read(built(image))["layers"] == []
    identity = built(image.add_local_dir(str(tmp_path), "/deep/down", copy=True).env({"A": "1"}))
    record = cache.Layers(stage.home).read(identity)
    assert record["env"] == {"A": "1"} and len(record["layers"]) == 1
    files = stage.home / "layers" / record["layers"][0] / "files"
    assert (files / "deep/down/file").read_text() == "there" and (files / "deep").stat().st_uid != 0


def test_a_step_on_an_image_without_a_shell_says_so(stage, public):
    public.push("team/shell-less:1", [unique()])
    with pytest.raises(exception.ImageBuildError, match="the image has no /bin/sh"):
        built(windlass.Image.from_registry(named(public, "team/shell-less:1")).run_commands("true"))


# -- the pull by itself -------------------------------------------------------------------------------------


def pull(home: Path, name: str, *, log: Any = lambda text: None, secrets: Any = None, **environ: str) -> cache.Record:
    async def run() -> cache.Record:
        store = cache.Layers(home)
        host = settings.Settings({}, [], [], None)
        access = skopeo.Access(outside.Outside(), {"HOME": str(home), **environ}, host, home)
        async with store.draft() as draft:
            return await registry.pull(name, layers=store, draft=draft, access=access, log=log, secrets=secrets)

    return asyncio.run(run())


def left(home: Path) -> list[str]:
    return sorted(path.name for path in (home / "layers").iterdir())


def test_a_mirror_is_asked_first_and_the_registry_where_it_fails(public, private, tmp_path):
    held = unique()
    digest = public.push("library/tool:1", [held])
    lines: list[str] = []
    mirrors = f"nowhere.invalid=localhost:1,nowhere.invalid={private.host},nowhere.invalid={public.host}/library"
    found = pull(tmp_path, "nowhere.invalid/tool:1", log=lines.append, WINDLASS_REGISTRY_MIRRORS=mirrors)
    assert found["digest"] == digest and found["layers"] == [oci.layer(held)]
    text = "".join(lines)
    assert "localhost:1/tool:1 cannot be reached" in text and "asks for credentials" in text


def test_what_the_machines_user_has_signed_in_to_is_used(private, tmp_path):
    private.push("team/mine:1", [unique()])
    (tmp_path / ".docker").mkdir()
    subprocess.run(
        ["skopeo", "login", "--tls-verify=false", f"--authfile={tmp_path}/.docker/config.json", "-u", registries.USER,
         "--password-stdin", private.host],
        input=registries.PASSWORD, text=True, check=True, capture_output=True,
    )  # fmt: skip
    assert pull(tmp_path, named(private, "team/mine:1"))["layers"]


def test_a_blob_that_was_corrupted_in_the_registry_is_refused(public, tmp_path):
    held = oci.archive(oci.entry("x", os.urandom(50_000)))
    public.push("team/broken:1", [held])
    blob = public.blobs()[_packed(public, held)]
    blob.write_bytes(blob.read_bytes()[:-100] + bytes(100))
    with pytest.raises(exception.ImageBuildError, match="is broken at the registry"):
        pull(tmp_path, named(public, "team/broken:1"))
    assert left(tmp_path) == []


def _packed(where: registries.Registry, layer: bytes) -> str:
    """The digest of the compressed layer."""
    return next(
        digest for digest, path in where.blobs().items()
        if path.read_bytes()[:2] == b"\x1f\x8b" and gzip.decompress(path.read_bytes()) == layer
    )  # fmt: skip


def test_a_layer_with_another_digest_than_the_image_promises_is_never_kept(public, tmp_path):
    held = unique()
    public.push("team/liar:1", [held], diff_ids=["sha256:" + "1" * 64])
    with pytest.raises(exception.ImageBuildError, match=r"layer sha256:1{64} is refused: its archive has the digest"):
        pull(tmp_path, named(public, "team/liar:1"))
    assert left(tmp_path) == []


def test_a_layer_that_hides_all_others_is_the_bottom(public, tmp_path):
    below, above = unique(), oci.archive(oci.entry(".wh..wh..opq", b""), oci.entry("only", b"x"))
    public.push("team/opaque:1", [below, above])
    assert pull(tmp_path, named(public, "team/opaque:1"))["layers"] == [oci.layer(above)]


def test_pulls_of_the_same_layers_at_the_same_time_do_not_meet(public, tmp_path):
    held = [unique(), unique()]
    for number in range(4):
        public.push(f"team/same-{number}:1", held)
    found: list[list[str]] = []
    threads = [
        threading.Thread(target=lambda n=n: found.append(pull(tmp_path, named(public, f"team/same-{n}:1"))["layers"]))
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [[oci.layer(layer) for layer in held]] * 4
    assert left(tmp_path) == sorted(found[0])


def test_a_pull_that_is_cancelled_leaves_nothing(public, tmp_path):
    public.push("team/slow:1", [oci.archive(oci.entry("x", os.urandom(1_000_000)))])

    async def run() -> None:
        store, begun = cache.Layers(tmp_path), asyncio.Event()
        host = settings.Settings({}, [], [], None)
        access = skopeo.Access(outside.Outside(), {"HOME": str(tmp_path)}, host, tmp_path)

        async def pulling() -> None:
            async with store.draft() as draft:
                name = named(public, "team/slow:1")
                await registry.pull(name, layers=store, draft=draft, access=access, log=lambda text: begun.set())

        task = asyncio.ensure_future(pulling())
        await asyncio.wait_for(begun.wait(), 20)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(run())
    assert left(tmp_path) == []


def test_a_registry_that_never_answers_does_not_hold_a_build_for_ever(tmp_path):
    import socket

    async def run(host: str) -> None:
        store = cache.Layers(tmp_path)
        access = skopeo.Access(outside.Outside(), {"HOME": "/"}, settings.Settings({}, [], [], None), tmp_path)
        async with store.draft() as draft:
            await registry.pull(
                f"{host}/app", layers=store, draft=draft, access=access, log=lambda text: None, timeout=2
            )

    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(exception.ImageBuildError, match="not here within 2 s"):
            asyncio.run(run(f"localhost:{silent.getsockname()[1]}"))
        assert time.monotonic() - began < 30
    assert left(tmp_path) == []


def test_modes_of_files_do_not_depend_on_the_workers_mask(public, tmp_path):
    public.push("team/modes:1", [oci.archive(oci.entry("open", b"", mode=0o666), oci.entry("all", mode=0o777))])
    before = os.umask(0o077)
    try:
        (name,) = pull(tmp_path, named(public, "team/modes:1"))["layers"]
    finally:
        os.umask(before)
    files = tmp_path / "layers" / name / "files"
    assert [stat.S_IMODE((files / path).stat().st_mode) for path in ("open", "all", ".")] == [0o666, 0o777, 0o755]

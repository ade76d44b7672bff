"""Bases that come from registries, on a platform whose registry is a mirror on this machine."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

import oci
import registries
import stage as stages

SAYS = b"#!/bin/sh\necho \"$(/bin/basename $0) $*\" >> /said\ncase \"$*\" in -c*) echo Python 3.12 ;; esac\n"
MICROMAMBA = SAYS + (
    b"[ $1 = install ] || exit 0\n"
    b"for word; do case $word in -*|/*) ;; esac; [ \"$last\" = -f ] && cat $word >> /said; last=$word; done\n"
    b"mkdir -p /opt/conda/bin && cp /usr/bin/says /opt/conda/bin/python3\n"
)
SOURCE = """
import modal
app = modal.App("test-bases", image={image})

@app.function()
def f(): ...

@app.local_entrypoint()
def main(): print("IMAGE", app.image.object_id)
"""


class Mirrored(NamedTuple):
    platform: stages.Stage
    registry: registries.Registry


@pytest.fixture(scope="module")
def mirrored(stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirrored]:
    with registries.running(tmp_path_factory.mktemp("registry")) as registry:
        home = tmp_path_factory.mktemp("home")
        platform = stages.Stage(home, WINDLASS_REGISTRY_MIRRORS=f"docker.io={registry.host}")
        platform.start()
        try:
            yield Mirrored(platform, registry)
        finally:
            platform.stop()


def programs(*names: str, data: bytes = SAYS) -> bytes:
    folders = [oci.entry(folder) for folder in ("usr", "usr/bin")]
    return oci.archive(*folders, *(oci.entry(f"usr/bin/{name}", data, mode=0o755) for name in names))


def tools() -> bytes:
    return oci.archive(*(oci.link(f"bin/{name}", "busybox") for name in ("rm", "cp", "basename")))


def built(mirrored: Mirrored, program: Any, image: str) -> tuple[dict[str, Any], str]:
    """The record of an image, and what its programs said."""
    ran = mirrored.platform.cli("run", program("bases.py", SOURCE.format(image=image)), check=0)
    image_id = next(line.split()[1] for line in ran.lines if line.startswith("IMAGE"))
    layers = mirrored.platform.home / "layers"
    record = json.loads((layers / image_id / "meta.json").read_text())
    said = [layers / layer / "files/said" for layer in record["layers"]]
    return record, [file for file in said if file.exists()][-1].read_text()


def test_debian_slim_of_any_python_comes_from_the_registry_that_answers(mirrored, program):
    layers = [registries.busybox(), tools(), programs("python", "python3", "apt-get", "debconf-set-selections")]
    mirrored.registry.push("library/python:3.12-slim-bookworm", layers, config={"Env": ["PYTHON_VERSION=3.12.9"]})
    record, said = built(mirrored, program, 'modal.Image.debian_slim("3.12")')
    assert record["python"] == "3.12" and record["cmd"] == ["sleep", "172800"]
    assert len(record["layers"]) == 4 and record["env"] == {"PYTHON_VERSION": "3.12.9"}
    assert "apt-get install" in said and "gfortran" in said and "-m pip install" in said and "uv" in said


def test_a_python_that_no_registry_and_no_mirror_has_is_refused_soon_with_both_reasons(mirrored, program):
    began = time.monotonic()
    ran = mirrored.platform.cli("run", program("none.py", SOURCE.format(image='modal.Image.debian_slim("3.15")')))
    assert ran.code == 1 and "bookworm" in ran.err and mirrored.registry.host in ran.err
    assert "WINDLASS_REGISTRY_MIRRORS" in ran.err
    assert time.monotonic() - began < 40


def test_micromamba_installs_what_is_asked_from_channels_and_files(mirrored, program, tmp_path):
    layers = [registries.busybox(), tools(), programs("says"), programs("micromamba", data=MICROMAMBA)]
    tag = "mambaorg/micromamba:2.0.5-debian12-slim"
    mirrored.registry.push(tag, layers, config={"Entrypoint": ["/no/such/program"], "User": "somebody"})
    specs = tmp_path / "environment.yml"
    specs.write_text("dependencies: [gdal]\n")
    record, said = built(
        mirrored, program,
        f'modal.Image.micromamba("3.12").micromamba_install("b", "a>1", spec_file={str(specs)!r}, channels=["own"])',
    )  # fmt: skip
    assert record["python"] == "3.12" and record["entrypoint"] == []
    assert "micromamba install --yes --name base -c conda-forge pip python=3.12\n" in said
    assert "micromamba install --yes --name base -c own -f /__windlass/requirements/0.yml a>1 b\n" in said
    assert "dependencies: [gdal]" in said and said.count("micromamba clean --all --yes") == 2

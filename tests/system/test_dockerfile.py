"""Dockerfiles: their instructions do in real containers what they do elsewhere."""

from __future__ import annotations

import uuid

import pytest

import windlass

SLIM = windlass.Image.debian_slim


def sh(*commands: str):
    import subprocess

    return [subprocess.run(c, shell=True, capture_output=True, text=True).stdout.strip() for c in commands]


def inside(image, *commands: str):
    app = windlass.App("test-dockerfile", image=image)
    handle = app.function(serialized=True)(sh)
    with app.run():
        return handle.remote(*commands)


@pytest.fixture
def context(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_instructions_continue_an_image(stage, context):
    (context / "data/deep").mkdir(parents=True)
    (context / "data/one.txt").write_text("one")
    (context / "data/deep/two.txt").write_text("two")
    (context / "data/empty").mkdir()
    (context / "data/link").symlink_to("one.txt")
    (context / "tool.sh").write_text("#!/bin/sh\necho it runs\n")
    (context / "tool.sh").chmod(0o755)
    image = SLIM().dockerfile_commands(
        "ARG COLOUR=green",
        "ENV SHADE=${COLOUR}ish PATH=/opt/tools:$PATH",
        "WORKDIR /srv",
        "WORKDIR place",
        ["COPY data here/", "COPY tool.sh /opt/tools/"],
        "RUN pwd > where && echo $COLOUR $SHADE > colour && \\",
        "    # a comment in between",
        "    tool.sh > tool",
        'RUN ["/bin/sh", "-c", "echo $0 > exec"]',
        "RUN <<EOF\necho first > lines\necho second >> lines\nEOF",
        "RUN <<EOF\n#!/usr/bin/env python3\nopen('python', 'w').write('by python')\nEOF",
        "COPY <<a.txt <<'b.txt' /srv/files/\n$COLOUR 'quoted'\na.txt\n$COLOUR\nb.txt",
    )
    got = inside(
        image, "pwd", "cat where", "cat colour", "cat tool", "cat exec", "cat lines", "cat python",
        "cat /srv/files/a.txt", "cat /srv/files/b.txt", "cat here/deep/two.txt", "readlink here/link",
        "stat -c %F here/empty", 'echo "$SHADE" "$COLOUR"',
    )  # fmt: skip
    assert got == [
        "/srv/place", "/srv/place", "green greenish", "it runs", "/bin/sh", "first\nsecond", "by python",
        "green 'quoted'", "$COLOUR", "two", "one.txt", "directory", "greenish",
    ]  # fmt: skip

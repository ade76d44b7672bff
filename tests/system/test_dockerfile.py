"""Dockerfiles: their instructions do in real containers what they do elsewhere."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

import registries
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


@pytest.fixture(scope="module")
def public(tmp_path_factory):
    with registries.running(tmp_path_factory.mktemp("public")) as running:
        yield running


def built(stage, image) -> list[Path]:
    """The folders of an image's layers, bottom first, for an image in which no function can run."""
    meta = json.loads((stage.home / "layers" / image.build().object_id / "meta.json").read_text())
    return [stage.home / "layers" / layer / "files" for layer in meta["layers"]]


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


def test_odd_names_are_copied_as_they_are(stage, context):
    for name in ("a[1].txt", "star*.txt", "ü b.txt"):
        (context / name).write_text(name)
    image = SLIM().dockerfile_commands("COPY *.txt /odd/", 'COPY ["ü b.txt", "/single file"]')
    assert inside(image, "ls /odd", "cat '/single file'") == ["a[1].txt\nstar*.txt\nü b.txt", "ü b.txt"]


def test_owners_modes_and_users_hold(stage, context):
    (context / "f").write_text("f")
    image = SLIM().dockerfile_commands(
        "RUN useradd -m -u 1234 -G games app",
        "COPY --chown=app:games --chmod=750 f /x/f",
        "COPY --chown=app f /x/g",
        "USER app",
        "WORKDIR /home/app",
        "RUN id -u > me && id -Gn > groups && echo $HOME > home",
        "COPY f ./by-root",
        "USER root",
        "RUN id -u > root",
    )
    got = inside(
        image, "stat -c '%U:%G %a' /x/f", "stat -c '%U:%G %a' /x/g", "cat me home root", "cat groups",
        "stat -c %U me by-root root /x", "id -u",
    )  # fmt: skip
    assert got == [
        "app:games 750", "app:app 644", "1234\n/home/app\n0", "app games", "app\nroot\nroot\napp", "0",
    ]  # fmt: skip


def test_scratch_and_bound_files_are_seen_by_one_command_only(stage, context):
    (context / "lock").write_text("locked\n")
    image = SLIM().dockerfile_commands(
        "WORKDIR /srv",
        "RUN --mount=type=cache,target=/root/.cache/tool --mount=type=bind,source=lock,target=lock \\",
        "    cat lock > seen && echo x > /root/.cache/tool/big && (echo y > lock || echo refused >> seen)",
    )
    assert inside(image, "cat seen", "ls /srv", "ls -A /root/.cache") == ["locked\nrefused", "seen", ""]


def test_secrets_are_seen_by_commands_and_not_by_the_image(stage, context):
    secret = windlass.Secret.from_dict({"TOKEN_FOR_TEST": f"t{uuid.uuid4().hex}"})
    image = SLIM().dockerfile_commands(
        "RUN test -n \"$TOKEN_FOR_TEST\" && echo $EXTRA > /extra", secrets=[secret], env={"EXTRA": "e"}
    )
    assert inside(image, "cat /extra", "echo $TOKEN_FOR_TEST$EXTRA") == ["e", ""]


def test_stages_are_built_as_far_as_needed_and_copied_from(stage, context, monkeypatch):
    from windlass.client.dockerfile import assemble

    base = {"op": "base", "base": "debian_slim", "python": "3.11"}
    monkeypatch.setattr(assemble, "registry", lambda reference, secret="": dict(base))
    mark = uuid.uuid4().hex
    (context / "Dockerfile").write_text(f"""
ARG WORD=default
FROM any AS build
ARG WORD
RUN mkdir -p /out/deep /real && echo "$WORD {mark}" > /out/word && ln -s word /out/link && ln -s /real /out/abs && \\
    echo x > /real/x && ln /out/word /out/deep/hard && chown 5:6 /out/deep/hard && chmod 4755 /out/word && \\
    ln -s /out /linked && python3 -c "import os; os.setxattr('/out/word', 'user.note', b'n')"
FROM any AS broken
RUN exit 1
FROM any AS other
RUN echo other > /other
FROM other
COPY --from=build /linked/ /app
COPY --from=build /out/abs/x /out/w?rd /etc/host?ame /some/
COPY --from=0 --chown=7:8 /out/link /followed
RUN cat /other > /seen
""")
    image = windlass.Image.from_dockerfile("Dockerfile", build_args={"WORD": "given"})
    got = inside(
        image, "cat /app/word", "readlink /app/link /app/abs", "stat -c '%a %u:%g %h' /app/word",
        "test /app/word -ef /app/deep/hard && echo same", "ls /some", "stat -c '%F %u:%g' /followed", "cat /seen",
        "python3 -c \"import os; print(os.getxattr('/app/word', 'user.note').decode())\"", "ls / | grep linked",
    )  # fmt: skip
    assert got == [
        f"given {mark}", "word\n/real", "4755 5:6 2", "same", "hostname\nword\nx", "regular file 7:8", "other", "n", "",
    ]  # fmt: skip


def test_a_failing_command_shows_itself_and_what_it_said(stage, context):
    mark = uuid.uuid4().hex
    with pytest.raises(windlass.exception.ImageBuildError) as caught:
        inside(SLIM().dockerfile_commands("ENV A=1", f"RUN echo saying-$((40+2)) && false # {mark}"))
    assert "saying-42" in str(caught.value) and mark in str(caught.value) and "exit code 1" in str(caught.value)
    assert "dockerfile_commands, line 2, `" in str(caught.value)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("COPY --from=img --chown=nobody-here /etc /x", "no user 'nobody-here'"),
        ("COPY --from=img /gone /x", "/gone does not exist"),
        ("COPY --from=img /etc/p* /x", "slash"),
        ("COPY --from=img /etc /etc/passwd", "no folder"),
        ("COPY --from=img /etc/passwd /trap/", "trap"),
        ("ADD http://127.0.0.1:1/x /y", "cannot be fetched"),
    ],
)
def test_what_the_builder_cannot_do_says_why_and_leaves_nothing(stage, context, monkeypatch, line, why):
    from windlass.client.dockerfile import assemble

    base = {"op": "base", "base": "debian_slim", "python": "3.11"}
    monkeypatch.setattr(assemble, "registry", lambda reference, secret="": dict(base))
    image = SLIM().run_commands("ln -s /../../../../gone /trap").dockerfile_commands(line)
    with pytest.raises(windlass.exception.ImageBuildError, match=why) as caught:
        inside(image)
    assert "dockerfile_commands, line 1" in str(caught.value)
    assert not list((stage.home / "layers").glob(".*"))


def test_an_unchanged_dockerfile_builds_nothing_and_a_changed_file_its_own_step(stage, context):
    (context / "f").write_text("one")
    image = SLIM().dockerfile_commands("RUN date +%s%N > /first", "COPY f /f", "RUN date +%s%N > /last")
    first = inside(image, "cat /first", "cat /f", "cat /last")
    assert inside(image, "cat /first", "cat /f", "cat /last") == first
    (context / "f").write_text("two")
    second = inside(image, "cat /first", "cat /f", "cat /last")
    assert second[0] == first[0] and second[1] == "two" and second[2] != first[2]


def test_stages_from_a_registry_end_in_an_image_of_nothing_but_what_was_copied(stage, context, public):
    public.push("tools/box", [registries.busybox()], config={"Env": ["PATH=/bin", "GREETING=hello"], "User": "7:8"})
    (context / "local.txt").write_text("local")
    (context / "Dockerfile").write_text(f"""
ARG REGISTRY
FROM ${{REGISTRY}}/tools/box AS build
ENV WORD="$GREETING $REGISTRY there"
USER 0
RUN mkdir /made && echo "$WORD" > /made/word && id -u > /made/root
USER 5:6
RUN ["/bin/sh", "-c", "test ! -w /made && id -u > /tmp/mine && id -g >> /tmp/mine"]
FROM scratch
WORKDIR /place
COPY --from=build --chown=3:4 /made /tmp/mine ./
COPY --from={public.host}/tools/box /bin/busybox /bin/sh
COPY local.txt /
ENV A=b
""")
    image = windlass.Image.from_dockerfile("Dockerfile", build_args={"REGISTRY": public.host})
    layers = built(stage, image)
    files = {str(path.relative_to(layer)): path for layer in layers for path in layer.rglob("*") if path.is_file()}
    assert sorted(files) == ["bin/sh", "local.txt", "place/mine", "place/root", "place/word"]
    assert files["place/word"].read_text() == "hello  there\n" and files["place/mine"].read_text() == "5\n6\n"
    inside = {name: path.stat().st_uid - layers[0].stat().st_uid for name, path in files.items()}
    assert inside == {"bin/sh": 0, "local.txt": 0, "place/mine": 3, "place/root": 3, "place/word": 3}


def test_a_private_base_is_opened_by_the_registry_secret(stage, context, tmp_path_factory):
    with registries.running(tmp_path_factory.mktemp("private"), private=True) as private:
        private.push("box", [registries.busybox()])
        (context / "Dockerfile").write_text(f"FROM {private.host}/box\nRUN echo {uuid.uuid4().hex} > /made\n")
        login = windlass.Secret.from_dict(
            {"REGISTRY_USERNAME": registries.USER, "REGISTRY_PASSWORD": registries.PASSWORD}
        )
        with pytest.raises(windlass.exception.ImageBuildError, match="Dockerfile, line 1, `FROM"):
            built(stage, windlass.Image.from_dockerfile("Dockerfile"))
        layers = built(stage, windlass.Image.from_dockerfile("Dockerfile", registry_secret=login))
        assert (layers[-1] / "made").exists()


def test_a_url_is_added_through_the_machines_own_settings(stage, context):
    import os

    from windlass.worker.images import settings

    index = os.environ.get("PIP_INDEX_URL") or settings.pip_config(os.environ).get("index_url", "https://pypi.org/simple")
    if "@" in index or not index.startswith("http"):
        pytest.skip("the index of this machine needs a password, or is no server")
    page = f"{index.rstrip('/')}/iniconfig/"
    image = SLIM().dockerfile_commands(f"ADD {page} /page.html", f"ADD --chmod=644 --chown=5 {page} /other.html")
    found, first, second = inside(
        image, "grep -c iniconfig /page.html", "stat -c '%a %u' /page.html", "stat -c '%a %u' /other.html"
    )
    assert int(found) > 0 and (first, second) == ("600 0", "644 5")
    wrong = SLIM().dockerfile_commands(f"ADD --checksum=sha256:{'0' * 64} {page} /page.html")
    with pytest.raises(windlass.exception.ImageBuildError, match="has the checksum"):
        inside(wrong)


def test_a_working_folder_that_is_there_makes_no_layer(stage, context):
    base = built(stage, SLIM())
    assert built(stage, SLIM().dockerfile_commands("WORKDIR /usr/lib", "WORKDIR /lib")) == base
    assert len(built(stage, SLIM().dockerfile_commands("WORKDIR /new"))) == len(base) + 1

"""From Dockerfiles to recipes. The server is played: it builds everything at once and knows a base's variables."""
from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from windlass import exception
from windlass.client import imaging
from windlass.image import AUTO_DOCKERIGNORE, Image
from windlass.secret import Secret
from windlass.wire.messages import images


class Around(imaging.Around):
    """Plays the platform. ``env``: what base images set."""

    def __init__(self, env: dict[str, str] | None = None, chain: Sequence[images.Recipe] = ()) -> None:
        self.blobs: dict[str, bytes] = {}
        self.built: list[list[Any]] = []
        self.notes: list[str] = []
        self._env = env or {}
        show = SimpleNamespace(image_log=lambda name, text: self.notes.append(text))
        super().__init__(SimpleNamespace(session=self, app_id="ap-1", output=show))  # type: ignore[arg-type]
        self.chain = list(chain)

    async def image(self, chain: Sequence[images.Recipe]) -> imaging.Built:
        self.built.append(unplaced(chain))
        return imaging.Built(f"im-{len(self.built)}", "", self._env, "", [])

    async def request(self, method: str, body: Any, attachments: Any = ()) -> Any:
        if method == "blob.put":
            self.blobs[body["digest"]] = self.blobs.get(body["digest"], b"") + b"".join(attachments)
            return SimpleNamespace(body={})
        return SimpleNamespace(body={"missing": [digest for digest in body["digests"] if digest not in self.blobs]})

    def manifest(self, digest: str) -> Any:
        return json.loads(self.blobs[digest])

    def files(self, digest: str) -> dict[str, str]:
        return {file["path"]: self.blobs[file["digest"]].decode() for file in self.manifest(digest)["files"]}


def unplaced(recipes: Sequence[images.Recipe]) -> list[Any]:
    """Recipes without the lines that they come from."""
    return [{name: value for name, value in recipe.items() if name != "line"} for recipe in recipes]


def expanded(image: Image, around: Around) -> list[Any]:
    return unplaced(placed(image, around))


def placed(image: Image, around: Around) -> list[Any]:
    async def run() -> list[Any]:
        found: list[Any] = []
        for step in image._steps:
            found += await imaging._resolved(step, around)
        return found

    return asyncio.run(run())


def commands(*lines: str, around: Around | None = None, **given: Any) -> list[Any]:
    base = Image.debian_slim("3.11")
    return expanded(base.dockerfile_commands(*lines, **given), around or Around(chain=[{"op": "base"}]))[1:]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def dockerfile(here: Path, text: str, around: Around | None = None, **given: Any) -> list[Any]:
    (here / "Dockerfile").write_text(text)
    return expanded(Image.from_dockerfile("Dockerfile", **given), around or Around())


def test_settings_become_recipes() -> None:
    assert commands(
        "ENV A=1 B='x y'", "WORKDIR /srv/$A", "USER app", 'SHELL ["bash", "-c"]', "CMD run it", 'ENTRYPOINT ["e"]',
        "LABEL a=b", "EXPOSE 80", "MAINTAINER me",
    ) == [
        {"op": "env", "env": {"A": "1", "B": "x y"}}, {"op": "folder", "path": "/srv/1"},
        {"op": "workdir", "path": "/srv/1"}, {"op": "user", "user": "app"},
        {"op": "shell", "commands": ["bash", "-c"]}, {"op": "cmd", "commands": ["bash", "-c", "run it"]},
        {"op": "entrypoint", "commands": ["e"]},
    ]  # fmt: skip


def test_an_entrypoint_takes_the_inherited_command_away() -> None:
    assert commands('ENTRYPOINT ["e"]')[1] == {"op": "cmd", "commands": []}


def test_variables_of_one_line_do_not_see_each_other() -> None:
    assert commands("ENV A=old", "ENV A=new B=$A")[1]["env"] == {"A": "new", "B": "old"}


def test_commands_see_arguments_but_not_those_that_env_replaced() -> None:
    found = commands("ARG A=1 B=2", "ENV B=3", "ARG C", "RUN $A $B", build_args={"C": "c"}, env={"E": "e"})
    assert found[-1] == {"op": "run", "commands": ["$A $B"], "env": {"A": "1", "C": "c", "E": "e"}}


def test_the_base_is_asked_for_variables_that_nothing_else_sets_and_only_then() -> None:
    around = Around({"HOME": "/root", "V": "base"}, chain=[{"op": "base"}])
    found = commands("ENV PATH=/opt:$PATH X=$V Y=${NO:-n}", "WORKDIR $HOME/x", around=around)
    assert found[0]["env"] == {"PATH": "/opt:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                               "X": "base", "Y": "n"}  # fmt: skip
    assert found[1]["path"] == "/root/x" and around.built
    around = Around(chain=[{"op": "base"}])
    commands("ARG A=1", "ENV B=$A", "WORKDIR /$B", "RUN echo $HOME", around=around)
    assert not around.built


def test_commands_have_a_shell_form_a_list_form_and_scripts() -> None:
    found = commands(
        "RUN a && \\\n b", 'RUN ["a", "b c"]', "RUN <<E\nx\ny\nE", "RUN <<E\n#!/bin/x\nE", "RUN cat <<E > /f\n$A\nE"
    )
    assert found == [
        {"op": "run", "commands": ["a &&  b"]}, {"op": "run", "argv": ["a", "b c"]},
        {"op": "run", "commands": ["x\ny\n"]}, {"op": "run", "script": "#!/bin/x\n"},
        {"op": "run", "commands": ["cat <<E > /f\n$A\nE\n"]},
    ]  # fmt: skip


def test_mounts_of_a_command_are_scratch_or_files_of_the_context(here: Path) -> None:
    (here / "uv.lock").write_text("lock")
    around = Around(chain=[{"op": "base"}])
    [found] = commands(
        "RUN --mount=type=cache,target=/root/.cache --mount=type=tmpfs,dst=/t --mount=source=uv.lock,target=uv.lock x",
        around=around,
    )
    assert found["scratch"] == ["/root/.cache", "/t"]
    [bind] = found["binds"]
    assert (bind["source"], bind["path"], around.files(bind["mount"])) == ("uv.lock", "uv.lock", {"uv.lock": "lock"})


def test_files_are_copied_from_the_context_with_owner_and_mode(here: Path) -> None:
    (here / "src/sub").mkdir(parents=True)
    (here / "src/a.py").write_text("a")
    (here / "src/l").symlink_to("a.py")
    (here / "skip.log").write_text("no")
    (here / "one.txt").write_text("1")
    (here / ".dockerignore").write_text("*.log\n")
    around = Around(chain=[{"op": "base"}])
    [found] = commands("COPY --chown=app:1 --chmod=0640 *.* src /x/", around=around)
    assert {**found, "mount": ""} == {
        "op": "copy", "mount": "", "sources": [".dockerignore", "one.txt", "src"], "path": "/x/", "owner": "app:1",
        "mode": 0o640,
    }  # fmt: skip
    manifest = around.manifest(found["mount"])
    assert [file["path"] for file in manifest["files"]] == [".dockerignore", "one.txt", "src/a.py"]
    assert manifest["links"] == [{"path": "src/l", "target": "a.py"}] and manifest["folders"] == ["src", "src/sub"]


def test_the_ignore_file_beside_the_dockerfile_comes_first(here: Path) -> None:
    (here / "a.txt").write_text("a")
    (here / "b.txt").write_text("b")
    (here / ".dockerignore").write_text("a.txt")
    (here / "Dockerfile.dockerignore").write_text("b.txt\nDockerfile*\n.dockerignore")
    around = Around()
    assert list(around.files(dockerfile(here, "FROM x\nCOPY . /", around)[1]["mount"])) == ["a.txt"]
    around = Around()
    found = dockerfile(here, "FROM x\nCOPY . /", around, ignore=["**", "!b.txt"])
    assert list(around.files(found[1]["mount"])) == ["b.txt"]
    around = Around()
    found = dockerfile(here, "FROM x\nCOPY . /", around, ignore=lambda path: path.name != "a.txt")
    assert list(around.files(found[1]["mount"])) == ["a.txt"]


def test_files_may_be_written_in_the_dockerfile_itself() -> None:
    around = Around(chain=[{"op": "base"}])
    found = commands("ARG A=1", "COPY <<a.txt <<'b' /x/\n$A 'q' \\$A\na.txt\n$A\nb", around=around)[-1]
    assert [Path(source).name for source in found["sources"]] == ["a.txt", "b"]
    assert list(around.files(found["mount"]).values()) == ["1 'q' \\$A\n", "$A\n"]


def test_named_files_are_there_for_copy(here: Path) -> None:
    (here / "local.txt").write_text("x")
    around = Around(chain=[{"op": "base"}])
    [found] = commands("COPY /remote.txt /x", context_files={"/remote.txt": "local.txt"}, around=around)
    assert around.files(found["mount"]) == {"remote.txt": "x"} and found["sources"] == ["remote.txt"]


def test_recipes_say_the_lines_that_they_come_from(here: Path) -> None:
    (here / "Dockerfile").write_text("# a comment\nFROM x\n\nENV A=1 \\\n  B=2\nWORKDIR /w\nRUN a \\\n  b\n")
    found = [recipe["line"] for recipe in placed(Image.from_dockerfile("Dockerfile"), Around())]
    assert found == [f"Dockerfile, line {number}" for number in (2, 4, 6, 6, 7)]
    image = Image.debian_slim("3.11").dockerfile_commands("ENV A=1", "RUN a")
    found = [recipe.get("line") for recipe in placed(image, Around(chain=[{"op": "base"}]))]
    assert found == [None, "dockerfile_commands, line 1", "dockerfile_commands, line 2"]


def test_a_url_is_fetched_by_the_builder() -> None:
    checksum = "sha256:" + "0" * 64
    assert commands("ARG V=2", f"ADD --checksum={checksum} https://x.y/f-$V.bin /b/")[-1] == {
        "op": "fetch", "url": "https://x.y/f-2.bin", "path": "/b/", "checksum": checksum,
    }  # fmt: skip


def test_stages_become_images_that_are_copied_from(here: Path) -> None:
    around = Around()
    found = dockerfile(
        here,
        """
ARG V=1
FROM one:$V AS build
ARG V
ENV E=e
RUN make $V
FROM never
RUN exit 1
FROM scratch
COPY --from=build /out/* /app/
COPY --from=tool:2 --chmod=755 /bin/tool /usr/bin
""",
        around,
    )
    build = [{"op": "base", "base": "registry", "tag": "one:1"}, {"op": "env", "env": {"E": "e"}},
             {"op": "run", "commands": ["make $V"], "env": {"V": "1"}}]  # fmt: skip
    tool = [{"op": "base", "base": "registry", "tag": "tool:2"}]
    assert sorted(around.built, key=len) == [tool, build], "the stage in between is not built"
    first, second = f"im-{around.built.index(build) + 1}", f"im-{around.built.index(tool) + 1}"
    assert found == [
        {"op": "base", "base": "scratch"},
        {"op": "copy", "image": first, "sources": ["/out/*"], "path": "/app/"},
        {"op": "copy", "image": second, "sources": ["/bin/tool"], "path": "/usr/bin", "mode": 0o755},
    ]


def test_a_stage_that_continues_another_has_its_steps_and_variables(here: Path) -> None:
    around = Around()
    found = dockerfile(here, "FROM a AS x\nARG A=1\nENV E=e\nFROM x\nWORKDIR /$E$A\n", around)
    assert [recipe["op"] for recipe in found] == ["base", "env", "folder", "workdir"]
    assert found[2]["path"] == "/e1" and not around.built


def test_stages_that_do_not_need_each_other_are_built_side_by_side(here: Path) -> None:
    waiting = []

    class Slow(Around):
        async def image(self, chain: Sequence[images.Recipe]) -> imaging.Built:
            waiting.append(chain)
            while len(waiting) < 2:
                await asyncio.sleep(0)
            return await super().image(chain)

    text = "FROM a AS x\nFROM b AS y\nFROM c\nCOPY --from=x / /x/\nCOPY --from=y / /y/\n"
    (here / "Dockerfile").write_text(text)
    image, around = Image.from_dockerfile("Dockerfile"), Slow()
    asyncio.run(asyncio.wait_for(imaging._resolved(image._steps[0], around), 10))
    assert len(around.built) == 2


def test_a_failing_stage_fails_the_image(here: Path) -> None:
    class Failing(Around):
        async def image(self, chain: Sequence[images.Recipe]) -> imaging.Built:
            raise exception.ImageBuildError("exit code 1")

    with pytest.raises(exception.ImageBuildError, match="exit code 1"):
        dockerfile(here, "FROM a AS x\nFROM c\nCOPY --from=x / /x/\n", Failing())


def test_secrets_reach_commands_and_the_login_its_registry(here: Path) -> None:
    secret, login = Secret.from_name("s"), Secret.from_name("l")
    secret._hydrate("st-1", {}), login._hydrate("st-2", {})
    found = dockerfile(here, "FROM a\nENV A=1\nRUN x\n", secrets=[secret], registry_secret=login)
    assert [recipe.get("secrets") for recipe in found] == [["st-2"], None, ["st-1"]]
    assert set(Image.from_dockerfile("D", secrets=[secret], registry_secret=login)._deps()) == {secret, login}
    with pytest.raises(exception.InvalidError, match="single stage"):
        dockerfile(here, "FROM a AS x\nFROM x\n", registry_secret=login)
    with pytest.raises(exception.InvalidError, match="single stage"):
        dockerfile(here, "FROM a\nCOPY --from=b / /\n", registry_secret=login)


def test_a_forced_build_is_forced_in_all_stages(here: Path) -> None:
    around = Around()
    found = dockerfile(here, "FROM a AS x\nRUN x\nFROM b\nCOPY --from=x / /\n", around, force_build=True)
    assert all(recipe["force"] for recipe in [*found, *around.built[0]])


def test_what_has_no_effect_is_noted(here: Path) -> None:
    around = Around()
    dockerfile(here, "FROM a\nHEALTHCHECK CMD x\nARG USED\n", around, build_args={"USED": "1", "UNUSED": "2"})
    assert any("UNUSED" in note for note in around.notes) and any("HEALTHCHECK" in note for note in around.notes)
    assert not any(" USED" in note for note in around.notes)


def test_python_can_be_added(here: Path) -> None:
    assert dockerfile(here, "FROM a\n", add_python="3.12")[1] == {"op": "python", "python": "3.12"}


def test_the_dockerfile_is_read_when_the_image_is_built(here: Path) -> None:
    image = Image.from_dockerfile("Dockerfile")
    with pytest.raises(FileNotFoundError, match="Dockerfile"):
        expanded(image, Around())
    for tag in ("one", "two"):
        (here / "Dockerfile").write_text(f"FROM {tag}")
        assert expanded(image, Around())[0]["tag"] == tag
    with pytest.raises(FileNotFoundError, match="context"):
        expanded(Image.from_dockerfile("Dockerfile", context_dir="gone"), Around())


def test_what_is_no_text_shows_its_line(here: Path) -> None:
    (here / "Dockerfile").write_bytes(b"FROM a\nRUN \xff\n")
    with pytest.raises(exception.ImageBuildError, match="Dockerfile, line 2: this is not UTF-8"):
        expanded(Image.from_dockerfile("Dockerfile"), Around())
    with pytest.raises(exception.InvalidError):
        expanded(Image.from_dockerfile("."), Around())


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("COPY a", "source and a destination"), ("COPY gone /x", "does not exist"), ("COPY a b /x", "several sources"),
        ("COPY *.txt /x", "several files match"), ("COPY --chmod=u+x a.txt /x", "octal"), ("COPY $NO /x", "empty"),
        ("COPY --from=img ../x /y", "outside of the image"), ("COPY --from=img <<E /y\nE", "heredoc"),
        ("COPY 'a /x b", "source and a destination"), ("COPY a' /x", "source and a destination"),
        ("ADD http://a/x http://a/y /z/", "one http"), ("ADD git@x.y:z /z", "one http"),
        ("ADD ftp://a/b /c", "one http"),
        ("ADD http://u:p@a/b /c", "password"), ("ADD --checksum=md5:1 http://a/b /c", "sha256"),
        ("ADD --checksum=sha256:1 a.txt /c", "for URLs"), ("ADD a.tar /x/", "does not unpack"),
        ("WORKDIR $NO", "empty"), ("SHELL bash", "JSON list"), ("ENV A='x", "single quote"), ("RUN []", "no program"),
        ("RUN --network=none x", "--network"), ("RUN --mount=type=secret,id=x y", "type=secret"),
        ("RUN --mount=type=ssh y", "type=ssh"), ("RUN --mount=from=x,target=/y z", "context only"),
        ("RUN --mount=type=cache y", "target"), ("RUN --mount=target=/x,rw y", "rw"),
        ("RUN --mount=target=/ y", "target"),
    ],
)  # fmt: skip
def test_wrong_arguments_show_the_line(here: Path, line: str, why: str) -> None:
    import tarfile

    (here / "a.txt").write_text("a")
    (here / "b.txt").write_text("b")
    with tarfile.open(here / "a.tar", "w") as archive:
        archive.add(here / "a.txt")
    with pytest.raises(exception.ImageBuildError, match=why) as caught:
        commands("ENV A=1", line)
    assert "dockerfile_commands, line 2:" in str(caught.value) and line.split("\n")[0] in str(caught.value)


def test_arguments_are_checked_at_once() -> None:
    base = Image.debian_slim("3.11")
    assert base.dockerfile_commands() is base and base.dockerfile_commands([]) is base
    for given in ({"build_args": {"A": 1}}, {"secrets": ["x"]}, {"env": {"A": 1}}):
        with pytest.raises(exception.InvalidError):
            base.dockerfile_commands("RUN x", **given)
        with pytest.raises(exception.InvalidError):
            Image.from_dockerfile("D", **given)
    with pytest.raises(exception.DeprecationError, match="context_dir"):
        Image.from_dockerfile("D", context_mount=object())
    with pytest.raises(exception.DeprecationError):
        base.dockerfile_commands("RUN x", context_mount=object())
    with pytest.raises(exception.InvalidError, match="number of GPUs"):
        Image.from_dockerfile("D", gpu="any:many")
    assert repr(AUTO_DOCKERIGNORE) == "AUTO_DOCKERIGNORE"

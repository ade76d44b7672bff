"""Images are described, not built: chains of recipes with early errors."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import windlass
from windlass import exception
from windlass.client import imaging, output
from windlass.cloud_bucket_mount import CloudBucketMount
from windlass.image import Image
from windlass.secret import Secret
from windlass.volume import Volume

LOCAL = f"{sys.version_info[0]}.{sys.version_info[1]}"


def recipes(image: Image) -> list[Any]:
    return [step.recipe for step in image._steps]


class Session:
    """Plays the server: keeps blobs it is asked for, answers builds with ``events``."""

    def __init__(self, *events: Any) -> None:
        self.events = list(events) or [{"kind": "done", "image_id": "im-1", "python": "3.11"}]
        self.asked: list[Any] = []

    async def request(self, method: str, body: Any, attachments: Any = ()) -> Any:
        return SimpleNamespace(body={"missing": []})

    async def stream(self, method: str, body: Any) -> AsyncIterator[Any]:
        self.asked.append(body)
        for event in self.events:
            if isinstance(event, BaseException):
                self.events = [{"kind": "done", "image_id": "im-2", "python": ""}]
                raise event
            yield SimpleNamespace(body=event)


def load(image: Image, session: Session, show: output.Output | None = None) -> Image:
    context: Any = SimpleNamespace(session=session, app_id="ap-1", output=show or output.Output())
    asyncio.run(image._load(context))
    return image


def test_each_method_gives_a_new_image_and_leaves_the_old_one() -> None:
    base = Image.debian_slim("3.11")
    longer = base.pip_install("six")
    assert len(base._steps) == 1 and len(longer._steps) == 2


def test_an_image_is_made_by_factories_only() -> None:
    with pytest.raises(exception.InvalidError):
        Image()


def test_the_default_python_is_the_local_one_and_patch_levels_do_not_matter() -> None:
    assert recipes(Image.debian_slim()) == [{"op": "base", "base": "debian_slim", "python": LOCAL}]
    assert recipes(Image.debian_slim("3.12.4"))[0]["python"] == "3.12"


def test_a_python_version_that_is_a_number_is_a_type_error() -> None:
    with pytest.raises(TypeError, match=r"3\.1\b"):
        Image.debian_slim(3.10)  # type: ignore[arg-type]


@pytest.mark.parametrize("version", ["2.7", "3.99", "3", "three", "3.14t"])
def test_unsupported_python_versions_are_refused(version: str) -> None:
    with pytest.raises(exception.InvalidError):
        Image.debian_slim(version)


def test_packages_are_flattened_and_sorted() -> None:
    image = Image.debian_slim("3.11").pip_install(
        "b", ["c", "a"], pre=True, index_url="https://i", extra_options="-v --x 'y z'"
    )
    assert recipes(image)[1] == {
        "op": "pip", "packages": ["a", "b", "c"], "options": ["--index-url", "https://i", "--pre", "-v", "--x", "y z"],
    }  # fmt: skip
    assert recipes(image.apt_install(["git"], "curl"))[2] == {"op": "apt", "packages": ["curl", "git"]}


def test_flags_among_packages_point_to_extra_options() -> None:
    for method in ("pip_install", "uv_pip_install", "apt_install"):
        with pytest.raises(exception.InvalidError, match="--upgrade") as caught:
            getattr(Image.debian_slim("3.11"), method)("six", "--upgrade")
        assert "extra_options" in caught.value.hint


def test_nothing_to_install_changes_nothing() -> None:
    base = Image.debian_slim("3.11")
    assert base.pip_install() is base and base.apt_install([]) is base and base.env({}) is base
    assert base.uv_pip_install() is base and base.run_commands() is base and base.add_local_python_source() is base


def test_each_command_is_a_step_of_its_own() -> None:
    image = Image.debian_slim("3.11").run_commands("a", ["b", "c"], env={"X": "1", "Y": None})
    assert [recipe["commands"] for recipe in recipes(image)[1:]] == [["a"], ["b"], ["c"]]
    assert all(recipe["env"] == {"X": "1"} for recipe in recipes(image)[1:])


def test_forced_steps_are_marked() -> None:
    assert recipes(Image.debian_slim("3.11", force_build=True))[0]["force"] is True
    assert recipes(Image.debian_slim("3.11").run_commands("x", force_build=True))[1]["force"] is True


@pytest.mark.parametrize(
    ("method", "argument"),
    [
        ("env", {"A": 1}), ("env", {1: "A"}), ("entrypoint", "sh"), ("cmd", ["a", 1]), ("shell", "sh"),
        ("pip_install", 3), ("run_commands", [1]), ("workdir", ""),
    ],
)  # fmt: skip
def test_arguments_of_a_wrong_kind_are_refused(method: str, argument: object) -> None:
    with pytest.raises(exception.InvalidError):
        getattr(Image.debian_slim("3.11"), method)(argument)


def test_remote_paths_must_be_absolute_and_a_slash_at_the_end_keeps_the_name(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.touch()
    base = Image.debian_slim("3.11")
    with pytest.raises(exception.InvalidError, match="absolute"):
        base.add_local_file(file, "data/a.txt")
    with pytest.raises(exception.InvalidError, match="absolute"):
        base.add_local_dir(tmp_path, "data")
    [mounted] = base.add_local_file(file, "/data/")._mounts
    assert mounted.files() == {"data/a.txt": file}


def test_attached_files_are_no_step_and_copied_ones_are(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    base = Image.debian_slim("3.11")
    assert len(base.add_local_dir(tmp_path, "/d")._steps) == 1
    copied = base.add_local_dir(tmp_path, "/d", copy=True)
    session = Session()
    load(copied, session)
    assert session.asked[0]["recipes"][1]["op"] == "copy"
    assert session.asked[0]["recipes"][1]["mount"].startswith("sha256:")


def test_a_step_behind_attached_files_says_what_to_do_when_it_is_loaded(tmp_path: Path) -> None:
    image = Image.debian_slim("3.11").add_local_dir(tmp_path, "/d").pip_install("six")
    with pytest.raises(exception.InvalidError, match="pip six") as caught:
        load(image, Session())
    assert "copy=True" in caught.value.hint


def test_local_files_that_do_not_exist_fail_when_loaded(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load(Image.debian_slim("3.11").add_local_file(tmp_path / "gone", "/x"), Session())


def test_the_text_of_requirement_files_travels_with_what_they_include(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("idna\n")
    (tmp_path / "r.txt").write_text("six\n-r more.txt\n")
    session = Session()
    load(Image.debian_slim("3.11").pip_install_from_requirements(tmp_path / "r.txt"), session)
    assert session.asked[0]["recipes"][1]["requirements"] == ["six\nidna"]


def test_the_build_is_followed_and_its_result_kept() -> None:
    seen: list[Any] = []

    class Show(output.Output):
        def image_step(self, image: str, step: int, steps: int, command: str) -> None:
            seen.append((step, steps, command))

        def image_log(self, image: str, text: str) -> None:
            seen.append(text)

    session = Session(
        {"kind": "step", "step": 1, "steps": 2, "command": "pip install six"}, {"kind": "log", "text": "hello\n"},
        {"kind": "done", "image_id": "im-9", "python": "3.11"},
    )  # fmt: skip
    image = load(Image.debian_slim("3.11").pip_install("six"), session, Show())
    assert (image.object_id, image._python) == ("im-9", "3.11")
    assert seen == [(1, 2, "pip install six"), "hello\n"]


def test_a_lost_connection_joins_the_build_again() -> None:
    session = Session({"kind": "log", "text": "x"}, exception.ServiceError("gone"))
    assert load(Image.debian_slim("3.11"), session).object_id == "im-2"
    assert len(session.asked) == 2


def test_a_failed_build_is_raised() -> None:
    with pytest.raises(exception.ImageBuildError, match="exit code 1"):
        load(Image.debian_slim("3.11"), Session(exception.ImageBuildError("exit code 1")))


def test_imports_swallow_what_is_missing_until_the_container_of_the_image_asks() -> None:
    image = Image.debian_slim("3.11")
    mounted = image.add_local_file("x", "/x")
    with image.imports():
        import windlass_no_such_module  # type: ignore[import-not-found] # noqa: F401
    with pytest.raises(ImportError):
        mounted._entered()
    Image.debian_slim("3.11")._entered()


def test_imports_warn_about_other_failures() -> None:
    with pytest.warns(UserWarning, match="ZeroDivisionError"):
        with Image.debian_slim("3.11").imports():
            raise ZeroDivisionError("oops")


def test_imports_let_interrupts_through() -> None:
    with pytest.raises(KeyboardInterrupt):
        with Image.debian_slim("3.11").imports():
            raise KeyboardInterrupt


def test_pipe_applies_a_function() -> None:
    def add(image: Image, name: str, *, pre: bool) -> Image:
        return image.pip_install(name, pre=pre)

    assert recipes(Image.debian_slim("3.11").pipe(add, "six", pre=True))[1]["options"] == ["--pre"]


def test_gpus_of_a_step_are_checked_and_kept() -> None:
    with pytest.raises(exception.InvalidError, match="number of GPUs"):
        Image.debian_slim("3.11").pip_install("torch", gpu="any:many")
    step = Image.debian_slim("3.11").pip_install("torch", gpu="t4:2")._steps[-1]
    assert step.gpus == [{"kind": "T4", "count": 2}]


def test_secrets_of_a_step_are_its_dependencies() -> None:
    secret = Secret.from_dict({"A": "1"})
    image = Image.debian_slim("3.11").run_commands("x", secrets=[secret])
    assert image._deps() == [secret]
    with pytest.raises(exception.InvalidError):
        Image.debian_slim("3.11").run_commands("x", secrets=["name"])  # type: ignore[list-item]


def test_the_name_shown_for_an_image_says_what_is_in_it() -> None:
    assert imaging._name([{"op": "base", "base": "debian_slim"}, {"op": "pip", "packages": list("abcd")}]) == (
        "debian_slim with a, b, c, …"
    )


def test_an_image_by_id_or_name_is_described_without_asking_anybody():
    identity = "im-3kTMd84yYpZq0vXWb1sRNf"
    image = windlass.Image.from_id(identity)
    assert not image.is_hydrated and not windlass.Image.from_name("train").is_hydrated
    assert asyncio.run(windlass.Image.from_id.aio(identity))._steps[0].recipe == image._steps[0].recipe
    for wrong in ("im-short", "ap-3kTMd84yYpZq0vXWb1sRNf", "", None, 7):
        with pytest.raises(exception.InvalidError, match="no id of an image"):
            windlass.Image.from_id(wrong)
    with pytest.raises(exception.InvalidError, match="another time"):
        windlass.Image.from_name("dev/train", environment_name="dev")
    with pytest.raises(exception.InvalidError, match="from_id"):
        asyncio.run(_refused(lambda: windlass.Image.from_name(identity)))


async def _refused(make):
    make()


def test_what_was_not_built_has_neither_a_name_nor_logs():
    image = windlass.Image.debian_slim()
    with pytest.raises(exception.InvalidError, match="built before"):
        image.publish("train")
    with pytest.raises(exception.InvalidError, match="once it was built"):
        image.logs.fetch()
    with pytest.raises(exception.InvalidError, match="positive"):
        image.logs.tail(0)


def _named() -> None: ...


async def _coroutine() -> None: ...


def _generator() -> Any:
    yield


def test_methods_called_on_the_class_say_how_to_begin() -> None:
    for name in ("pip_install", "run_commands", "run_function", "imports", "add_local_dir", "env", "pipe", "build"):
        with pytest.raises(exception.InvalidError, match=rf"Image\.{name}\(\)") as caught:
            getattr(Image, name)("x")
        assert f"Image.debian_slim().{name}" in caught.value.hint
    assert recipes(Image.pip_install(Image.debian_slim("3.11"), "six"))[1]["packages"] == ["six"]
    assert recipes(Image.debian_slim("3.11").pipe(Image.pip_install, "six"))[1]["packages"] == ["six"]


def test_methods_keep_their_signature_and_description() -> None:
    import inspect

    assert list(inspect.signature(Image.uv_sync).parameters)[:2] == ["self", "uv_project_dir"]
    assert next(iter(inspect.signature(Image.debian_slim("3.11").uv_sync).parameters)) == "uv_project_dir"
    assert Image.run_function.__doc__


@pytest.mark.parametrize(
    ("given", "why"),
    [(lambda: None, "lambda"), (_generator, "generator"), ("f", "str"), (int, "type"), ([].append, "builtin")],
)
def test_run_function_takes_plain_functions_only(given: Any, why: str) -> None:
    with pytest.raises(exception.InvalidError, match=why):
        Image.debian_slim("3.11").run_function(given)


def test_run_function_checks_its_arguments_at_once() -> None:
    base = Image.debian_slim("3.11")
    with pytest.raises(exception.InvalidError, match="2,097,152"):
        base.run_function(_named, args=(b"x" * (2 * 1024 * 1024),))
    for wrong in ({"args": "x"}, {"kwargs": {1: 2}}, {"timeout": 0}, {"cpu": -1}, {"memory": 1.5}):
        with pytest.raises(exception.InvalidError):
            base.run_function(_named, **wrong)  # type: ignore[arg-type]
    for name in ("volumes", "network_file_systems"):
        with pytest.raises(exception.InvalidError, match=name):
            base.run_function(_named, **{name: {"/x": object()}})  # type: ignore[arg-type]
    with pytest.raises(exception.InvalidError, match="bucket"):
        base.run_function(_named, volumes={"/x": CloudBucketMount("name")})
    with pytest.raises(exception.InvalidError, match="'/'"):
        base.run_commands("true", volumes={"/": Volume.from_name("v")})
    with pytest.raises(exception.InvalidError, match="gpu must be a string"):
        base.run_function(_named, gpu=4)


def test_a_function_is_a_step_known_by_its_fingerprint(tmp_path: Path) -> None:
    secret = Secret.from_dict({"A": "1"})
    secret._hydrate("st-1")
    image = Image.debian_slim("3.11").run_function(
        _coroutine, args=(1,), env={"E": "1"}, secrets=[secret], cpu=2, memory=(128, 256), timeout=60, force_build=True
    )
    session = Session()
    load(image, session)
    step = session.asked[0]["recipes"][1]
    assert (step["op"], step["cpu"], step["memory"], step["timeout"]) == ("function", [2.0, 0], [128, 256], 60.0)
    assert step["env"] == {"E": "1"} and step["secrets"] == ["st-1"] and step["force"] is True
    assert len(step["fingerprint"]) == 64 and step["function"]["qualname"] == "_coroutine"
    assert step["function"]["arguments"].startswith("sha256:") and step["function"]["mounts"]


@pytest.mark.parametrize(
    "reference",
    ["bitbucket.org/a/b", "github.com/a", "https://github.com/a/b", "github.com/a/b@x y", "github.com/a/b;rm", "", 3],
)
def test_private_repositories_are_references_of_known_hosts(reference: Any) -> None:
    secret = Secret.from_dict({"GITHUB_TOKEN": "1"})
    with pytest.raises(exception.InvalidError, match="repository"):
        Image.debian_slim("3.11").pip_install_private_repos(reference, git_user="me", secrets=[secret])


def test_private_repositories_need_secrets_and_a_user() -> None:
    base, secret = Image.debian_slim("3.11"), Secret.from_dict({"GITHUB_TOKEN": "1"})
    with pytest.raises(exception.InvalidError, match="secrets"):
        base.pip_install_private_repos("github.com/a/b", git_user="me")
    with pytest.raises(exception.InvalidError, match="git_user"):
        base.pip_install_private_repos("github.com/a/b", git_user="", secrets=[secret])
    found = base.pip_install_private_repos(
        "gitlab.com/a/b/c@v1.0#subdirectory=x/y", "github.com/a/b.git", git_user="me", secrets=[secret]
    )
    assert recipes(found)[1]["packages"] == ["github.com/a/b.git", "gitlab.com/a/b/c@v1.0#subdirectory=x/y"]


def test_files_of_a_project_are_read_when_the_image_is_built(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    image = Image.debian_slim("3.11").pip_install_from_pyproject(path, ["x"]).uv_sync(tmp_path, groups=["g"])
    path.write_text('[project]\ndependencies = ["b"]\n[project.optional-dependencies]\nx = ["a"]\n')
    (tmp_path / "uv.lock").write_text("lock")
    session = Session()
    load(image, session)
    _, pip, sync = session.asked[0]["recipes"]
    assert pip == {"op": "pip", "packages": ["a", "b"], "options": []}
    assert sync["options"] == ["--frozen", "--group=g"] and sync["files"]["uv.lock"] == "lock"


def test_build_needs_a_running_app_and_there_is_no_dashboard() -> None:
    from windlass.app import App

    with pytest.raises(exception.InvalidError, match="does not run"):
        Image.debian_slim("3.11").build(App("x"))
    with pytest.raises(exception.UnimplementedError, match="dashboard"):
        Image.debian_slim("3.11").get_dashboard_url()


def test_micromamba_is_an_image_of_a_registry_with_the_python_asked_for() -> None:
    base, entrypoint, env, install = recipes(Image.micromamba("3.12.1"))
    assert base["base"] == "registry" and "mambaorg/micromamba:" in base["tag"]
    assert entrypoint == {"op": "entrypoint", "commands": []} and env["env"]["PATH"].startswith("/opt/conda/bin:")
    assert install == {"op": "micromamba", "packages": ["pip", "python=3.12"], "options": ["-c", "conda-forge"]}
    assert f"python={LOCAL}" in recipes(Image.micromamba())[-1]["packages"]
    with pytest.raises(TypeError):
        Image.micromamba(3.12)  # type: ignore[arg-type]


def test_conda_packages_come_from_channels_in_order_and_from_files(tmp_path: Path) -> None:
    base = Image.debian_slim("3.11")
    assert base.micromamba_install() is base and base.micromamba_install([]) is base
    step = recipes(base.micromamba_install("b", ["a"], channels=["own", "conda-forge"]))[1]
    assert step == {"op": "micromamba", "packages": ["a", "b"], "options": ["-c", "own", "-c", "conda-forge"]}
    specs = tmp_path / "environment.yml"
    specs.write_text("dependencies:\n- x\n")
    session = Session()
    load(base.micromamba_install(spec_file=specs), session)
    (sent,) = session.asked[0]["recipes"][1:]
    assert sent["requirements"] == ["dependencies:\n- x"] and sent["path"] == "specs.yml"
    with pytest.raises(exception.InvalidError, match="--yes"):
        base.micromamba_install("--yes")
    with pytest.raises(FileNotFoundError):
        load(base.micromamba_install(spec_file=tmp_path / "none.yml"), Session())

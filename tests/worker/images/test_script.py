"""Recipes as commands."""

from __future__ import annotations

import pytest

from windlass import exception
from windlass.wire.messages import images
from windlass.worker.images import script


def lines(recipe: images.Recipe, has_uv: bool = True) -> list[script.Command]:
    return script.commands(recipe, shell=[], has_uv=has_uv)


def test_commands_run_in_the_shell_that_was_chosen() -> None:
    assert lines({"op": "run", "commands": ["a", "b"]})[1].argv == ["/bin/sh", "-c", "b"]
    chosen = script.commands({"op": "run", "commands": ["a"]}, shell=["/bin/bash", "-ec"], has_uv=True)
    assert chosen[0].argv == ["/bin/bash", "-ec", "a"]


def test_pip_installs_by_uv_and_compiles() -> None:
    [command] = lines({"op": "pip", "packages": ["numpy>=2", "six"], "options": ["--pre", "--index-url=https://i"]})
    assert command.argv[:2] == ["/bin/sh", "-c"] and '--python "$(command -v python3' in command.argv[2]
    assert command.argv[4].endswith("/uv") and "bytecode.py" in command.argv[2]
    assert command.argv[-4:] == ["--pre", "--index-url=https://i", "numpy>=2", "six"]
    assert command.shown == "pip install --pre --index-url=https://i numpy>=2 six"


def test_uv_compiles_itself_what_goes_elsewhere_and_nothing_where_told_so() -> None:
    [command] = lines({"op": "pip", "packages": ["six"], "options": ["--target", "/opt/six"]})
    assert "--compile-bytecode" in command.argv and "bytecode.py" not in command.argv[2]
    [command] = lines({"op": "pip", "packages": ["six"], "options": ["--no-compile"]})
    assert "--compile-bytecode" not in command.argv and "bytecode.py" not in command.argv[2]


@pytest.mark.parametrize(("options", "has_uv"), [(["--prefer-binary"], True), ([], False)])
def test_what_uv_cannot_do_is_left_to_pip(options: list[str], has_uv: bool) -> None:
    [command] = lines({"op": "pip", "packages": ["six"], "options": options}, has_uv)
    assert command.argv[:4] == ["python3", "-m", "pip", "install"]


def test_a_special_version_of_uv_is_fetched_for_the_step() -> None:
    [command] = lines({"op": "uv_pip", "packages": ["six"], "uv": "0.5.1"})
    assert command.argv[5:9] == ["tool", "run", "--no-cache", "uv@0.5.1"]


def test_requirement_files_are_named_where_the_step_finds_them() -> None:
    [command] = lines({"op": "pip", "packages": [], "requirements": ["six\n", "idna\n"]})
    assert command.argv[-4:] == ["-r", "/__windlass/requirements/0.txt", "-r", "/__windlass/requirements/1.txt"]


def test_package_names_cannot_break_out_of_the_shell() -> None:
    [command] = lines({"op": "apt", "packages": ["jq; touch /x"]})
    assert "'jq; touch /x'" in command.argv[2]


def test_an_unknown_step_is_refused() -> None:
    with pytest.raises(exception.ImageBuildError, match="'dance'"):
        lines({"op": "dance"})


def test_secrets_win_over_the_steps_variables_and_these_over_the_images() -> None:
    env = script.environment(
        host={"A": "host", "B": "host"},
        image={"B": "image", "C": "image"},
        recipe={"op": "run", "env": {"C": "step", "D": "step"}},
        secrets={"D": "secret"},
        path="/bin",
    )
    assert (env["A"], env["B"], env["C"], env["D"]) == ("host", "image", "step", "secret")


def test_conda_packages_are_installed_by_micromamba_and_files_keep_their_kind() -> None:
    recipe: images.Recipe = {
        "op": "micromamba", "packages": ["numpy>=2"], "options": ["-c", "conda-forge"],
        "requirements": ["dependencies: []"], "path": "specs.yml",
    }  # fmt: skip
    (command,) = script.commands(recipe, shell=[], has_uv=True)
    assert command.argv[2].startswith(
        f"micromamba install --yes --name base -c conda-forge -f {script.REQUIREMENTS}/0.yml 'numpy>=2' && "
    )
    assert script.files(recipe) == {"0.yml": "dependencies: []"}


def test_pip_is_started_by_the_name_that_python_has() -> None:
    (command,) = script.commands({"op": "pip", "packages": ["six"]}, shell=[], has_uv=False, python="python")
    assert command.argv[:3] == ["python", "-m", "pip"]

"""`windlass examples` and `windlass completion`, without a platform."""
from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click import testing

from windlass import exception
from windlass.cli import __main__ as cli
from windlass.cli import examples

ROOT = Path(__file__).parents[2]


def run(*words: str, **variables: str) -> testing.Result:
    return testing.CliRunner().invoke(cli.root, words, env=variables, catch_exceptions=False)


def test_examples_are_listed_with_what_they_show_and_copied_to_where_one_wants_them(tmp_path):
    listed = json.loads(run("examples", "list", "--json").output)
    assert {one["name"] for one in listed} == {path.stem for path in (ROOT / "examples").glob("*.py")}
    assert all(one["shows"].endswith(".") for one in listed)

    said = run("examples", "copy", "pipeline", str(tmp_path)).output
    copied = tmp_path / "pipeline.py"
    assert copied.read_bytes() == (ROOT / "examples/pipeline.py").read_bytes()
    assert f"windlass run {copied}" in said
    run("examples", "copy", "pipeline", str(tmp_path / "mine.py"))
    assert (tmp_path / "mine.py").read_bytes() == copied.read_bytes()
    run("examples", "copy", "all", str(tmp_path / "new/folder"))
    assert len(list((tmp_path / "new/folder").glob("*.py"))) == len(listed)


def test_nothing_is_written_over_unasked_and_unknown_names_are_refused(tmp_path):
    (tmp_path / "pipeline.py").write_text("mine")
    with pytest.raises(exception.AlreadyExistsError):
        run("examples", "copy", "pipeline", str(tmp_path))
    assert (tmp_path / "pipeline.py").read_text() == "mine"
    run("examples", "copy", "pipeline", str(tmp_path), "--force")
    assert (tmp_path / "pipeline.py").read_text() != "mine"
    with pytest.raises(exception.NotFoundError, match="no example 'nothing'") as refused:
        run("examples", "copy", "nothing")
    assert "pipeline" in str(refused.value.hint)


def test_what_is_installed_has_the_examples_too():
    packed = (ROOT / "pyproject.toml").read_text().split("force-include]\n")[1]
    assert packed.startswith('"examples" = "windlass/cli/_examples"')
    assert examples.folder() == ROOT / "examples", "of a checkout"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_of_each_shell_is_printed_with_how_to_install_it(shell):
    printed = run("completion", shell).output
    assert printed.startswith("# To keep it:  ") and "_WINDLASS_COMPLETE" in printed and "windlass" in printed
    if (program := shutil.which(shell)) is not None:
        read = subprocess.run([program, "-n"], input=printed, text=True, capture_output=True, check=False)
        assert read.returncode == 0, read.stderr


def complete(*words: str) -> list[str]:
    """What bash is told of ``windlass WORDS``."""
    variables = {"COMP_WORDS": " ".join(["windlass", *words]), "COMP_CWORD": str(len(words))}
    program = "from windlass.cli.__main__ import main; main()"
    told = subprocess.run(
        [sys.executable, "-c", program], env={"_WINDLASS_COMPLETE": "bash_complete", **variables,
        "PYTHONPATH": ":".join(sys.path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return told.stdout.split()


def test_commands_options_and_files_are_completed():
    assert complete("vol") == ["plain,volume"]
    assert "plain,put" in complete("volume", "p") and "plain,--json" in complete("volume", "list", "--j")
    assert complete("run", "exa") == ["file,exa"]
    assert not [one for one in complete("") if "nfs" in one], "what help hides is not offered"

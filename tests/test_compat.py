from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def run(code: str, *paths: Path) -> str:
    begin = f"import sys; sys.path[:0] = {[str(p) for p in paths] + sys.path}; from windlass import compat; "
    return subprocess.run(
        [sys.executable, "-c", begin + code], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_modal_and_its_submodules_are_the_very_same_modules():
    code = (
        "compat.install(); compat.install(); import modal, windlass, modal.exception;"
        "from modal.functions import gather;"
        "import windlass.functions, windlass.exception; from modal import App;"
        "print(modal is windlass, modal.exception is windlass.exception, gather is windlass.functions.gather,"
        "App is windlass.App, modal.exception.__name__, modal.exception.__spec__.name)"
    )
    assert run(code) == "True True True True windlass.exception windlass.exception"


def test_submodules_are_attributes_without_an_import_of_their_own():
    code = (
        "compat.install(); import modal;"
        "print(modal.runner.deploy_app.__name__, modal.output.enable_output is modal.enable_output,"
        "modal.retries.Retries is modal.Retries, modal.file_pattern_matcher.FilePatternMatcher.__name__,"
        "modal.scheduler_placement.SchedulerPlacement.__name__)"
    )
    assert run(code) == "deploy_app True True FilePatternMatcher SchedulerPlacement"


def test_the_real_package_is_passed_over(tmp_path):
    (tmp_path / "modal").mkdir()
    (tmp_path / "modal" / "__init__.py").write_text("real = True")
    assert run("import modal; print(modal.real)", tmp_path) == "True"
    assert run("compat.install(); import modal; print(hasattr(modal, 'real'))", tmp_path) == "False"
    assert run("import modal; compat.install(); import modal; print(hasattr(modal, 'real'))", tmp_path) == "False"


def test_what_windlass_does_not_have_is_not_found():
    code = "compat.install()\ntry:\n  import modal.nonsense\nexcept ModuleNotFoundError as e: print(e.name)"
    assert run(f"exec({code!r})") == "modal.nonsense"


def python(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.environ["PATH"], "HOME": str(cwd)}
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def test_a_plain_script_or_module_of_modals_runs_with_python(tmp_path):
    (tmp_path / "mine.py").write_text("WORD = 'beside it'")
    (tmp_path / "job.py").write_text(
        "import sys, modal, mine\n"
        "if __name__ == '__main__': print(modal.__name__, sys.argv, mine.WORD)\n"
    )
    said = python("windlass.compat", "job.py", "--n", "3", cwd=tmp_path)
    assert said.stdout == "windlass ['job.py', '--n', '3'] beside it\n", said.stderr
    said = python("windlass.compat", "-m", "job", "--n", cwd=tmp_path)
    assert "windlass [" in said.stdout and "'--n'] beside it" in said.stdout, said.stderr
    for wrong in ([], ["-x"], ["nofile.py"]):
        assert python("windlass.compat", *wrong, cwd=tmp_path).returncode == 2


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_workers_of_its_pools_import_modal_too_and_not_the_real_one(tmp_path, method):
    (tmp_path / "site/modal").mkdir(parents=True)
    (tmp_path / "site/modal/__init__.py").write_text("raise ImportError('the real one')")
    (tmp_path / "job.py").write_text(
        "import sys; sys.path.append('site')\n"
        "import multiprocessing, modal\n"
        "def seen(x): import modal.exception; return x, modal.__name__, modal.exception.NotFoundError.__module__\n"
        "if __name__ == '__main__':\n"
        f"    with multiprocessing.get_context('{method}').Pool(1) as pool: print(pool.map(seen, [1, 2]))\n"
    )
    said = python("windlass.compat", "job.py", cwd=tmp_path)
    assert said.stdout == str([(x, "windlass", "windlass.exception") for x in (1, 2)]) + "\n", said.stderr


def test_the_package_is_its_own_command(tmp_path):
    assert python("windlass", "--version", cwd=tmp_path).stdout.startswith("windlass ")

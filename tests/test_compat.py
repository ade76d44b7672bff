from __future__ import annotations

import subprocess
import sys
from pathlib import Path


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


def test_the_real_package_is_passed_over(tmp_path):
    (tmp_path / "modal").mkdir()
    (tmp_path / "modal" / "__init__.py").write_text("real = True")
    assert run("import modal; print(modal.real)", tmp_path) == "True"
    assert run("compat.install(); import modal; print(hasattr(modal, 'real'))", tmp_path) == "False"
    assert run("import modal; compat.install(); import modal; print(hasattr(modal, 'real'))", tmp_path) == "False"


def test_what_windlass_does_not_have_is_not_found():
    code = "compat.install()\ntry:\n  import modal.nonsense\nexcept ModuleNotFoundError as e: print(e.name)"
    assert run(f"exec({code!r})") == "modal.nonsense"

"""Error rendering and exit codes."""
from __future__ import annotations

import subprocess
import sys

import pytest
from click import testing

from windlass import exception
from windlass.cli import __main__, failure, run


def test_an_error_shows_message_and_hint_without_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    failure.show(exception.NotFoundError("no such thing", hint="look elsewhere"))
    err = capsys.readouterr().err
    assert "no such thing" in err and "look elsewhere" in err and "Traceback" not in err


def test_a_user_traceback_has_only_the_users_frames(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        try:
            raise ValueError("mine")
        except ValueError as exc:
            raise failure.UserCodeError("x") from exc
    except failure.UserCodeError as exc:
        failure.show(exc)
    err = capsys.readouterr().err
    assert err.startswith("Traceback") and "ValueError: mine" in err and "test_failure.py" in err
    assert "UserCodeError" not in err and "windlass/cli" not in err


def test_a_relative_import_in_a_script_is_told_how_to_be_run(capsys: pytest.CaptureFixture[str]) -> None:
    failure.show_user_traceback(ImportError("attempted relative import with no known parent package"))
    assert "windlass run -m package.module" in capsys.readouterr().err


def test_an_error_without_message_shows_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    failure.show(RuntimeError())
    assert "RuntimeError" in capsys.readouterr().err


def test_unknown_commands_are_usage_errors_with_a_proposal(capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.execute(["rnu"]) == 2
    assert "Did you mean run" in capsys.readouterr().err


def test_help_is_free_of_heavy_imports() -> None:
    code = (
        "import sys\nfrom windlass.cli import __main__\nassert __main__.execute(['--help']) == 0\n"
        "heavy = {'asyncio', 'rich', 'windlass.app', 'cloudpickle'} & set(sys.modules)\nassert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_file_that_may_not_be_touched_is_named_without_numbers_of_errors(capsys):
    failure.show(PermissionError(13, "Permission denied", "/srv/theirs"))
    said = capsys.readouterr().err
    assert "no permission for /srv/theirs" in said and "Hint:" in said and "Errno" not in said


def test_a_script_on_stdin_cannot_have_the_terminal_as_well():
    done = testing.CliRunner().invoke(run.command, ["-i", "-"])
    assert isinstance(done.exception, exception.InvalidError) and "to a file" in done.exception.hint


@pytest.mark.parametrize("where", [">&-", ">/dev/full", ">&- <&-"])
def test_output_that_is_closed_or_full_is_told_without_a_traceback(where):
    command = f"exec '{sys.executable}' -m windlass.cli config show {where}"
    ran = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert ran.returncode == 1 and ran.stdout == ""
    assert ("No space left" if "full" in where else "Bad file descriptor") in ran.stderr
    assert "Traceback" not in ran.stderr and "Exception ignored" not in ran.stderr


def test_where_nothing_can_be_told_nothing_is_in_the_way():
    command = f"exec '{sys.executable}' -m windlass.cli config show >&- 2>&- <&-"
    assert subprocess.run(["sh", "-c", command], check=False).returncode == 1

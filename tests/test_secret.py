"""Secrets: where values come from, what is refused, what is never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from windlass import exception
from windlass.client import here
from windlass.secret import Secret


def test_values_of_none_are_left_out() -> None:
    assert Secret.from_dict({"A": "1", "B": None})._resolved() == {"A": "1"}
    assert Secret.from_dict()._resolved() == {}


def test_bytes_that_are_no_text_are_fine_as_the_environment_has_them() -> None:
    assert Secret.from_dict({"A": "\udcff", "B": "\U0001f600" * 32_767})._resolved()["A"] == "\udcff"


@pytest.mark.parametrize(
    "env",
    [{"A": 1}, {1: "A"}, {"1A": "x"}, {"A-B": "x"}, {"": "x"}, {"A": "x" * 32_769}, {"A": "\0"}, {"A": "\ud800"},
     {"A": "\U0001f600" * 32_768}],
)  # fmt: skip
def test_what_cannot_be_an_environment_variable_is_refused(env: dict[str, str | None]) -> None:
    with pytest.raises(exception.InvalidError):
        Secret.from_dict(env)


def test_errors_and_representations_never_show_values() -> None:
    with pytest.raises(exception.InvalidError) as caught:
        Secret.from_dict({"A": "hunter2" * 10_000})
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(Secret.from_dict({"A": "hunter2"}))


def test_the_local_environment_gives_named_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WL_ONE", "1")
    assert Secret.from_local_environ(["WL_ONE"])._resolved() == {"WL_ONE": "1"}
    with pytest.raises(exception.InvalidError, match="WL_GONE"):
        Secret.from_local_environ(["WL_ONE", "WL_GONE"])
    with pytest.raises(exception.InvalidError):
        Secret.from_local_environ("WL_ONE")  # type: ignore[arg-type]


def test_in_a_container_the_local_environment_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(here, "plan", {})
    assert Secret.from_local_environ(["WL_GONE"])._resolved() == {}


def test_a_dotenv_file_is_found_upwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below = tmp_path / "a/b"
    below.mkdir(parents=True)
    (tmp_path / ".env").write_text("A=1\nB='two'\n")
    (tmp_path / "a/other").write_text("C=3\n")
    assert Secret.from_dotenv(below)._resolved() == {"A": "1", "B": "two"}
    assert Secret.from_dotenv(below, filename="other")._resolved() == {"C": "3"}
    monkeypatch.chdir(below)
    assert Secret.from_dotenv()._resolved() == {"A": "1", "B": "two"}
    assert Secret.from_dotenv(filename="no-such-file-here")._resolved() == {}

"""Windlass' own settings for builds."""

from __future__ import annotations

from pathlib import Path

import pytest

from windlass import exception
from windlass.worker.images import configured


def environ(tmp_path: Path, text: str, machine: dict[str, str]) -> dict[str, str]:
    (tmp_path / "build.env").write_text(text)
    return configured.environ(tmp_path / "build.env", machine)


def test_the_file_wins_over_the_machine_and_needs_not_be_there(tmp_path: Path) -> None:
    machine = {"PIP_INDEX_URL": "https://old.example", "HOME": "/root", "EMPTY": ""}
    assert configured.environ(tmp_path / "build.env", machine) == {
        "PIP_INDEX_URL": "https://old.example", "HOME": "/root"
    }  # fmt: skip
    seen = environ(tmp_path, "PIP_INDEX_URL=https://new.example\n", machine)
    assert seen == {"PIP_INDEX_URL": "https://new.example", "HOME": "/root"}


def test_remarks_quotes_and_export_are_understood(tmp_path: Path) -> None:
    text = """
# a remark
A=plain # another
export B="with # and spaces "   # after
  C = 'single "inside"'
D=http://x/#fragment
E=
"""
    assert environ(tmp_path, text.replace("C = ", "C="), {}) == {
        "A": "plain", "B": "with # and spaces ", "C": 'single "inside"', "D": "http://x/#fragment", "E": ""
    }  # fmt: skip


@pytest.mark.parametrize(
    "line", ["just words", "=value", "A B=c", 'A="open', "A='a' b", "1A=x", "A=\0"], ids=range(7)
)  # fmt: skip
def test_a_malformed_line_is_named_with_its_file_but_not_shown(tmp_path: Path, line: str) -> None:
    with pytest.raises(exception.InvalidError, match=r"build\.env, line 2") as caught:
        environ(tmp_path, f"GOOD=1\n{line}\n", {})
    assert line.strip() not in str(caught.value) and str(tmp_path) in str(caught.value)


def test_a_file_that_is_no_text_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "build.env").write_bytes(b"A=\xff\xfe")
    with pytest.raises(exception.InvalidError, match="cannot be read"):
        configured.environ(tmp_path / "build.env", {})


def test_what_the_machine_tells_another_tool_does_not_contradict_the_file(tmp_path: Path) -> None:
    machine = {"UV_DEFAULT_INDEX": "https://old", "https_proxy": "http://old", "PIP_CERT": "/old", "UV_INDEX": "more"}
    seen = environ(tmp_path, "PIP_INDEX_URL=https://new\nHTTPS_PROXY=\nSSL_CERT_FILE=/new\n", machine)
    assert seen == {"PIP_INDEX_URL": "https://new", "HTTPS_PROXY": "", "SSL_CERT_FILE": "/new", "UV_INDEX": "more"}

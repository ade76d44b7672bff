"""Where settings come from, and what a file that cannot be understood is told."""
from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from windlass import exception
from windlass.config import config, keys, masked, profiles

INVALID, AUTH = exception.InvalidError, exception.AuthError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        key = name.removeprefix("WINDLASS_").removeprefix("MODAL_").lower()
        if name.startswith("MODAL_") or key in keys.ALL or key in ("profile", "config_path", "is_remote"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def write(text: str, name: str = ".windlass.toml") -> Path:
    path = Path.home() / name
    path.write_text(text)
    return path


def test_a_variable_comes_before_the_profile_and_that_before_the_default(monkeypatch):
    assert (config["logs_timeout"], config["environment"], config["max_throttle_wait"]) == (10.0, "", None)
    write("[work]\nactive = true\nlogs_timeout = 3\nforce_build = true\nenvironment = 'dev'\n[home]\nenvironment='h'\n")
    assert (config["logs_timeout"], config["force_build"], config["environment"]) == (3.0, True, "dev")
    assert config.get("environment", profile="home") == "h" and config.get("environment", profile="none") == ""
    monkeypatch.setenv("MODAL_ENVIRONMENT", "theirs")
    assert config["environment"] == "theirs"
    monkeypatch.setenv("WINDLASS_ENVIRONMENT", "ours")
    assert config["environment"] == "ours" and config.get("environment", use_env=False) == "dev"
    monkeypatch.setenv("WINDLASS_PROFILE", "home")
    assert config.get("environment", use_env=False) == "h" and config["logs_timeout"] == 10.0
    for text, value in (("", False), ("0", False), ("FALSE", False), ("1", True), ("yes", True)):
        monkeypatch.setenv("WINDLASS_TRACEBACK", text)
        assert config["traceback"] is value
    assert set(config.to_dict()) == set(keys.PUBLIC) and config["task_id"] == ""
    with pytest.raises(KeyError):
        config["nonsense"]


@pytest.mark.parametrize(
    ("key", "bad"),
    [("logs_timeout", "soon"), ("logs_timeout", "-1"), ("max_throttle_wait", "nan"), ("loglevel", "LOUD"),
     ("dev_suffix", "much-too-long"), ("payload_format", "json"), ("serve_timeout", "x")],
)  # fmt: skip
def test_a_bad_value_is_an_error_that_names_key_and_value(monkeypatch, key, bad):
    monkeypatch.setenv(f"WINDLASS_{key.upper()}", bad)
    with pytest.raises(INVALID, match=f"WINDLASS_{key.upper()}.*{bad!r}") as caught:
        config[key]
    assert caught.value.hint.startswith("It must be ")
    monkeypatch.delenv(f"WINDLASS_{key.upper()}")
    path = write(f"[default]\n{key} = '{bad}'\n")
    with pytest.raises(INVALID, match=f"{key} in {path}.*{bad!r}"):
        config[key]


def test_a_file_that_is_malformed_is_an_error_that_names_file_and_line(monkeypatch):
    path = write("[default]\nenvironment = main\n")
    with pytest.raises(INVALID, match=f"{path} is malformed.*line 2") as caught:
        config["environment"]
    assert "Mend" in caught.value.hint
    write("[default]\ntoken_id = 'a'\n\n[default]\n")
    with pytest.raises(INVALID, match="malformed"):
        config["environment"]
    write("# mine\nenvironment = 'main'\n")
    with pytest.raises(INVALID, match=f"{path} has 'environment' outside of a profile, in line 2"):
        config["environment"]
    path.write_bytes(b"[a]\n\xff")
    for use in (lambda: config["environment"], lambda: profiles.store("a", {"environment": "b"}, activate=False)):
        with pytest.raises(INVALID, match="byte 4") as caught:
            use()
        assert "UTF-8" in caught.value.hint
    write("[default]\nenvironment = ['a']\n")
    with pytest.raises(INVALID, match="wrong value"):
        config["environment"]
    monkeypatch.setenv("WINDLASS_IS_REMOTE", "1")
    assert config["environment"] == ""


def test_a_file_from_an_editor_of_windows_is_read_and_written():
    path = write("")
    path.write_bytes(b"\xef\xbb\xbf[default]\r\nenvironment = 'main'\r\n")
    assert config["environment"] == "main"
    profiles.store("default", {"environment": "dev"}, activate=False)
    assert config["environment"] == "dev" and path.read_bytes() == b'[default]\nenvironment = "dev"\n'


def test_which_profile_counts_must_be_clear(monkeypatch):
    write("[a]\nactive = true\n[b]\nactive = true\n")
    with pytest.raises(INVALID, match=r"several profiles are active.*a, b"):
        config["environment"]
    path = write("[a]\nenvironment = 'x'\n[b]\n")
    with pytest.raises(INVALID, match="none of the profiles"):
        config["environment"]
    monkeypatch.setenv("WINDLASS_PROFILE", "c")
    with pytest.raises(AUTH, match="no profile 'c'") as caught:
        config["environment"]
    assert "token set --profile c" in caught.value.hint
    monkeypatch.setenv("WINDLASS_TOKEN_ID", "ak-1")
    assert config["environment"] == ""
    monkeypatch.delenv("WINDLASS_PROFILE")
    profiles.activate("a")
    assert config["environment"] == "x" and "[b]" in path.read_text()
    with pytest.raises(exception.NotFoundError, match="'c'"):
        profiles.activate("c")


def test_credentials_for_modals_cloud_stay_with_it(monkeypatch):
    write("[me]\nactive = true\ntoken_id = 'ak-m'\ntoken_secret = 'as-m'\nenvironment = 'dev'\n", ".modal.toml")
    assert (config["environment"], config["token_id"], config["token_secret"]) == ("dev", "", "")
    monkeypatch.setenv("MODAL_TOKEN_ID", "ak-v")
    assert config["token_id"] == ""
    monkeypatch.setenv("MODAL_SERVER_URL", "https://api.modal.com")
    assert (config["token_id"], config["server_url"]) == ("", "")
    monkeypatch.setenv("MODAL_SERVER_URL", "https://gpu.example.org:8443")
    assert (config["token_id"], config["server_url"]) == ("ak-v", "https://gpu.example.org:8443")
    write("[mine]\n")  # our own file, however little it says, is the one that counts
    assert config["environment"] == ""


def test_what_is_written_keeps_the_rest_and_is_for_the_owner_alone(monkeypatch, tmp_path):
    path = profiles.store("work", {"token_id": 'a"\\b', "token_secret": "s3cret é"}, activate=False)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (config["token_id"], config["token_secret"]) == ('a"\\b', "s3cret é")
    text = "# mine\n\n" + path.read_text().replace("[work]", "[work]  # the office") + "\n# the end\n[other]\nx = 1\n"
    path.write_text(text)
    profiles.store("work", {"environment": "dev", "token_id": "new"}, activate=False)
    profiles.store("third.one", {"server_url": "https://h"}, activate=True)
    found = path.read_text()
    assert all(line in found for line in ("# mine", "[work]  # the office", "# the end", "x = 1"))
    known = profiles.tables(path)
    assert [name for name, table in known.items() if profiles.is_active(table)] == ["third.one"]
    assert known["work"] == {"token_id": "new", "token_secret": "s3cret é", "environment": "dev"}
    profiles.store("work", {"token_secret": None}, activate=True)
    assert profiles.tables(path)["work"] == {"token_id": "new", "environment": "dev", "active": True}
    # A link stays one; a file that cannot be understood is not written over; nothing is left behind.
    real = tmp_path / "real.toml"
    path.rename(real)
    path.symlink_to(real)
    profiles.store("work", {"environment": "e"}, activate=False)
    assert path.is_symlink() and "environment = \"e\"" in real.read_text()
    real.write_text("[broken\n")
    with pytest.raises(INVALID, match="line 1"):
        profiles.store("work", {"environment": "f"}, activate=False)
    assert real.read_text() == "[broken\n" and not list(tmp_path.glob(".*toml.*"))
    for name in ("", "a b", "x]\n[y", "-"):
        with pytest.raises(INVALID, match="no name for a profile"):
            profiles.check_name(name)


@pytest.mark.skipif(sys.platform == "win32", reason="folders cannot be locked there")
def test_programs_that_store_at_once_take_nothing_from_each_other():
    program = "import sys; from windlass.config import profiles; sys.stdin.read(); "
    program += "[profiles.store(f'{sys.argv[1]}-{n}', {'token_id': 'ak-1'}, activate=True) for n in range(20)]"
    programs = [subprocess.Popen([sys.executable, "-c", program, name], stdin=subprocess.PIPE) for name in "abcd"]
    for one in programs:
        one.stdin.close()  # they wait for this, so they begin together
    assert [one.wait(60) for one in programs] == [0] * 4
    known = profiles.tables(profiles.ours())
    assert set(known) == {f"{name}-{n}" for name in "abcd" for n in range(20)}
    assert sum(profiles.is_active(table) for table in known.values()) == 1


def test_secrets_are_not_shown():
    profiles.store("p", {"token_id": "ak-1", "token_secret": "hush"}, activate=True)
    assert "hush" not in repr(config) and masked({"token_secret": ""}) == {"token_secret": ""}
    assert config.to_dict()["token_secret"] == "hush"


def test_reading_settings_costs_no_parser_where_there_is_no_file():
    code = (
        "import sys; from windlass.config import config; config['environment']; "
        "print({'tomllib', 'json', 'asyncio', 'tempfile'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

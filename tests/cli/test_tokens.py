"""Tokens and profiles on the command line, against a server in this process's home."""
from __future__ import annotations

import contextlib
import io
import json
import os
import stat
import subprocess
import sys
import threading
import time
import types
import urllib.request
from pathlib import Path
from unittest import mock

import pytest

from windlass import exception
from windlass.cli import __main__ as root
from windlass.cli import flow
from windlass.client import bridge, session

SERVER = """
import asyncio, sys
from pathlib import Path
from windlass.server import compose, settings

async def main():
    async with compose.server(settings.Settings(home=Path(sys.argv[1]), web_port=0)) as core:
        print(core.web.port, flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def standing(tmp_path_factory):
    """A server without a worker, and a folder for a laptop's settings."""
    home = tmp_path_factory.mktemp("h")
    server = subprocess.Popen([sys.executable, "-c", SERVER, str(home)], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    port = int(server.stdout.readline())
    laptop = home / "laptop"
    laptop.mkdir()
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("WINDLASS", "MODAL"))}
    yield Standing({**kept, "WINDLASS_HOME": str(home), "HOME": str(laptop)}, port, laptop)
    server.kill()
    server.wait()


class Standing:
    def __init__(self, environ: dict[str, str], port: int, laptop: Path) -> None:
        self.environ, self.port, self.laptop = environ, port, laptop

    def run(self, *words: str, stdin: str = "", code: int = 0, **environ: str) -> str:
        """One command in this process, as somebody with these variables and none of our connections."""
        out = io.StringIO()
        bridge.run(_hang_up())  # of tests before, too
        with (
            mock.patch.dict(os.environ, {**self.environ, **environ}, clear=True),
            mock.patch.object(sys, "stdin", io.StringIO(stdin)),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(out),
        ):
            ended = root.execute(list(words))
            bridge.run(_hang_up())
        assert ended == code, (words, out.getvalue())
        return out.getvalue()

    def rows(self, *words: str, **environ: str) -> list[dict]:
        return json.loads(self.run(*words, "--json", **environ))


async def _hang_up() -> None:
    if session._current is not None:
        await session._current.close()


def test_from_the_platforms_command_line_to_a_laptop_that_may_only_look(standing):
    said = standing.run("token", "create", "vic", "--role", "viewer", "--expires-in", "7d")
    (line,) = [line.strip() for line in said.splitlines() if "token set" in line]
    command, secret = line.split(" <<< ")
    assert secret.startswith("as-") and secret not in command
    socket = f"unix:{standing.environ['WINDLASS_HOME']}/run/server.sock"
    said = standing.run(*command.split()[1:], "--server", socket, "--profile", "team", stdin=secret + "\n")
    assert "vic, viewer in workspace local" in said and secret not in said
    path = standing.laptop / ".windlass.toml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and secret in path.read_text()
    shown = json.loads(standing.run("config", "show"))
    assert shown["token_secret"] == "***" and shown["token_id"].startswith("ak-") and shown["server_url"] == socket
    assert json.loads(standing.run("config", "show", "--no-redact"))["token_secret"] == secret
    assert "vic" in standing.run("token", "info")
    said = standing.run("secret", "create", "key", "A=1", code=1)
    assert "needs the role contributor in environment 'main'" in said and "Hint" in said
    assert standing.rows("profile", "list") == [{"profile": "team", "workspace": "local", "active": True}]
    # The owner of the machine, who has a profile of their own.
    owner = {"HOME": str(standing.laptop.parent)}
    assert "local" in standing.run("token", "info", **owner)
    made = standing.rows("workspace", "members", "list", **owner)
    assert [(one["name"], one["role"], one["valid_tokens"]) for one in made] == [("vic", "viewer", 1)]
    standing.run("environment", "create", "prod", "--restricted", **owner)
    assert [one["name"] for one in standing.rows("environment", "list")] == ["main"]
    standing.run("environment", "roles", "update", "prod", "vic", "--role", "contributor", **owner)
    assert standing.rows("environment", "roles", "list", "prod", **owner) == [
        {"member": "vic", "role": "contributor", "own": True}
    ]
    assert "prod now" in standing.run("config", "set-environment", "prod")
    standing.run("secret", "create", "key", "A=1")
    assert "no environment 'none'" in standing.run("config", "set-environment", "none", code=1)
    log = standing.rows("workspace", "audit", **owner)
    assert ("vic", "secret.store", "denied") in [(one["who"], one["action"], one["outcome"]) for one in log]
    # Another secret, and the end.
    standing.run("token", "rotate")
    assert secret not in path.read_text() and "vic" in standing.run("token", "info")
    (token,) = standing.rows("token", "list")
    standing.run("token", "revoke", token["token_id"], "--yes", **owner)
    said = standing.run("app", "list", code=1)
    assert "revoked" in said and "windlass token new" in said
    path.unlink()


def test_on_the_platforms_own_machine_a_token_needs_nobodys_consent(standing):
    said = standing.run("setup", "--profile", "mine")
    assert "The token is valid" in said and standing.run("profile", "current") == "mine\n"
    said = standing.run("token", "new", "--profile", "more", "--no-activate", "--expires-in", "1h")
    assert standing.run("profile", "current") == "mine\n"
    assert {one["profile"] for one in standing.rows("profile", "list")} == {"mine", "more"}
    standing.run("profile", "activate", "more")
    # Also where the token of now is good for nothing any more.
    valid = [one for one in standing.rows("token", "list") if one["state"] == "valid"]
    (gone,) = [one["token_id"] for one in valid if one["expires_at"] is not None]
    standing.run("token", "revoke", gone, "--yes")
    assert "revoked" in standing.run("token", "info", code=1)
    said = standing.run("token", "new", "--profile", "more", "--delete-existing", "--expires-in", "2h")
    assert f"Revoked {gone}" in said
    assert '"expires_at": null' not in standing.run("token", "info", "--json")
    assert "Make it" not in standing.run("--profile", "mine", "token", "info")
    assert "no profile 'x'" in standing.run("profile", "activate", "x", code=1)
    said = standing.run("--profile", "x", "app", "list", code=1)
    assert "no profile 'x'" in said and "windlass token set --profile x" in said
    said = standing.run("config", "set", "token_secret", "as-1", code=1)
    assert "token set" in said
    standing.run("config", "set", "logs_timeout", "3")
    assert '"logs_timeout": 3.0' in standing.run("config", "show")
    assert "wrong value" in standing.run("config", "set", "logs_timeout", "x", code=1)
    path = standing.laptop / ".windlass.toml"
    path.write_text("[mine\n")
    said = standing.run("app", "list", code=1)
    assert f"{path} is malformed" in said and "line 1" in said
    path.unlink()


def test_who_asks_from_elsewhere_waits_for_somebody_who_approves(standing):
    from urllib import error, request

    url = f"http://127.0.0.1:{standing.port}"
    found: list = []
    asking = threading.Thread(target=lambda: found.append(flow.run(url, "", name="mia", expires_in=3600.0)))
    pages: list[str] = []
    post = flow._Platform.post

    def noted(self, path, body, *, secret=""):
        answer = post(self, path, body, secret=secret)
        if "page" in answer[1]:
            pages.append(answer[1]["page"] + " " + answer[1]["code"])
            begun.set()
        return answer

    begun = threading.Event()
    flow._Platform.post = noted  # type: ignore[method-assign]
    try:
        asking.start()
        assert begun.wait(10)
    finally:
        flow._Platform.post = post  # type: ignore[method-assign]
    page, code = pages[0].split()
    with request.urlopen(url + page) as answer:
        text = answer.read().decode()
    assert code in text and "mia" in text and "default-src 'none'" in answer.headers["Content-Security-Policy"]
    with pytest.raises(exception.AuthError, match="not who asked"):
        flow._Platform(url, "").post(f"{page}/wait", {}, secret="guess")
    with pytest.raises(exception.NotFoundError):
        flow._Platform(url, "").post("/-/token/flows/tf-1/wait", {}, secret="guess")
    with pytest.raises(exception.InvalidError):
        flow._Platform(url, "").post("/-/token/flows", {"callback": "http://evil.example/"})
    with pytest.raises(error.HTTPError):
        request.urlopen(url + "/-/token/other")
    said = standing.run("token", "approve", code.lower(), "--role", "viewer", "--yes")
    assert "mia has a token now, and is a viewer" in said
    asking.join(10)
    assert found[0]["name"] == "mia" and found[0]["secret"].startswith("as-") and found[0]["expires_at"] is not None
    assert "nobody waits" in standing.run("token", "approve", code, "--yes", code=1)
    asked = {"name": "mia", "callback": "", "expires_in": None}
    again = flow._Platform(url, "").post("/-/token/flows", asked)[1]["code"]
    assert "--name mia" in standing.run("token", "approve", again, "--yes", code=1), "anybody can say that name"
    assert "mia has a token now" in standing.run("token", "approve", again, "--name", "mia", "--yes")
    with request.urlopen(url + page) as answer:
        assert "approved" in answer.read().decode()
    said = standing.run(
        "token", "set", "--token-id", found[0]["token_id"], stdin=found[0]["secret"] + "\n", HOME=str(standing.laptop)
    )
    assert "mia, viewer" in said
    with pytest.raises(exception.ConnectionError, match="does not answer"):
        flow.run("http://127.0.0.1:9", "", name="x", expires_in=None)


def test_a_script_gets_all_that_the_other_machine_must_be_told(standing, tmp_path):
    (made,) = standing.rows("token", "create", "ci", "--role", "service", HOME=str(tmp_path))
    assert {"token_id", "secret", "server", "fingerprint"} <= set(made)


def test_a_browser_that_comes_back_after_the_token_is_still_answered(monkeypatch):
    body: dict = {}
    pages: list[bytes] = []
    browsers: list[threading.Thread] = []

    class Platform:
        base = "https://there:1"

        def __init__(self, url: str, fingerprint: str) -> None:
            pass

        def post(self, path: str, said: dict, *, secret: str = "") -> tuple[int, dict]:
            body.update(said)
            return 200, {"code": "ABCD-EFGH", "page": "/page", "flow": "tf-1", "secret": "s", "token_id": "ak-1"}

    def browse(page: str) -> bool:
        assert page == "https://there:1/page"

        def later() -> None:
            time.sleep(0.3)  # the token has been given long since
            with urllib.request.urlopen(body["callback"], timeout=5) as answer:
                pages.append(answer.read())

        browsers.append(threading.Thread(target=later))
        browsers[0].start()
        return True

    monkeypatch.setattr(flow, "_Platform", Platform)
    monkeypatch.setattr(flow, "_opened", browse)
    monkeypatch.setattr("sys.stdout", types.SimpleNamespace(isatty=lambda: True, write=len, flush=bool))
    assert flow.run("https://there:1", "", name="ada", expires_in=None)["token_id"] == "ak-1"
    browsers[0].join(10)  # the page was sent before the flow ended; reading it is the browser's own time
    assert pages == [b"The token is there. You may close this page.\n"]

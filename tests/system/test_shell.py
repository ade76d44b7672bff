"""Shells and commands in what runs, from a terminal and through pipes; and what `windlass launch` makes of images."""

from __future__ import annotations

import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

import windlass
from stage import Stage, until
from typist import Typist
from windlass import exception

SOURCE = """
import time
import modal
image = modal.Image.debian_slim().env({"OF_IMAGE": "kept"})
app = modal.App("test-shell", image=image, secrets=[modal.Secret.from_dict({"OF_APP": "secret"})])

@app.function(memory=(100, 200), env={"OF_FUNCTION": "too"})
def nap(): time.sleep(300)

@app.cls(block_network=True)
class Naps:
    @modal.method()
    def nap(self): time.sleep(300)

@app.local_entrypoint()
def main(): nap.remote()
"""
ATTACHED = r"""
import sys, windlass
LOOK = "echo ask; while [ \"$(stty size)\" != '21 71' ]; do sleep 0.1; done; echo right; exit 7"
process = windlass.Sandbox.from_id(sys.argv[1]).exec("sh", "-c", LOOK, pty=True)
process.attach()
print("code", process.returncode)
"""
JUPYTER = r"""#!/usr/bin/env python3
import http.server, os, sys
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/lab?token=" + os.environ["JUPYTER_TOKEN"] else 403)
        self.end_headers()
        self.wfile.write(" ".join(sys.argv[1:] + os.listdir(".") + os.listdir("mount")).encode())
        if self.path == "/shutdown": os._exit(0)
http.server.ThreadingHTTPServer(("0.0.0.0", 8888), Page).serve_forever()
"""


@pytest.fixture(scope="module")
def shared(stage: Stage) -> Iterator[windlass.Sandbox]:
    stage.base()
    app = windlass.App.lookup("test-shell-sandboxes", create_if_missing=True)
    sandbox = windlass.Sandbox.create(app=app, timeout=600)
    yield sandbox
    sandbox.terminate(wait=True)


@pytest.fixture
def typed(stage: Stage) -> Iterator[list[Typist]]:
    """Those at terminals, closed at the end."""
    opened: list[Typist] = []
    yield opened
    for one in opened:
        one.close()


def resized(one: Typist, rows: int, cols: int) -> None:
    one.resize(rows, cols)
    os.kill(one.process.pid, signal.SIGWINCH)  # no terminal of its own session does it for us


def test_a_shell_at_a_terminal_follows_the_window_and_hands_on_ctrl_c(stage, shared, typed):
    typed.append(Typist(stage, "shell", shared.object_id))
    shell = typed[0]
    shell.types("echo size $(stty size) in $MODAL_SANDBOX_ID\r")
    shell.sees(f"size 33 99 in {shared.object_id}")
    resized(shell, 20, 70)
    # "exec": dash overlooks an interrupt that comes while it starts another program.
    shell.types("while [ \"$(stty size)\" != '20 70' ]; do sleep 0.1; done; sh -c 'echo seen; exec sleep 100'\r")
    shell.sees("seen\r\n")
    shell.types("\x03")
    shell.sees("^C")  # the terminal throws away what it has not handed on then
    shell.types("echo code $?; exit 5\r")
    shell.sees("code 130")
    assert shell.leaves() == 5


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_shell_whose_terminal_is_closed_leaves_nothing_behind(shared, stage, typed, number):
    typed.append(Typist(stage, "shell", shared.object_id, "--cmd", "echo here; sleep 4711"))
    typed[0].sees("here")
    os.kill(typed[0].process.pid, number)
    assert typed[0].leaves() == 130
    look = "for each in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < $each; done 2>/dev/null | grep -c 'sleep 471[1]'"
    until(lambda: shared.exec("sh", "-c", look).stdout.read() == "0\n", what="the end of what it ran")


def test_a_program_attaches_its_own_terminal(stage, shared, typed, tmp_path):
    (tmp_path / "attached.py").write_text(ATTACHED)
    typed.append(Typist(stage, str(tmp_path / "attached.py"), shared.object_id, program=[sys.executable]))
    typed[0].sees("ask")
    typed[0].resize(21, 71)
    typed[0].sees("right")
    typed[0].sees("code 7")
    assert typed[0].leaves() == 0


def test_a_terminal_can_be_resized_without_one_of_ones_own(shared):
    process = shared.exec("sh", "-c", "read a; stty size", pty=True)
    process.resize(44, 111)
    process.stdin.write("\n")
    process.stdin.drain()
    assert "44 111" in process.stdout.read()
    with pytest.raises(exception.InvalidError, match="rows"):
        process.resize(0, 80)


def test_a_shell_has_what_its_function_has(stage, program):
    file = program("shells.py", SOURCE)
    said = "echo $OF_IMAGE $OF_APP $OF_FUNCTION $MODAL_ENVIRONMENT; cat"
    ran = stage.cli("shell", f"{file}::nap", "--env", "main", "--cmd", said, stdin="piped", check=0)
    assert ran.out.endswith("kept secret too main\npiped")
    ran = stage.cli("shell", f"{file}::Naps.nap", "-c", "ls /sys/class/net; exit 3", check=3)
    assert ran.out.split() == ["lo"]
    image = windlass.Image.debian_slim().build(windlass.App.lookup("test-shell-sandboxes"))
    assert stage.cli("shell", image.object_id, "-c", "echo by id", check=0).out == "by id\n"
    assert "names no function" in stage.cli("shell", f"{file}::main", check=2).text


def test_commands_in_a_container_and_those_that_do_not_exist(stage, program, shared):
    with stage.background("run", str(program("shells.py", SOURCE))):
        identity = until(lambda: running(stage), 40, "a running container")
        ran = stage.cli("container", "exec", identity, "no-such-program", check=1)
        assert "no program 'no-such-program' in the container" in ran.err and "runc" not in ran.text
        assert ran.out == ""
        assert stage.cli("container", "exec", identity, "sh", "-c", "echo $OF_FUNCTION; exit 4", check=4).out == "too\n"
        assert stage.cli("shell", identity, "-c", "echo $OF_FUNCTION", check=0).out == "too\n"
        look = "import shells, modal; print(shells.app.name, modal.__name__)"
        assert stage.cli("container", "exec", identity, "python3", "-c", look, check=0).out.endswith(" windlass\n")
        assert stage.cli("shell", identity, "--cpu", "1").code == 2
    stage.cli("shell", shared.object_id, "-c", "no-such-program", check=127)
    assert stage.cli("container", "exec", shared.object_id, "echo", "in", check=0).out == "in\n"
    assert stage.cli("container", "logs", shared.object_id, check=0).out == ""
    assert stage.cli("container", "logs", "im-" + "0" * 22).code == 1
    ran = stage.cli("sandbox", "exec", shared.object_id, "no-such-program", check=1)
    assert "no-such-program" in ran.err
    assert stage.cli("shell", f"{shared.object_id}:other", check=1).err
    assert stage.cli("shell", f"{shared.object_id}:main", "-c", "echo main", check=0).out == "main\n"


def running(stage: Stage) -> str:
    """The container of the app, once it runs."""
    apps = [app["app_id"] for app in stage.apps("test-shell") if app["state"] not in ("stopping", "stopped")]
    found = [one for app in apps for one in stage.containers(app) if one["start_time"] != "Pending"]
    return str(found[0]["container_id"]) if found else ""


def answered(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=10) as said:
            return said.status, said.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, ""


def test_jupyter_is_launched_behind_a_tunnel_with_a_token(stage, shared, tmp_path):
    (tmp_path / "jupyter").write_text(JUPYTER)
    (tmp_path / "jupyter").chmod(0o755)
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "file.txt").write_text("x")
    app = windlass.App.lookup("test-shell-sandboxes")
    image = windlass.Image.debian_slim().add_local_file(tmp_path / "jupyter", "/usr/local/bin/jupyter", copy=True)
    identity = image.run_commands("chmod 755 /usr/local/bin/jupyter").build(app).object_id
    asked = ["--image", identity, "--mount", str(tmp_path / "given"), "--memory", "200", "--volume", "test-launched"]
    ran = stage.cli("launch", "jupyter", *asked, "--detach", check=0)
    url = next(word for word in ran.out.split() if "token=" in word)
    code, said = answered(url)
    assert code == 200 and "lab" in said and url.rpartition("=")[2] not in said
    assert {"mount", "volume", "file.txt"} <= set(said.split())
    assert answered(url[:-1])[0] == 403
    sandbox = next(word for word in ran.out.replace(";", " ").split() if word.startswith("sb-"))
    stage.cli("sandbox", "terminate", sandbox, "--yes", check=0)
    with stage.background("launch", "jupyter", "--image", identity, "--mount", str(tmp_path / "given")) as attached:
        assert attached.stdout is not None
        url = next(line.strip() for line in attached.stdout if "token=" in line)
        with pytest.raises(OSError):
            answered(url.partition("/lab")[0] + "/shutdown")
            answered(url)
        assert attached.wait(20) == 0, "it ends with its server"


def test_what_cannot_be_launched_says_what_is_missing(stage, shared):
    image = windlass.Image.debian_slim().build(windlass.App.lookup("test-shell-sandboxes")).object_id
    ran = stage.cli("launch", "vscode", "--image", image, check=1)
    assert "VS Code" in ran.err and "code-server" in ran.err
    assert stage.cli("launch", "jupyter", "--mount", "/no/such").code == 2
    assert stage.cli("launch", "jupyter", "--image", image, "--add-python", "3.12").code == 2


def test_a_shell_tells_of_the_image_that_it_has_to_build_and_leaves_its_output_alone(stage, tmp_path):
    nonce = os.urandom(4).hex()
    (tmp_path / "fresh.py").write_text(
        "import modal\n"
        f'image = modal.Image.debian_slim().run_commands("echo {nonce} > /fresh")\n'
        'app = modal.App("fresh", image=image)\n'
        "@app.function()\ndef f(): ...\n"
    )
    ran = stage.cli("shell", f"{tmp_path}/fresh.py::f", "--cmd", "cat /fresh", check=0)
    assert ran.out == f"{nonce}\n" and f"echo {nonce}" in ran.err

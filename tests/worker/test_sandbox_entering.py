"""From a prepared list of calls to a command. The walls themselves are proved by ``system/test_sandbox_walls.py``."""

from __future__ import annotations

import errno
import json
import os
import platform

import pytest

from windlass.worker.sandboxes import entering
from windlass.worker.snapshots import mounting

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the calls are those of x86-64")


def become(calls: list[mounting.Call], argv: list[str], path: str = os.defpath) -> tuple[int, str]:
    """The exit code, and why it is no command. By a process with one thread, as the starter is: a copy of one with more
    may wait for ever for a lock that another thread had."""
    said, says = os.pipe()
    alone = os.fork()
    if alone == 0:
        try:
            os.write(says, json.dumps(_become(calls, argv, path)).encode())
        finally:
            os._exit(0)
    os.close(says)
    with open(said) as answer:
        code, trouble = json.load(answer)
    os.waitpid(alone, 0)
    return code, trouble


def _become(calls: list[mounting.Call], argv: list[str], path: str) -> tuple[int, str]:
    words, env = entering._words(argv), entering._words(["ONLY=this"])
    say, heard = os.pipe()
    programs = [
        mounting.Call(argv[0], entering._EXECVE, (place, entering.address(words), entering.address(env))).ready()
        for place in entering._places(argv[0], {"PATH": path})
    ]
    pid = entering.Becoming([call.ready() for call in calls], programs, heard, [words, env]).fork()
    os.close(heard)
    trouble = os.read(say, 4096).decode()
    os.close(say)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), trouble


def test_a_program_is_found_as_a_shell_finds_it_and_has_only_its_own_variables():
    assert become([], ["sh", "-c", 'test "$(env | grep -c ONLY=this)" = 1 && exit 7'], "/nowhere:/usr/bin:/bin") == (
        7,
        "",
    )


def test_a_program_that_is_not_there_is_said_so():
    code, trouble = become([], ["no-such-program"])
    assert code == 127 and trouble.startswith(f"{errno.ENOENT} no-such-program: ")


def test_what_may_not_be_run_is_said_before_what_is_not_there(tmp_path):
    (tmp_path / "tool").write_text("")
    _, trouble = become([], ["tool"], f"{tmp_path}:/nowhere")
    assert trouble.startswith(f"{errno.EACCES} tool: ")


def test_after_a_call_that_fails_nothing_is_run():
    code, trouble = become([mounting.Call("its folder", entering._CHDIR, ("/no/such",))], ["true"])
    assert code == 127 and trouble.startswith(f"{errno.ENOENT} its folder: ")

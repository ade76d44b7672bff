"""`windlass run -i`: containers may have the user's terminal, one at a time, and give it back in order."""

from __future__ import annotations

import termios
import time

import pytest

import stage as stages
from typist import Typist

SOURCE = """
import asyncio, subprocess, sys, time
import modal

app = modal.App("test-interactive")

@app.function(timeout=2)
def talk(what="name"):
    print("printed before", flush=True)
    modal.interact()
    answer = input(f"your {what}? ")
    time.sleep(2.5)
    return answer

@app.function()
def stopped_at(a=20):
    x = a + 1
    breakpoint()
    x = x * 2
    return x

@app.function()
async def asynchronous():
    await asyncio.sleep(0)
    modal.interact()
    answer = input("awaited? ")
    await asyncio.sleep(0)
    return answer

@app.function()
def spins():
    modal.interact()
    try:
        print("it spins", flush=True)
        while True: pass
    finally:
        print("cleaned up", flush=True)

@app.function()
def shell():
    modal.interact()
    return subprocess.run(["bash", "--norc", "-i"]).returncode

@app.function()
def floods(count):
    modal.interact()
    for number in range(count): print(f"line {number}")
    return sys.stdin.readline()

@app.local_entrypoint()
def dialogue():
    print("answered", talk.remote())
    print("here", input("and here? "))

@app.local_entrypoint()
def twice():
    print("answers", [talk.remote("first"), talk.remote("second")])

@app.local_entrypoint()
def together():
    print("answers", sorted(talk.map(["one", "other"])))

@app.local_entrypoint()
def debugged(): print("result", stopped_at.remote())

@app.local_entrypoint()
def awaited(): print("result", asynchronous.remote())

@app.local_entrypoint()
def spun(): spins.remote()

@app.local_entrypoint()
def shelled(): print("code", shell.remote())

@app.local_entrypoint()
def flooded(): print("read", repr(floods.remote(20000)))
"""


@pytest.fixture
def terminal(stage, program):
    """``terminal("entrypoint")`` runs it under ``-i``."""
    opened: list[Typist] = []

    def run(entrypoint: str) -> Typist:
        opened.append(Typist(stage, "run", "-i", f"{program('interactive.py', SOURCE)}::{entrypoint}"))
        return opened[-1]

    yield run
    for typist in opened:
        typist.close()


def test_after_interact_input_asks_the_user_and_no_timeout_hurries_him(terminal):
    typist = terminal("dialogue")
    typist.sees("your name? ")
    assert typist.seen.index("printed before") < typist.seen.index("your name?")
    typist.types("Ada\r")
    typist.sees("answered Ada")
    typist.sees("and here? ")
    typist.types("Berlin\r")
    typist.sees("here Berlin")
    assert typist.leaves() == 0, typist.seen


def test_a_container_may_ask_again_for_its_next_input(terminal):
    typist = terminal("twice")
    for what in ("first", "second"):
        typist.sees(f"your {what}? ")
        typist.types(f"{what}!\r")
    typist.sees("answers ['first!', 'second!']")
    assert typist.leaves() == 0, typist.seen


def test_containers_have_the_terminal_one_after_the_other(terminal):
    typist = terminal("together")
    for answer in ("ah", "oh"):
        typist.sees("your ")
        typist.sees("? ")
        typist.types(f"{answer}\r")
    typist.sees("answers ['ah', 'oh']")
    assert typist.leaves() == 0, typist.seen


def test_breakpoint_opens_the_debugger_where_it_stands(terminal):
    typist = terminal("debugged")
    typist.sees("-> x = x * 2")
    typist.types("p x\r")
    typist.sees("21")
    typist.types("n\r")
    typist.sees("-> return x")
    typist.types("!x = 7\r")
    typist.types("c\r")
    typist.sees("result 7")
    assert typist.leaves() == 0, typist.seen


def test_async_functions_may_ask_as_well(terminal):
    typist = terminal("awaited")
    typist.sees("awaited? ")
    typist.types("yes\r")
    typist.sees("result yes")
    assert typist.leaves() == 0, typist.seen


def test_ctrl_c_goes_to_the_function_and_ends_the_run_when_it_does_not_mind(terminal):
    typist = terminal("spun")
    typist.sees("it spins")
    typist.types("\x03")
    typist.sees("cleaned up")
    assert typist.leaves() == 130, typist.seen
    assert "Traceback" not in typist.seen


def test_ctrl_backslash_ends_the_run_whatever_the_function_does(terminal):
    typist = terminal("spun")
    typist.sees("it spins")
    typist.types("\x1c")
    assert typist.leaves() == 130, typist.seen


def test_the_end_of_the_run_is_the_end_of_its_debuggers(stage, terminal):
    typist = terminal("debugged")
    typist.sees("-> x = x * 2")
    app_id = stage.app_id("test-interactive")
    typist.types("\x1c")
    assert typist.leaves() == 130, typist.seen
    stages.until(lambda: not stage.containers(app_id), 8, "its container does not wait for keys")


def test_programs_that_the_function_starts_have_a_real_terminal(terminal):
    typist = terminal("shelled")
    typist.sees("# ")
    typist.types("stty size; tty; sleep 100\r")
    typist.sees("33 99" if hasattr(termios, "tcsetwinsize") else "24 80")
    typist.sees("/dev/pts/0")
    time.sleep(0.5)
    typist.types("\x03")  # for sleep alone
    typist.types("exit 5\r")
    typist.sees("code 5")
    assert typist.leaves() == 0, typist.seen
    assert "no job control" not in typist.seen


def test_much_output_arrives_whole(terminal):
    typist = terminal("flooded")
    typist.sees("line 19999")
    typist.types("go on\r")
    typist.sees("read 'go on\\n'")
    assert typist.leaves() == 0, typist.seen[-2000:]
    assert typist.seen.count("line ") == 20000


def test_a_killed_server_does_not_take_the_terminal_away(stage, terminal):
    typist = terminal("debugged")
    typist.sees("-> x = x * 2")
    stage.kill("server")
    typist.sees("has the terminal now", 30)
    typist.types("p 'still ' + 'here'\r")
    typist.sees("still here")
    typist.types("c\r")
    typist.sees("result 42")
    assert typist.leaves() == 0, typist.seen


def test_what_is_piped_in_is_typed(stage, program):
    ran = stage.cli("run", "-i", f"{program('interactive.py', SOURCE)}::talk", stdin="Ada\n", check=0)
    assert "your name?" in ran.out


@pytest.mark.parametrize("function", ["talk", "stopped_at"])
def test_without_i_there_is_no_terminal_and_the_error_says_how_to_get_one(stage, program, function):
    ran = stage.cli("run", f"{program('interactive.py', SOURCE)}::{function}", check=1)
    assert "run -i" in ran.err

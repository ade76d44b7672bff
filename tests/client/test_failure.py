from __future__ import annotations

import pickle
import traceback

import pytest

from windlass import exception
from windlass.client import failure


class Mine(Exception):
    pass


FRAMES = [
    {"file": "/root/job.py", "line": 7, "name": "outer", "text": "    inner(x)"},
    {"file": "/root/job.py", "line": 3, "name": "inner", "text": "    raise Mine(x)"},
]


def test_the_own_type_comes_back_with_the_remote_lines_in_its_traceback():
    output = {"status": "failure", "failure": {"kind": "Mine", "frames": FRAMES, "traceback": "text"}}
    error = failure.rebuild(output, pickle.dumps(Mine(5)))
    assert isinstance(error, Mine)
    try:
        raise error
    except Mine as caught:
        shown = "".join(traceback.format_exception(type(caught), caught, caught.__traceback__))
    assert 'File "/root/job.py", line 7, in outer\n    inner(x)\n' in shown
    last = f'File "/root/job.py", line 3, in inner\n    raise Mine(x)\n{Mine.__module__}.Mine: 5'
    assert shown.rstrip().endswith(last)
    assert "^" not in shown.split("/root/job.py", 1)[1]


def test_causes_are_shown_as_text():
    link = "The above exception was the direct cause of the following exception:"
    text = f"Traceback: first\nKeyError\n\n{link}\n\nsecond"
    output = {"status": "failure", "failure": {"kind": "Mine", "frames": FRAMES, "traceback": text}}
    error = failure.rebuild(output, pickle.dumps(Mine(5)))
    assert "KeyError" in str(error.__cause__)
    assert "second" not in str(error.__cause__)


def test_an_exception_without_frames_of_the_program_is_shown_once():
    """Such as that of a call with too many arguments."""
    wrong = TypeError("f() takes 1 positional argument but 2 were given")
    text = "".join(traceback.format_exception_only(wrong))
    output = {"status": "failure", "failure": {"kind": "TypeError", "frames": [], "traceback": text}}
    assert failure.rebuild(output, pickle.dumps(wrong)).__cause__ is None
    output["failure"]["traceback"] = f"what led to it\n{text}"
    assert "what led to it" in str(failure.rebuild(output, pickle.dumps(wrong)).__cause__)


@pytest.mark.parametrize("data", [None, b"broken", pickle.dumps("no exception")])
def test_what_cannot_be_rebuilt_is_an_execution_error_with_the_remote_traceback(data):
    output = {"status": "failure", "failure": {"kind": "lib.Odd", "repr": "Odd(1)", "traceback": "line 9"}}
    error = failure.rebuild(output, data)
    assert isinstance(error, exception.ExecutionError)
    assert "lib.Odd" in str(error)
    assert "line 9" in str(error)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("timeout", exception.FunctionTimeoutError),
        ("crash", exception.RemoteError),
        ("init_failure", exception.RemoteError),
        ("internal", exception.InternalFailure),
    ],
)
def test_what_no_user_code_raised_has_a_type_of_ours_and_the_reason(status, kind):
    error = failure.rebuild({"status": status, "failure": {"reason": "because"}}, None)
    assert type(error) is kind
    assert str(error) == "because"


def test_who_ran_out_of_time_or_memory_hears_how_to_get_more():
    late = failure.rebuild({"status": "timeout", "failure": {"reason": "too long"}}, None)
    assert "timeout=" in late.hint
    exit = {"reason": "oom", "memory_peak": 5, "memory_limit": 5}
    large = failure.rebuild({"status": "crash", "failure": {"reason": "too much", "exit": exit}}, None)
    assert "memory=" in large.hint and large.exit == exit
    gone = failure.rebuild({"status": "crash", "failure": {"reason": "gone", "exit": {"reason": "lost"}}}, None)
    assert gone.hint == ""


def test_a_cancelled_input_says_so_and_by_what():
    error = failure.rebuild({"status": "terminated", "failure": {"reason": "the app was stopped"}}, None)
    assert str(error) == "the input was cancelled before it ended: the app was stopped"

"""What `windlass run` was asked for."""
from __future__ import annotations

import io
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from windlass import exception
from windlass.cli import failure, reference, shell

Write = Callable[[str, str], str]


@pytest.fixture(autouse=True)
def _untouched_imports() -> Iterator[None]:
    path, modules = [*sys.path], {*sys.modules}
    yield
    sys.path[:] = path
    for name in {*sys.modules} - modules:
        if not name.startswith("windlass"):
            del sys.modules[name]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, source: str) -> str:
        (tmp_path / name).write_text(source)
        return str(tmp_path / name)

    return write


def chosen(text: str) -> Any:
    wanted = reference.parse(text)
    with reference.load(wanted) as module:
        return reference.choose(module, wanted)


@pytest.mark.parametrize(
    ("text", "hint"),
    [("a.py:f", "a.py::f"), ("a.py::", "a.py"), ("pkg.mod", "-m pkg.mod"), ("my.job.py", "my_job.py")],
)
def test_what_cannot_be_a_reference_is_refused_with_what_was_meant(text: str, hint: str) -> None:
    with pytest.raises(exception.InvalidError) as caught:
        reference.parse(text)
    assert hint in caught.value.hint


@pytest.mark.parametrize(("text", "hint"), [("hello", "`hello.py`"), ("hello:f", "`hello.py::f`")])
def test_a_file_whose_suffix_was_left_out_is_proposed(text: str, hint: str, write: Write, monkeypatch: Any) -> None:
    monkeypatch.chdir(Path(write("hello.py", "")).parent)
    with pytest.raises(exception.InvalidError) as caught:
        reference.parse(text)
    assert hint in caught.value.hint


def test_a_missing_file_proposes_a_close_name(write: Write) -> None:
    path = write("job.py", "")
    with pytest.raises(exception.NotFoundError) as caught:
        chosen(path.replace("job", "jbo"))
    assert "job.py" in caught.value.hint


def test_a_missing_file_proposes_no_name_that_shares_only_its_suffix(write: Write) -> None:
    path = write("jobs.py", "")
    with pytest.raises(exception.NotFoundError) as caught:
        chosen(path.replace("jobs", "nosuch"))
    assert "jobs" not in caught.value.hint


def test_a_script_on_stdin_is_called_so(monkeypatch: Any) -> None:
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=io.BytesIO(b"x = 1")))
    with pytest.raises(exception.NotFoundError, match=r"^The script on stdin defines no app"):
        chosen("-")


def test_a_missing_module_is_not_confused_with_one_that_it_imports(write: Write, monkeypatch: Any) -> None:
    monkeypatch.chdir(Path(write("needs_other.py", "import no_such_module_at_all")).parent)
    with pytest.raises(failure.UserCodeError) as caught:
        with reference.load(reference.parse("needs_other", is_module=True)):
            pass
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)
    with pytest.raises(failure.UserCodeError) as caught:
        with reference.load(reference.parse("no_such.module", is_module=True)):
            pass
    assert isinstance(caught.value.__cause__, exception.NotFoundError)


def test_a_syntax_error_is_the_users(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(failure.UserCodeError) as caught:
        chosen(write("broken.py", "def f(:\n"))
    failure.show(caught.value)
    err = capsys.readouterr().err
    assert "SyntaxError" in err and "broken.py" in err and "Traceback" not in err


APP = "import windlass\napp = windlass.App('x')\n"


def test_the_modules_entrypoint_wins_over_its_functions(write: Write) -> None:
    source = APP + "@app.function()\ndef f(): ...\n@app.local_entrypoint()\ndef main(): ...\n"
    assert chosen(write("a1.py", source)).raw_f.__name__ == "main"


def test_the_only_function_is_taken(write: Write) -> None:
    assert chosen(write("a2.py", APP + "@app.function()\ndef f(): ...\ng = f\n")).tag == "f"


def test_several_candidates_are_listed(write: Write) -> None:
    path = write("a3.py", APP + "@app.function()\ndef f(): ...\n@app.function()\ndef g(): ...\n")
    with pytest.raises(exception.InvalidError, match=r"f, g") as caught:
        chosen(path)
    assert f"{path}::f" in caught.value.hint
    assert chosen(path + "::g").tag == "g" and chosen(path + "::app.f").tag == "f"


def test_an_unknown_name_proposes_a_close_one(write: Write) -> None:
    path = write("a4.py", APP + "@app.function()\ndef square(): ...\nother = 1\n")
    with pytest.raises(exception.NotFoundError) as caught:
        chosen(path + "::sqare")
    assert "square" in caught.value.hint
    with pytest.raises(exception.InvalidError, match="is an int"):
        chosen(path + "::other")


def test_a_file_without_an_app_says_what_it_needs(write: Write) -> None:
    with pytest.raises(exception.NotFoundError, match="no app"):
        chosen(write("a5.py", "x = 1\n"))


CLASS = APP + (
    "@app.cls()\nclass M:\n    size: int = windlass.parameter(default=1)\n"
    "    @windlass.method()\n    def get(self): ...\n"
)


def test_the_only_method_of_the_only_class_is_taken(write: Write) -> None:
    path = write("c1.py", CLASS)
    for text in (path, path + "::M", path + "::M.get", path + "::app.M.get", path + "::app.M"):
        found = chosen(text)
        assert isinstance(found, reference.Method) and found.name == "get", text
    with pytest.raises(exception.NotFoundError) as caught:
        chosen(path + "::M.gett")
    assert "M.get" in caught.value.hint


def test_methods_are_candidates_beside_functions(write: Write) -> None:
    more = "    @windlass.method()\n    def put(self): ...\n@app.function()\ndef f(): ...\n"
    path = write("c2.py", CLASS + more)
    with pytest.raises(exception.InvalidError, match=r"M\.get, M\.put, f"):
        chosen(path)
    with pytest.raises(exception.InvalidError, match="2 methods"):
        chosen(path + "::M")


def test_a_class_without_methods_has_nothing_to_run(write: Write) -> None:
    path = write("c3.py", APP + "@app.cls()\nclass M: ...\n")
    with pytest.raises(exception.NotFoundError, match="nothing to run"):
        chosen(path)
    with pytest.raises(exception.InvalidError, match="0 methods"):
        chosen(path + "::M")


def app_of(text: str) -> Any:
    wanted = reference.parse(text)
    with reference.load(wanted) as module:
        return reference.choose_app(module, wanted)


def test_the_app_to_deploy_is_named_or_called_app_or_the_only_one(write: Write) -> None:
    several = write("deploy_several.py", "import windlass\napp = windlass.App('a')\nother = windlass.App('b')\nn = 1\n")
    assert (app_of(several).name, app_of(several + "::other").name) == ("a", "b")
    assert app_of(write("deploy_single.py", "import windlass\nshop = windlass.App('s')\nsame = shop\n")).name == "s"
    with pytest.raises(exception.NotFoundError) as caught:
        app_of(several + "::othr")
    assert "deploy_several.py::other" in caught.value.hint
    with pytest.raises(exception.InvalidError, match="int, not an app"):
        app_of(several + "::n")
    unclear = write("deploy_unclear.py", "import windlass\nx = windlass.App('x')\ny = windlass.App('y')\n")
    with pytest.raises(exception.NotFoundError):
        app_of(unclear)
    with pytest.raises(exception.NotFoundError) as caught:
        app_of(write("deploy_nothing.py", "x = 1\n"))
    assert "modal.App" in caught.value.hint


def test_two_apps_of_one_name_in_one_file_are_refused(write: Write) -> None:
    begin = "import windlass\nfirst = windlass.App('shop')\nalias = first\nsecond = windlass.App('shop')\n"
    empty = write("one_and_empty.py", begin + "@first.function()\ndef f(): ...\n")
    assert chosen(empty).tag == "f"
    both = write("both.py", begin + "@first.function()\ndef f(): ...\n@second.function()\ndef g(): ...\n")
    with pytest.raises(exception.InvalidError, match="two apps named 'shop'"):
        chosen(both)


@pytest.mark.parametrize("word", ["im-nope", "sb-3kTMd84yYpZq0vXWb1sRN", "ta-"])
def test_an_id_that_a_shell_gets_in_part_is_not_looked_for_among_files(word: str, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(exception.InvalidError, match="is no id of"):
        shell._no_broken_id(word)
    (tmp_path / word).touch()
    shell._no_broken_id(word)
    shell._no_broken_id(f"{word}.py::f")

from __future__ import annotations

import subprocess
import sys
import textwrap

import cloudpickle
import pytest

from windlass import exception
from windlass.client import source


def top(x):
    return x + OFFSET


OFFSET = 5


def describe(folder, *argv):
    """What a program says of its own function."""
    done = subprocess.run([sys.executable, *argv], capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


BODY = textwrap.dedent(
    """
    from windlass.client import source
    def f(): ...
    s = source.Source(f, serialized=False, is_generator=None)
    print(s.definition, s.module, s.package, sorted(path for m in s.mounts() for path in m.files()))
    """
)


def test_a_script_is_shipped_as_one_file(tmp_path):
    (tmp_path / "job.py").write_text(BODY)
    assert describe(tmp_path, "job.py") == "file job  ['root/job.py']"


def test_a_module_run_by_its_name_is_shipped_as_one_file(tmp_path):
    (tmp_path / "job.py").write_text(BODY)
    assert describe(tmp_path, "-m", "job") == "file job  ['root/job.py']"


def test_a_package_is_shipped_whole_from_its_top(tmp_path):
    inner = tmp_path / "pkg" / "inner"
    inner.mkdir(parents=True)
    for folder in (inner.parent, inner):
        (folder / "__init__.py").write_text("")
    (inner / "mod.py").write_text(BODY)
    (inner.parent / "data.txt").write_text("x")
    shown = describe(tmp_path, "-m", "pkg.inner.mod")
    assert shown == (
        "package pkg.inner.mod pkg ['root/pkg/__init__.py', 'root/pkg/data.txt', 'root/pkg/inner/__init__.py', "
        "'root/pkg/inner/mod.py']"
    )


def test_what_is_typed_at_a_prompt_is_pickled(tmp_path):
    assert describe(tmp_path, "-c", BODY) == "serialized __main__  []"


def test_a_script_on_stdin_has_no_file_to_ship(tmp_path):
    done = subprocess.run([sys.executable, "-"], input=BODY, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.strip() == "serialized __main__  []"


def test_pickled_functions_carry_their_module_along():
    made = source.Source(top, serialized=True, is_generator=None)
    data = made.pickled("f")
    code = f"import pickle; print(pickle.loads({data!r})(1))"
    path = f"import sys; sys.path[:0] = [{str(cloudpickle.__path__[0]).rsplit('/', 1)[0]!r}];"
    shown = subprocess.run([sys.executable, "-c", path + code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "6"


def test_large_closures_warn_and_larger_ones_are_refused():
    some, much = bytes(source.WARN_SIZE + 1), bytes(source.MAX_SIZE + 1)
    with pytest.warns(UserWarning, match="large data"):
        source.Source(lambda: some, serialized=True, is_generator=None).pickled("f")
    with pytest.raises(exception.InvalidError, match="limit"):
        source.Source(lambda: much, serialized=True, is_generator=None).pickled("f")

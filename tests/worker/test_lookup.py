"""Programs of a container, looked for before they are started; here the container is this test's own process."""
from __future__ import annotations

import os

import pytest

from windlass import exception
from windlass.worker import lookup


def test_programs_are_found_by_path_and_by_name():
    for name in ("/bin/sh", "sh", "relative/path/that/only/the/command/knows"):
        lookup.check(os.getpid(), name)


@pytest.mark.parametrize("name", ["no-such-program", "/no/such", "/etc/passwd", "/etc", "", "/bin/sh/x"])
def test_what_is_none_is_refused(name):
    with pytest.raises(exception.InvalidError, match="no program"):
        lookup.check(os.getpid(), name)


def test_a_container_that_has_ended_is_not_said_to_lack_it():
    lookup.check(2**22 + 1, "sh")

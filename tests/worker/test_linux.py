"""What the standard library does not offer, or not for everything."""

from __future__ import annotations

import os
import resource

from windlass.worker import linux


def test_descriptors_beyond_those_of_select_are_waited_for():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    reading, writing = os.pipe()
    far = os.dup2(reading, 2000)
    try:
        assert not linux.readable(far, 0.01)
        os.write(writing, b"x")
        assert linux.readable(far, 5)
        os.read(far, 1)
        os.close(writing)
        assert linux.readable(far, 5), "the other end is gone"
    finally:
        os.close(far)
        os.close(reading)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

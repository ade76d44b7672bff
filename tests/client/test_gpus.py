"""What ``gpu=`` may be."""

from __future__ import annotations

import pytest

import windlass
from windlass import exception, gpu
from windlass.client import gpus


def at_top(): ...


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (None, []), ("h100", [("H100", 1)]), ("A100-80gb:2", [("A100-80GB", 2)]), ("any", [("ANY", 1)]),
        (["H100!:8", "a10g"], [("H100!", 8), ("A10", 1)]), ("B200+", [("B200+", 1)]), ("rtx-4090", [("RTX-4090", 1)]),
    ],
)  # fmt: skip
def test_kinds_are_capitals_with_a_number(given, wanted):
    assert [(one["kind"], one["count"]) for one in gpus.parse(given)] == wanted


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("H100:x", "integer"), ("H100:", "integer"), ("H100:1.5", "integer"), ("H100:0", "1 to 8"),
        ("H100:9", "1 to 8"), ("A10G:5", "1 to 4"), ("", "no kind"), (":2", "no kind"), (4, "string"),
        (["H100", 4], "string"), ([], "empty"), ("H100; rm", "no kind"), (True, "string"),
    ],
)  # fmt: skip
def test_what_is_no_gpu_is_refused_at_import(given, says):
    with pytest.raises(exception.InvalidError, match=says):
        windlass.App().function(gpu=given)(at_top)


def test_the_old_classes_name_the_string_to_write():
    with pytest.raises(exception.DeprecationError, match='gpu="A100-80GB:2"'):
        gpu.A100(count=2, size="80GB")
    for old in (gpu.T4, gpu.L4, gpu.A10G, gpu.H100, gpu.L40S, gpu.Any):
        with pytest.raises(exception.DeprecationError, match="use gpu="):
            old()
    with pytest.raises(exception.DeprecationError, match='gpu="L4"'):
        gpu.parse_gpu_config("L4")

"""``import modal`` in Python programs that code in a container starts: workers of ``multiprocessing``, commands.

Nobody has put the finder in front there, nor said where they are. The library that containers see holds this file as
``modal.py``, and is on their path.
"""
from __future__ import annotations

import json
import os
import sys

import windlass
from windlass import compat
from windlass.client import here

_PLAN = "/__windlass/plan.json"


def _place() -> None:
    """What the container may do, its children may, too. ``here.pid`` is not theirs."""
    try:
        with open(_PLAN, encoding="utf-8") as file:  # noqa: PTH123 - as the runner's other modules
            plan = json.load(file)
    except PermissionError:  # it runs as another user
        return
    except (OSError, ValueError):  # a step of an image has none
        here.building, here.pid = True, os.getppid()
        return
    if "template" not in plan:  # whose plan names nobody yet
        here.plan, here.pid = plan, os.getppid()


compat.install()
if not here.in_container():
    _place()
sys.modules[compat.ALIAS] = windlass

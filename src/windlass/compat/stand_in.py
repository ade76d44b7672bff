"""``import modal`` in Python programs that code in a container starts: workers of ``multiprocessing``, commands.

Nobody has put the finder in front there. The library that containers see holds this file as ``modal.py``, and is on
their path.
"""
from __future__ import annotations

import sys

import windlass
from windlass import compat

compat.install()
sys.modules[compat.ALIAS] = windlass

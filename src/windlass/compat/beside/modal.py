"""``import modal`` in processes that a program starts on its own machine, such as workers of ``multiprocessing``."""
from __future__ import annotations

import sys

import windlass
from windlass import compat

compat.install()
sys.modules[compat.ALIAS] = windlass

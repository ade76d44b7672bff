"""``python -m windlass``: the command ``windlass``."""
from __future__ import annotations

from windlass.cli import __main__

if __name__ == "__main__":
    __main__.main()

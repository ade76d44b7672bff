"""Who is told to end stops its app first, as with Ctrl-C.

Otherwise an app whose program a supervisor, ``timeout`` or a closed terminal ends would go on until its heartbeats are
missed, most of a minute.
"""
from __future__ import annotations

import signal


def end_orderly() -> None:
    """Let these signals be a ``KeyboardInterrupt``, but where somebody (``nohup``) has them ignored."""
    for number in (getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)

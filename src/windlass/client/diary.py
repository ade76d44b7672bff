"""What the SDK tells of its own work, for whoever looks for a fault: the logger ``windlass``.

``loglevel`` says how much of it, ``log_format`` and ``log_pattern`` how it is written, to stderr. By default that is
nothing, so ``logging`` is not even imported: containers pay for each module.
"""
from __future__ import annotations

from windlass import config, exception

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging

DEBUG, INFO, WARNING = 10, 20, 30
_LEVELS = {"DEBUG": DEBUG, "INFO": INFO, "WARNING": WARNING, "ERROR": 40, "CRITICAL": 50}

_least: int | None = None
_logger: logging.Logger | None = None


def note(level: int, text: str, *values: object) -> None:
    """Tell, if anybody wants to know. ``values`` are put into ``text`` by ``%``; never secrets, never users' data.

    Raises:
        InvalidError: a setting of the logger is none.
    """
    global _least
    if _least is None:
        _least = _LEVELS[config.config["loglevel"]]
    if level >= _least:
        _opened().log(level, text, *values)


def _opened() -> logging.Logger:
    global _logger
    if _logger is None:
        import logging

        _logger = logging.getLogger("windlass")
        if not _logger.handlers:  # else the program has decided where to
            handler = logging.StreamHandler()
            handler.setFormatter(_formatter())
            _logger.addHandler(handler)
            _logger.propagate = False
        _logger.setLevel(config.config["loglevel"])
    return _logger


def _formatter() -> logging.Formatter:
    import json
    import logging

    class Json(logging.Formatter):
        """One object a line."""

        def format(self, record: logging.LogRecord) -> str:
            said = {"time": record.created, "level": record.levelname, "logger": record.name}
            return json.dumps({**said, "message": record.getMessage()})

    if config.config["log_format"] == "JSON":
        return Json()
    pattern = config.config["log_pattern"]
    try:
        made = logging.Formatter(pattern)
        made.format(logging.LogRecord("windlass", logging.DEBUG, "", 0, "tried out", None, None))  # unknown fields
    except (ValueError, KeyError, TypeError) as exc:
        raise exception.InvalidError(
            f"log_pattern has the wrong value {pattern!r}: {exc}",
            hint="It must be one of Python's logging, such as '%(asctime)s %(levelname)s %(message)s'.",
        ) from None
    return made

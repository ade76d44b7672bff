"""``Probe``: how one learns that a sandbox is ready."""
from __future__ import annotations

from windlass import exception

TYPE_CHECKING = False
if TYPE_CHECKING:
    from windlass.wire.messages import sandboxes as messages



class Probe:
    """How to learn that a sandbox is ready: a port that accepts connections, or a command that succeeds.

    Example:
        >>> sandbox = windlass.Sandbox.create(
        ...     "python", "-m", "http.server", "8080", app=app, readiness_probe=windlass.Probe.with_tcp(8080)
        ... )
        >>> sandbox.wait_until_ready()
    """

    tcp_port: int | None
    exec_argv: tuple[str, ...] | None
    interval_ms: int

    def __init__(
        self, tcp_port: int | None = None, exec_argv: tuple[str, ...] | None = None, interval_ms: int = 100
    ) -> None:
        if (tcp_port is None) == (exec_argv is None):
            raise exception.InvalidError("a probe asks either a port or a command")
        if tcp_port is not None and (
            isinstance(tcp_port, bool) or not isinstance(tcp_port, int) or not 0 < tcp_port < 65536
        ):
            raise exception.InvalidError(f"{tcp_port!r} is no port: they go from 1 to 65535")
        if exec_argv is not None and (not exec_argv or not all(isinstance(word, str) for word in exec_argv)):
            raise exception.InvalidError("a probe's command must be one or more strings")
        if exec_argv is not None:
            from windlass.client import sandboxes

            sandboxes.words(exec_argv, "a probe")
        if isinstance(interval_ms, bool) or not isinstance(interval_ms, int) or interval_ms <= 0:
            raise exception.InvalidError(f"interval_ms must be a positive integer, not {interval_ms!r}")
        self.tcp_port = tcp_port
        self.exec_argv = exec_argv
        self.interval_ms = interval_ms

    @classmethod
    def with_tcp(cls, port: int, *, interval_ms: int = 100) -> Probe:
        """Ready when something listens at ``port``, asked every ``interval_ms``.

        Raises:
            InvalidError: that is no port, or no interval.
        """
        return cls(tcp_port=port, interval_ms=interval_ms)

    @classmethod
    def with_exec(cls, *argv: str, interval_ms: int = 100) -> Probe:
        """Ready when this command ends with 0, run in the sandbox again and again.

        Raises:
            InvalidError: there is no command, or no interval.
        """
        return cls(exec_argv=argv, interval_ms=interval_ms)

    def _spec(self) -> messages.ProbeSpec:
        spec: messages.ProbeSpec = {"interval": self.interval_ms / 1000}
        if self.tcp_port is not None:
            spec["port"] = self.tcp_port
        else:
            spec["argv"] = list(self.exec_argv or ())
        return spec

"""`windlass server install` and `uninstall`: the platform as a service of systemd."""
from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import click

from windlass import exception, paths
from windlass.cli import programs, scope

_SYSTEM = Path("/etc/systemd/system")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_UNIT = """\
# Written by `windlass server install`; `windlass server uninstall` takes it away.
[Unit]
Description=Windlass, functions in containers on this machine
Documentation=man:systemd.service(5)
Wants=network-online.target
After=network-online.target

[Service]
Type=exec
ExecStart={python} -m windlass.cli.supervisor --foreground --home {home}
Environment="WINDLASS_HOME={plain}"
Environment="PATH={path}"
# Settings (WINDLASS_SERVER_...), and what is secret among them: a file that only its owner can read.
EnvironmentFile=-{plain}/server.env
# `windlass server stop` ends with 0 and stays stopped.
Restart=on-failure
RestartSec=2
# The supervisor ends everything by itself; what it leaves behind is killed.
KillMode=mixed
TimeoutStopSec=90
# Containers have control groups of their own below this one; if one is killed for memory, the service goes on.
Delegate=yes
OOMPolicy=continue
TasksMax=infinity
LimitNOFILE=1048576
LimitCORE=0
UMask=0022
{hardening}
[Install]
WantedBy={target}
"""

_HARDENING = """\
# Read-only for the platform itself, which writes below its home only. Everything else that systemd can take away is
# also taken from containers or keeps the node from being made: NoNewPrivileges and RestrictSUIDSGID (setuid programs in
# images), Protect* of the kernel's logs and tunables, ProtectProc and ProtectHostname (no /proc can be mounted in a
# namespace, no host name set), PrivateDevices and ProtectClock (GPUs, FUSE), PrivateTmp (short paths of sockets).
ProtectSystem=full
ReadWritePaths="{plain}"
ProtectKernelModules=yes
"""


def text(home: Path, *, user: bool) -> str:
    """The unit that runs the platform of ``home`` with this installation."""
    plain = _plain(str(home))
    return _UNIT.format(
        python=_word(sys.executable),
        home=_word(str(home)),
        plain=plain,
        path=_plain(f"{Path(sys.executable).parent}:{_PATH}"),
        hardening="" if user else _HARDENING.format(plain=plain),
        target="default.target" if user else "multi-user.target",
    )


def _plain(word: str) -> str:
    """As unit files want it. Raises ``InvalidError`` for what they cannot hold."""
    if any(char in word for char in "\n\r\"'\\") or word != word.strip():
        raise exception.InvalidError(f"a unit of systemd cannot name {word!r}", hint="Choose a plainer path.")
    return word.replace("%", "%%")


def _word(word: str) -> str:
    """One of a command line."""
    doubled = _plain(word).replace("$", "$$")
    return f'"{doubled}"' if " " in word else doubled


def name(home: Path) -> str:
    """``windlass.service`` for the usual home, one with a tag for others."""
    chosen = os.environ.pop("WINDLASS_HOME", None)
    try:
        usual = paths.home()
    finally:
        if chosen is not None:
            os.environ["WINDLASS_HOME"] = chosen
    if home == usual:
        return "windlass.service"
    return f"windlass-{hashlib.sha256(os.fsencode(home)).hexdigest()[:8]}.service"


def check(unit: str) -> list[str]:
    """What systemd says against a unit, where its checker is installed."""
    program = shutil.which("systemd-analyze")
    if program is None:
        return []
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "windlass.service"
        path.write_text(unit)
        environment = {"PATH": os.defpath, "SYSTEMD_LOG_LEVEL": "warning"}
        done = subprocess.run(
            [program, "verify", "--man=no", str(path)], env=environment, capture_output=True, text=True, check=False
        )
    return [line for line in done.stderr.splitlines() if "windlass.service" in line]


def begin(home: Path) -> bool:
    """Start the service of ``home``; False where none is installed, or systemd does not do it.

    What a command started beside its unit would have other limits and settings, and systemd could not start its own.
    """
    return _told(home, "start")


def end(home: Path) -> bool:
    """Stop it, and let systemd know: a start that follows would else find it active still, and do nothing."""
    return _told(home, "stop")


def _told(home: Path, word: str) -> bool:
    for user in (False, True) if os.geteuid() == 0 else (True,):
        if _place(home, user=user).exists():
            try:
                _need_systemd(user=user)
                _systemctl(user, word, name(home))
            except exception.ExecutionError:  # a login without one (su), a unit that is masked: done by hand
                continue
            return True
    return False


@click.command(help="Let systemd run the platform. --print only shows the unit.")
@click.option("--user", is_flag=True, help="As a service of your user.")
@click.option("--print", "only_print", is_flag=True, help="Show the unit and change nothing.")
def install(user: bool, only_print: bool) -> None:
    paths.check_system()
    home = paths.home()
    unit = text(home, user=user)
    if only_print:
        click.echo(unit, nl=False)
        return
    place = _place(home, user=user)
    _need_systemd(user=user)
    if complaints := check(unit):
        raise exception.ExecutionError("systemd does not accept the unit:\n" + "\n".join(complaints))
    if programs.is_running(home):
        raise exception.ConflictError(
            f"the platform in {home} runs already", hint="`windlass server stop`, then install again."
        )
    programs.prepare(home)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(unit)
    _systemctl(user, "daemon-reload")
    _systemctl(user, "enable", "--now", place.name)
    click.echo(f"systemd runs the platform in {home} as {place.name} ({place}).")
    if user and not scope.lingers():
        # Of oneself it may be asked only where polkit is installed, which a server need not have.
        click.echo(f"It ends with your last session, unless this is run once: sudo loginctl enable-linger {_user()}")


@click.command(help="Stop the service and take its unit away. State is kept.")
@click.option("--user", is_flag=True, help="The one of your user.")
def uninstall(user: bool) -> None:
    place = _place(paths.home(), user=user)
    if not place.exists():
        raise exception.NotFoundError(f"there is no {place}", hint="Was it installed with or without --user?")
    _need_systemd(user=user)
    _systemctl(user, "disable", "--now", place.name)
    place.unlink()
    _systemctl(user, "daemon-reload")
    click.echo(f"{place.name} is gone; state is kept in {paths.home()}.")


def _user() -> str:
    import pwd  # not on every system

    return pwd.getpwuid(os.getuid()).pw_name


def _place(home: Path, *, user: bool) -> Path:
    if user:
        config = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
        return Path(config) / "systemd/user" / name(home)
    if os.geteuid() != 0:
        raise exception.PermissionDeniedError(
            "only root can install a service of the machine", hint="Use --user for one of your own."
        )
    return _SYSTEM / name(home)


def _need_systemd(*, user: bool) -> None:
    if not Path("/run/systemd/system").exists() or shutil.which("systemctl") is None:
        raise exception.ExecutionError(
            "this machine is not run by systemd",
            hint="`windlass server install --print` shows what another service manager must do.",
        )
    if user and not os.environ.get("XDG_RUNTIME_DIR"):
        raise exception.ExecutionError(
            "your user's systemd cannot be reached from here", hint="Log in by SSH or a console, not by su or sudo."
        )


def _systemctl(user: bool, *words: str) -> None:
    argv = ["systemctl", *(["--user"] if user else []), *words]
    done = subprocess.run(argv, env=dict(os.environ), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise exception.ExecutionError(f"{' '.join(argv)} failed: {done.stderr.strip()}")

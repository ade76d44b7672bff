"""`windlass launch`: Jupyter or VS Code in a sandbox, behind a tunnel, for a browser on this machine."""
from __future__ import annotations

import secrets
import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click

from windlass import exception
from windlass.cli import editor, signals
from windlass.kit import ids

F = TypeVar("F", bound=Callable[..., Any])

_HOME = "/root/work"
_READY = 300.0
_TAIL = 20  # lines of its complaints that are shown when it does not come up
_FROM = (
    f"https://github.com/coder/code-server/releases/download/v{editor.VERSION}/code-server_{editor.VERSION}_amd64.deb"
)


class Program(NamedTuple):
    """What is launched. ``secret``: the variable by which it is told its token. ``where``: the URL below its tunnel."""

    name: str
    command: list[str]
    port: int
    secret: str
    where: Callable[[str, str], str]


JUPYTER = Program(
    "Jupyter",
    ["jupyter", "lab", "--no-browser", "--allow-root", "--ip=0.0.0.0", "--port=8888",
     "--ServerApp.allow_remote_access=True"],
    8888, "JUPYTER_TOKEN", lambda url, token: f"{url}/lab?token={token}",
)  # fmt: skip
VSCODE = Program(
    "VS Code",
    ["code-server", "--bind-addr=0.0.0.0:8080", "--auth=password", "--disable-telemetry", "--disable-update-check",
     "."],
    8080, "PASSWORD", lambda url, token: f"{url}  (password: {token})",
)  # fmt: skip


@click.group(name="launch", help="Jupyter or VS Code in a container, for your browser.")
def group() -> None:
    pass


def _options(function: F) -> F:
    for option in reversed((
        click.option("--cpu", type=float, metavar="N", help="Cores that it is promised."),
        click.option("--memory", type=int, metavar="MIB", help="Memory that it is promised."),
        click.option("--gpu", metavar="KIND", help='Such as "H100" or "H100:2".'),
        click.option("--timeout", type=int, default=3600, show_default=True, help="Seconds that it may run."),
        click.option("--image", metavar="TAG", help="An image of a registry, or im-… that has the program already."),
        click.option("--mount", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path),
                     help=f"A folder of this machine, copied to {_HOME}/mount."),
        click.option("--volume", metavar="NAME", help=f"A volume, at {_HOME}/volume; made if there is none."),
        click.option("--detach/--no-detach", default=False, help="Let it run on, and come back at once."),
    )):  # fmt: skip
        function = option(function)
    return function


@group.command(help="Jupyter Lab. Ends with the server, at its timeout, or by Ctrl-C.")
@_options
@click.option("--add-python", metavar="VERSION", help="With this Python added to the image.")
def jupyter(add_python: str | None, image: str | None, **given: Any) -> None:
    base = _image(image, add_python)
    raise SystemExit(_launch(JUPYTER, base if _ready_made(image) else base.pip_install("jupyterlab"), given))


@group.command(help="VS Code (code-server). Ends with the server, at its timeout, or by Ctrl-C.")
@_options
@click.option("--code-server", "archive", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Its .deb on this machine; otherwise it is fetched from GitHub.")  # fmt: skip
@click.option("--npm", is_flag=False, flag_value=editor.REGISTRY, metavar="[REGISTRY]",
              help="Compile it from npm's registry, or a mirror, instead. The first time takes minutes.")  # fmt: skip
def vscode(image: str | None, archive: Path | None, npm: str | None, **given: Any) -> None:
    if archive and npm:
        raise click.UsageError("--code-server and --npm are two ways to have it: choose one.")
    base = _image(image, None)
    if not _ready_made(image):
        base = editor.compiled(base, npm) if npm else _with_code_server(base, archive)
    raise SystemExit(_launch(VSCODE, base, given))


def _ready_made(image: str | None) -> bool:
    return image is not None and ids.is_id(image, "im")


def _image(tag: str | None, add_python: str | None) -> Any:
    import windlass

    if tag is None:
        return windlass.Image.debian_slim(add_python)
    if _ready_made(tag):
        if add_python:
            raise click.UsageError("--add-python is for images of a registry; this one is built already.")
        return windlass.Image.from_id(tag)
    return windlass.Image.from_registry(tag, add_python=add_python)


def _with_code_server(image: Any, archive: Path | None) -> Any:
    if archive is not None:
        return image.add_local_file(archive, "/tmp/code-server.deb", copy=True).run_commands(_INSTALL)
    return image.apt_install("curl", "ca-certificates").run_commands(
        f"curl -fsSL --connect-timeout 20 -o /tmp/code-server.deb {_FROM}", _INSTALL
    )


_INSTALL = "dpkg -i /tmp/code-server.deb && rm -f /tmp/code-server.deb"


def _launch(program: Program, image: Any, given: dict[str, Any]) -> int:
    import windlass
    from windlass.cli import render

    signals.end_orderly()
    name = f"launch-{program.command[0]}"
    with render.open_output() as shown:
        if given["detach"]:
            return _run(program, windlass.App.lookup(name, create_if_missing=True), image, given, shown)
        app = windlass.App(name)
        with app.run():
            return _run(program, app, image, given, shown)


def _run(program: Program, app: Any, image: Any, given: dict[str, Any], shown: Any) -> int:
    import windlass
    from windlass.client import output

    token = secrets.token_urlsafe(16)
    wishes = {name: given[name] for name in ("cpu", "memory", "gpu") if given[name] is not None}
    if given["volume"]:
        wishes["volumes"] = {f"{_HOME}/volume": windlass.Volume.from_name(given["volume"], create_if_missing=True)}
    if given["mount"]:
        image = image.add_local_dir(given["mount"], f"{_HOME}/mount")
    try:
        with output.using(shown):  # the first time this takes minutes
            image.build(app)
        sandbox = windlass.Sandbox.create(
            *program.command, app=app, image=image, timeout=given["timeout"], workdir=_HOME,
            env={program.secret: token, "SHELL": "/bin/bash"}, encrypted_ports=[program.port],
            readiness_probe=windlass.Probe.with_tcp(program.port), **wishes,
        )  # fmt: skip
    except exception.ImageBuildError as exc:
        raise _cannot_be_had(program, exc) from None
    try:
        _until_ready(program, sandbox)
        _show(program.where(sandbox.tunnels()[program.port].url, token), sandbox, detach=given["detach"])
        return 0 if given["detach"] else _attend(program, sandbox)
    except BaseException:
        sandbox.terminate()
        raise


def _cannot_be_had(program: Program, exc: exception.ImageBuildError) -> exception.ImageBuildError:
    hint = "The log above says why. With --image im-… an image is taken that has the program already."
    if program is VSCODE:
        hint = (
            f"It needs code-server, from {_FROM}. Where GitHub cannot be reached, pass --npm, which compiles it from "
            "npm's registry; or --code-server FILE, if you get that file in another way; or --image im-… with an "
            "image that has it."
        )
    return exception.ImageBuildError(f"the image for {program.name} cannot be built: {exc}", hint=hint)


def _until_ready(program: Program, sandbox: Any) -> None:
    try:
        sandbox.wait_until_ready(timeout=_READY)
    except exception.ConflictError as exc:
        said = "".join(sandbox.stderr.read().splitlines(keepends=True)[-_TAIL:]).rstrip() or str(exc)
        raise exception.ExecutionError(
            f"{program.name} ended before it answered:\n{said}",
            hint=f"An image that is built already needs {program.command[0]!r} on its PATH.",
        ) from None


def _show(where: str, sandbox: Any, *, detach: bool) -> None:
    click.echo(where)
    if detach:
        click.echo(f"It runs on as {sandbox.object_id}; end it with `windlass sandbox terminate {sandbox.object_id}`.")
    elif sys.stdout.isatty():
        webbrowser.open(where.partition(" ")[0])


def _attend(program: Program, sandbox: Any) -> int:
    """Until it ends."""
    try:
        sandbox.wait(raise_on_termination=False)
    except exception.SandboxTimeoutError:
        click.echo(f"The time of {program.name} is over; --timeout gives it more.", err=True)
    return 0 if sandbox.returncode in (0, 124, 137) else 1

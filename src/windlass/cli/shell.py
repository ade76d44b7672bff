"""`windlass shell`: a shell in a sandbox of its own, or in something that runs."""
from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

from windlass import exception
from windlass.cli import completion, options, signals
from windlass.kit import ids

_TIME = 3600


@click.command(
    name="shell",
    help="A shell in a new sandbox: on an image, or on what a function has (FILE::NAME); or in a sandbox or container "
    "that runs.",
)
@click.argument("reference", metavar="[REF]", required=False, shell_complete=completion.files)
@click.option("-c", "--cmd", default="/bin/bash", show_default=True, help="The command to run instead.")
@options.env_option
@click.option("--image", metavar="TAG", help="An image of a registry.")
@click.option("--add-python", metavar="VERSION", help="With this Python added to the image.")
@click.option("--volume", "volumes", multiple=True, metavar="NAME", help="A volume, at /mnt/NAME.")
@click.option("--add-local", "local", multiple=True, metavar="PATH", help="A file or folder, at /mnt/NAME.")
@click.option("--secret", "secrets", multiple=True, metavar="NAME", help="A secret's variables.")
@click.option("--cpu", type=float, metavar="N", help="Cores that it is promised.")
@click.option("--memory", type=int, metavar="MIB", help="Memory that it is promised.")
@click.option("--gpu", metavar="KIND", help='Such as "H100" or "H100:2".')
@click.option("--cloud", hidden=True)
@click.option("--region", hidden=True)
@click.option("--runtime", type=click.Choice(["container", "gvisor", "vm"]), help="How it is isolated.")
@click.option("--pty/--no-pty", default=None, help="With a terminal (when stdout is one, unless said otherwise).")
@click.option("-m", "is_module", is_flag=True, help="REF is a module's dotted name.")
def command(reference: str | None, cmd: str, pty: bool | None, env: str | None, is_module: bool, **given: Any) -> None:
    signals.end_orderly()
    use_pty = sys.stdout.isatty() if pty is None else pty
    words = ["/bin/bash", "-c", cmd] if cmd != "/bin/bash" else ["/bin/bash"]
    if reference is not None and _runs(reference):
        asked = [name for name, value in given.items() if value]
        if asked:
            option = asked[0].replace("local", "add-local").replace("_", "-")
            raise click.UsageError(f"--{option.rstrip('s') if asked[0] in ('volumes', 'secrets') else option} "
                                   "says how a new sandbox shall be, but this one runs already.")  # fmt: skip
        raise SystemExit(_inside(reference, words, pty=use_pty))
    raise SystemExit(_new(reference, words, given, env, pty=use_pty, is_module=is_module))


def _runs(reference: str) -> bool:
    return any(ids.is_id(reference.partition(":")[0], prefix) for prefix in ("sb", "ta"))


def _inside(reference: str, words: list[str], *, pty: bool) -> int:
    reference, _, part = reference.partition(":")
    if part not in ("", "main"):
        raise exception.NotFoundError(f"{reference} has one container, and none named {part!r}")
    if ids.is_id(reference, "ta"):
        from windlass.cli import exec as remote

        return remote.run(reference, words, pty=pty)
    from windlass.cli import attached

    return attached.run(reference, words, pty=pty)


def _new(
    reference: str | None, words: list[str], given: dict[str, Any], env: str | None, *, pty: bool, is_module: bool
) -> int:
    import windlass
    from windlass.cli import attached, render
    from windlass.client import output

    app = windlass.App("shell")
    with render.open_output() as shown, app.run(environment_name=env):
        wishes = _wishes(reference, given, env, is_module=is_module)
        with output.using(shown):  # what may take minutes; the rest is the shell's own
            wishes["image"].build(app)
        sandbox = windlass.Sandbox.create(
            "sleep", str(_TIME), app=app, timeout=_TIME, env=_environment(env), **wishes
        )  # fmt: skip
        try:
            return attached.run(sandbox.object_id, words, pty=pty)
        finally:
            sandbox.terminate()


def _environment(env: str | None) -> dict[str, str | None]:
    """What programs in there find of where they are and of our terminal."""
    from windlass.client import names

    found: dict[str, str | None] = {}
    if chosen := names.environment(env):
        found |= {"WINDLASS_ENVIRONMENT": chosen, "MODAL_ENVIRONMENT": chosen}
    if sys.stdout.isatty() and (term := os.environ.get("TERM")):
        found["TERM"] = term
    return found


def _wishes(reference: str | None, given: dict[str, Any], env: str | None, *, is_module: bool) -> dict[str, Any]:
    import windlass

    wishes: dict[str, Any] = {"volumes": {}, "secrets": []}
    if reference is None:
        image = _image(given)
    elif given["image"]:
        raise click.UsageError("--image names an image, and so does the reference.")
    elif ids.is_id(reference, "im"):
        image = windlass.Image.from_id(reference)
    else:
        _no_broken_id(reference)
        wishes = _of_function(reference, is_module=is_module)
        image = wishes["image"]
    for name in given["volumes"]:
        wishes["volumes"][f"/mnt/{name}"] = windlass.Volume.from_name(name, environment_name=env)
    for path in map(Path, given["local"]):
        target = f"/mnt/{path.absolute().name}"
        image = image.add_local_dir(path, target) if path.is_dir() else image.add_local_file(path, target)
    wishes["secrets"] += [windlass.Secret.from_name(name, environment_name=env) for name in given["secrets"]]
    asked = {name: given[name] for name in ("cpu", "memory", "gpu", "runtime") if given[name] is not None}
    return {**wishes, "image": image, **asked}


def _no_broken_id(reference: str) -> None:
    """An id that was not copied whole is no file that is missing."""
    kind = {"im-": "an image", "sb-": "a sandbox", "ta-": "a container"}.get(reference[:3])
    if kind is not None and "." not in reference and not Path(reference).exists():
        raise exception.InvalidError(
            f"{reference!r} is no id of {kind}.", hint=f"They look like {reference[:3]}3kTMd84yYpZq0vXWb1sRNf."
        )


def _image(given: dict[str, Any]) -> Any:
    import windlass

    if given["image"]:
        return windlass.Image.from_registry(given["image"], add_python=given["add_python"])
    if given["add_python"]:
        return windlass.Image.debian_slim(given["add_python"])
    return windlass.Image.debian_slim()


def _of_function(text: str, *, is_module: bool) -> dict[str, Any]:
    """What a function of a local program has, as arguments of ``Sandbox.create``."""
    from windlass import compat
    from windlass import function as functions
    from windlass.cli import reference

    compat.install()
    wanted = reference.parse(text, is_module=is_module)
    with reference.load(wanted) as module:
        target = reference.choose(module, wanted)
    found = target.cls._service if isinstance(target, reference.Method) else target
    if not isinstance(found, functions.Function) or found._app is None or found._options is None:
        raise click.UsageError(f"{text!r} names no function.")
    app, its = found._app, found._options
    wishes: dict[str, Any] = {
        "image": app._image_for(found), "volumes": {**app._volumes, **its.volumes},
        "secrets": [*app._secrets, *its.secrets], "network_file_systems": dict(its.network_file_systems),
        "block_network": its.block_network,
    }  # fmt: skip
    if its.cpu_request:
        wishes["cpu"] = (its.cpu_request, its.cpu_limit) if its.cpu_limit else its.cpu_request
    if its.memory_request:
        wishes["memory"] = (its.memory_request, its.memory_limit) if its.memory_limit else its.memory_request
    if its.gpus:
        wishes["gpu"] = f"{its.gpus[0]['kind']}:{its.gpus[0]['count']}"  # the one that it wants most
    return wishes

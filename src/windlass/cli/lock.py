"""`windlass image lock`: write down what exactly the images of a program hold."""
from __future__ import annotations

import contextlib
import json
import types
from pathlib import Path
from typing import Any

import click

from windlass import exception, paths
from windlass.cli import control, reference

LOCKED = click.option("--locked", is_flag=True, help="Build images exactly as `windlass image lock` wrote them down.")


@click.command(name="lock")
@click.argument("ref", metavar="FILE")
@click.option("-m", "is_module", is_flag=True, help="FILE is a module (package.module).")
@click.option("-q", "--quiet", is_flag=True, help="Do not show builds.")
@click.option("--json/--no-json", "as_json", default=False, help="One JSON object.")
def command(ref: str, is_module: bool, quiet: bool, as_json: bool) -> None:
    """Write the exact versions in the images of FILE's apps to a lock.

    The lock lies beside FILE. What is not built yet is built. `windlass run --locked FILE`, and `windlass deploy
    --locked FILE`, then build exactly that, or fail with the difference.
    """
    wanted = reference.parse(ref, is_module=is_module)
    from windlass import compat
    from windlass.cli import render
    from windlass.client import bridge, lock, output

    compat.install()
    recorder = lock.Recorder()
    with render.open_output(show_progress=not quiet) as shown, output.using(shown), lock.using(recorder):
        with reference.load(wanted) as module:
            path = lock.place(reference.program(module))
            found = _images(module)
            control.ensure(paths.home(), shown.status)
            locked = bridge.run(_build(found, recorder))
    text = lock.dump(locked)
    before = path.read_text("utf-8") if path.exists() else ""
    if text != before:
        _replace(path, text)
    _report(path, locked, changed=text != before, as_json=as_json)


def keeping(module: types.ModuleType, *, locked: bool) -> contextlib.AbstractContextManager[None]:
    """Inside, images are built as the lock beside the program says, if that is wanted."""
    if not locked:
        return contextlib.nullcontext()
    from windlass.client import lock

    path = lock.place(reference.program(module))
    return lock.using(lock.Keeping(lock.load(path), path.name))


def _images(module: Any) -> list[Any]:
    """The images of all functions of the module's apps. Raises ``NotFoundError`` where there is none."""
    found = {
        id(image): image
        for app in reference.apps(module)
        for function in app._functions.values()
        for image in [app._image_for(function)]
    }
    if not found:
        raise exception.NotFoundError("The program has no function in an app, so there is no image to lock.")
    return list(found.values())


async def _build(found: list[Any], recorder: Any) -> Any:
    from windlass.client import resolver, session

    current = session.current()
    context = resolver.Context(current)
    try:
        await context.load_all(found)
        return await recorder.finished(current)
    finally:
        await context.close()


def _replace(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(text, "utf-8", newline="\n")
    draft.replace(path)


def _report(path: Path, locked: Any, *, changed: bool, as_json: bool) -> None:
    kinds = {kind: {n for image in locked for n in image[-1].installed[kind]} for kind in ("debian", "python")}
    if as_json:
        counts = {kind: len(names) for kind, names in kinds.items()}
        click.echo(json.dumps({"file": str(path), "images": len(locked), "changed": changed, **counts}))
        return
    images = f"{len(locked)} image{'' if len(locked) == 1 else 's'}"
    what = f"{len(kinds['debian'])} packages of Debian and {len(kinds['python'])} of Python"
    click.echo(f"{'Locked' if changed else 'Nothing changed:'} {images} with {what}, in {path}")

"""`windlass run`: import the user's file, choose what to call, make the app, call it, end the app."""
from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from windlass import exception, paths
from windlass.cli import completion, control, failure, lock, reference, signals, signature, terminal

if TYPE_CHECKING:
    from windlass import app as apps

INTERRUPTED = 130


class Wishes(NamedTuple):
    """How to run, as the options say."""

    name: str
    """In lists."""
    detach: bool
    interactive: bool
    environment: str | None


@click.command(name="run", context_settings={"allow_interspersed_args": False})
@click.option("-w", "--write-result", metavar="FILE", help="Write the result (str or bytes) to this file.")
@click.option("-q", "--quiet", is_flag=True, help="No progress, only what the program prints.")
@click.option("-d", "--detach", is_flag=True, help="The app survives Ctrl-C and the end of this command.")
@click.option("-i", "--interactive", is_flag=True, help="Containers may ask for this terminal.")
@click.option("-e", "--env", metavar="NAME", help="Environment to run in.")
@click.option("-n", "--name", metavar="NAME", help="Name of the app in lists.")
@click.option("-m", "is_module", is_flag=True, help="REF is a module (package.module), not a file.")
@click.option("--timestamps", is_flag=True, help="Begin each line of containers with its time.")
@lock.LOCKED
@click.argument("ref", metavar="REF", shell_complete=completion.files)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[ARGS]...")
def command(
    write_result: str | None,
    quiet: bool,
    detach: bool,
    interactive: bool,
    env: str | None,
    name: str | None,
    is_module: bool,
    timestamps: bool,
    locked: bool,
    ref: str,
    words: tuple[str, ...],
) -> None:
    """Run a function, a method or a local entrypoint of a Python file.

    REF is FILE[::[app.]NAME], a module with -m, or - for a script on stdin; a method is named CLASS.METHOD. What
    stands behind REF are the function's own arguments, for methods also the parameters of their class:
    `windlass run job.py --help` lists them.
    """
    if interactive and quiet:
        raise exception.InvalidError("--interactive and --quiet cannot be combined.")
    if interactive and ref == "-":
        raise exception.InvalidError(
            "--interactive needs stdin, which has the script.", hint="Write the script to a file, and run that."
        )
    if interactive:
        terminal.check_lendable()
    _check_writable(write_result)
    wanted = reference.parse(ref, is_module=is_module)
    from windlass import compat
    from windlass.cli import render
    from windlass.client import output

    compat.install()
    compat.hand_down()
    signals.end_orderly()
    with render.open_output(show_progress=not quiet, timestamps=timestamps) as shown, output.using(shown):
        with reference.load(wanted) as module, lock.keeping(module, locked=locked):
            call = _call(reference.choose(module, wanted), wanted, words, detach=detach)
            wishes = Wishes(
                name=name or call.app.description or str(wanted),
                detach=detach,
                interactive=interactive,
                environment=env,
            )
            control.ensure(paths.home(), shown.status)
            result = _run(call, wishes)
    if write_result is not None:
        _write(result, write_result)


class Call(NamedTuple):
    """What to do inside the running app."""

    app: apps.App
    function: Any
    arguments: list[Any]
    keywords: dict[str, Any]

    def __call__(self) -> Any:
        result = self.function(*self.arguments, **self.keywords)
        if inspect.iscoroutine(result):
            import asyncio

            return asyncio.run(result)
        return result


def _call(target: reference.Target, wanted: reference.Reference, words: tuple[str, ...], *, detach: bool) -> Call:
    """The call that ``words`` ask for. Usage errors come before anything is created."""
    from windlass import app as apps

    title = f"windlass run {'-m ' if wanted.is_module else ''}{wanted}"
    if isinstance(target, apps.LocalEntrypoint):
        arguments, keywords = signature.parse(target.raw_f, words, title=title)
        return Call(target.app, target.raw_f, arguments, keywords)
    if isinstance(target, reference.Method):
        return _method_call(target, words, title=title, detach=detach)
    _refuse_generator(target)
    arguments, keywords = signature.parse(target.get_raw_f(), words, title=title)
    return Call(target.app, _caller(target, detach=detach), arguments, keywords)


def _method_call(target: reference.Method, words: tuple[str, ...], *, title: str, detach: bool) -> Call:
    """The words make the object, too: the parameters of a class are options beside those of the method."""
    handle, found = target.cls, target.cls._anatomy
    assert found is not None
    bound = found.methods[target.name].raw_f.__get__(object())
    arguments, keywords = signature.parse(bound, words, title=title, parameters=found.parameters)
    taken = {one["name"] for one in found.parameters}
    values = {name: value for name, value in keywords.items() if name in taken}
    method = getattr(handle(**values), target.name)
    _refuse_generator(method)
    rest = {name: value for name, value in keywords.items() if name not in taken}
    return Call(method.app, _caller(method, detach=detach), arguments, rest)


def _refuse_generator(target: Any) -> None:
    if target.is_generator:
        raise exception.InvalidError(
            f"{target.tag} is a generator: its values would have nowhere to go.",
            hint="Write a local entrypoint that iterates over `.remote_gen(...)`.",
        )


def _caller(target: Any, *, detach: bool) -> Any:
    return (lambda *a, **k: target.spawn(*a, **k).get()) if detach else target.remote


def _run(call: Call, wishes: Wishes) -> Any:
    """Inside the app. Raises ``UserCodeError`` around what the program raised; Ctrl-C exits with 130."""
    result: Any = None
    users: BaseException | None = None
    try:
        with call.app.run(
            name=wishes.name,
            detach=wishes.detach,
            interactive=wishes.interactive,
            environment_name=wishes.environment,
        ):
            try:
                result = call()
            except BaseException as exc:
                users = exc
                raise
    except Exception as exc:
        if exc is users:
            raise failure.UserCodeError(str(exc)) from exc
        raise
    if isinstance(users, KeyboardInterrupt):  # the app swallows it when it has ended
        raise SystemExit(INTERRUPTED)
    return result


def _check_writable(path: str | None) -> None:
    if path is not None and not Path(path).absolute().parent.is_dir():
        raise click.BadParameter(f"the folder of {path} does not exist", param_hint="--write-result")


def _write(result: Any, path: str) -> None:
    if isinstance(result, str):
        Path(path).write_text(result, "utf-8", newline="\n")
    elif isinstance(result, bytes):
        Path(path).write_bytes(result)
    else:
        raise exception.InvalidError(
            f"The result is {type(result).__name__}; only str and bytes can be written to a file.",
            hint="Let the function return text or bytes, or leave out --write-result.",
        )

"""`windlass`: the root of all commands, which are loaded when they are called.

`windlass --help` must answer at once, so nothing but click is imported here.
"""
from __future__ import annotations

import io
import os
import sys
from typing import Any, NamedTuple, NoReturn, TextIO

import click


class Entry(NamedTuple):
    """Where a command lives, and the line that help shows without loading it. ``hidden``: help does not show it."""

    panel: str
    module: str
    attribute: str
    help: str
    hidden: bool = False


COMMANDS: dict[str, Entry] = {
    "run": Entry("Commands", "windlass.cli.run", "command", "Run a function or local entrypoint of a Python file."),
    "deploy": Entry("Commands", "windlass.cli.deploy", "command", "Publish an app; it lives until it is stopped."),
    "serve": Entry("Commands", "windlass.cli.serve", "command", "Run an app; reload it when its files change."),
    "app": Entry("Compute", "windlass.cli.app", "group", "Apps that run, are deployed or stopped: logs, versions."),
    "function": Entry("Compute", "windlass.cli.function", "group", "Functions: what they are, figures, calls, logs."),
    "call": Entry("Compute", "windlass.cli.call", "group", "Calls of the past: list, look at, run again."),
    "container": Entry("Compute", "windlass.cli.container", "group", "Containers: list, logs, run a command, stop."),
    "sandbox": Entry("Compute", "windlass.cli.sandbox", "group", "Sandboxes: list, logs, run a command, terminate."),
    "shell": Entry("Commands", "windlass.cli.shell", "command", "A shell on an image, or in something that runs."),
    "launch": Entry("Commands", "windlass.cli.launch", "group", "Jupyter or VS Code in a container, for your browser."),
    "image": Entry("Compute", "windlass.cli.image", "group", "Images: list, names, how they were built."),
    "dict": Entry("Storage", "windlass.cli.dict", "group", "Dicts: dictionaries that programs share."),
    "queue": Entry("Storage", "windlass.cli.queue", "group", "Queues: lines of values that programs share."),
    "secret": Entry("Storage", "windlass.cli.secret", "group", "Secrets: environment variables, stored encrypted."),
    "volume": Entry("Storage", "windlass.cli.volume", "group", "Volumes: list, files, put, get, versions."),
    "nfs": Entry("Storage", "windlass.cli.nfs", "group", "Network file systems (deprecated).", hidden=True),
    "storage": Entry("Storage", "windlass.cli.storage", "group", "What is stored: usage, removal of garbage."),
    "curl": Entry("Compute", "windlass.cli.curl", "command", "Run curl on the URL of a web function."),
    "workspace": Entry("Configuration", "windlass.cli.workspace", "group", "Members, proxy tokens, the audit log."),
    "proxy": Entry("Configuration", "windlass.cli.proxy", "group", "Proxies: addresses that containers leave by."),
    "domain": Entry("Configuration", "windlass.cli.domain", "group", "Domains of your own, for web functions."),
    "environment": Entry(
        "Configuration", "windlass.cli.environment", "group", "Parts of the workspace with apps of their own."
    ),
    "config": Entry("Configuration", "windlass.cli.config", "group", "Settings: show them, set the environment."),
    "profile": Entry("Configuration", "windlass.cli.profile", "group", "Profiles: which settings count."),
    "token": Entry("Configuration", "windlass.cli.token", "group", "Tokens: get one, store it, renew it, end it."),
    "setup": Entry("Configuration", "windlass.cli.setup", "command", "Get a token, and say what to do next."),
    "node": Entry("Platform", "windlass.cli.node", "group", "Machines of the platform, and their GPUs."),
    "billing": Entry("Platform", "windlass.cli.billing", "group", "What apps had of the machines."),
    "examples": Entry("Platform", "windlass.cli.examples", "group", "Programs to begin with: list, copy."),
    "completion": Entry("Platform", "windlass.cli.completion", "command", "What a shell needs to complete commands."),
    "server": Entry("Platform", "windlass.cli.server", "group", "The platform on this machine: start, stop, status."),
    "doctor": Entry("Platform", "windlass.cli.doctor", "command", "What this machine can and cannot give, and why."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if (entry := COMMANDS.get(cmd_name)) is None:
            return None
        import importlib

        found = getattr(importlib.import_module(entry.module), entry.attribute)
        assert isinstance(found, click.Command)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            ctx.fail(f"No such command '{args[0]}'.{_did_you_mean(args[0])}")
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[click.shell_completion.CompletionItem]:
        from click import shell_completion

        found = [
            shell_completion.CompletionItem(name, help=entry.help)
            for name, entry in COMMANDS.items()
            if name.startswith(incomplete) and not entry.hidden
        ]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]  # which adds options

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for panel in dict.fromkeys(entry.panel for entry in COMMANDS.values()):
            with formatter.section(panel):
                shown = [(name, entry) for name, entry in COMMANDS.items() if not entry.hidden]
                formatter.write_dl([(name, entry.help) for name, entry in shown if entry.panel == panel])


_REMOVED = {
    "bootstrap": "windlass examples copy",
    "cluster": "windlass container",
    "lookup": "windlass app list",
}
"""Commands of the reference that are gone, and what does their work."""


def _did_you_mean(word: str) -> str:
    import difflib

    if word in _REMOVED:
        return f" It was removed; use `{_REMOVED[word]}`."
    close = difflib.get_close_matches(word, COMMANDS, n=2)
    return f" Did you mean {' or '.join(close)}?" if close else ""


def _print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from windlass.cli import control

        click.echo(f"windlass {control.version()}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    name="windlass",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Run Python functions in containers on machines that you own.",
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version."
)
@click.option("--profile", metavar="NAME", help="Settings to use, of ~/.windlass.toml.")
def root(profile: str | None) -> None:
    if profile:
        os.environ["WINDLASS_PROFILE"] = profile


def main(argv: list[str] | None = None) -> NoReturn:
    """Run one command and exit with its code."""
    sys.stdout = sys.stdout or _closed(1, os.O_RDONLY)
    sys.stderr = sys.stderr or _closed(2, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        # What containers print may have characters that a console of Windows or an old locale has not.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
            # PYTHONUNBUFFERED: a container's line would come between a line and its end, in a file for good.
            if stream.write_through and not stream.isatty():
                stream.reconfigure(write_through=False, line_buffering=True)
    sys.exit(execute(sys.argv[1:] if argv is None else argv))


def _closed(number: int, flags: int) -> TextIO:
    """Stands for a stream that was closed before this program began, so that none of its files and connections gets
    that number. To write fails where ``flags`` do not allow it, as for every program whose output is closed."""
    descriptor = os.open(os.devnull, flags)
    os.dup2(descriptor, number)
    if descriptor != number:
        os.close(descriptor)
    os.set_inheritable(number, True)
    return open(number, "w", 1, encoding="utf-8", closefd=False)


def execute(argv: list[str]) -> int:
    """Run one command; its exit code. The process's outermost edge: every exception ends here."""
    try:
        outcome: Any = root.main(args=argv, prog_name="windlass", standalone_mode=False)
        return outcome if isinstance(outcome, int) else 0
    except click.exceptions.Exit as exc:
        return exc.exit_code
    except click.Abort as exc:
        if isinstance(exc.__cause__, KeyboardInterrupt):
            return 130
        click.echo("Aborted.", err=True)
        return 1
    except click.ClickException as exc:
        exc.show()
        return exc.exit_code
    except KeyboardInterrupt:
        return 130
    except Exception as exc:  # noqa: BLE001 - process exit
        if isinstance(exc, BrokenPipeError) or isinstance(exc.__cause__, BrokenPipeError):
            # Whoever read our output has gone; keep the interpreter from complaining at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        from windlass.cli import failure

        failure.show(exc)
        return 1


if __name__ == "__main__":
    main()

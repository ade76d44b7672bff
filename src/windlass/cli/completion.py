"""`windlass completion SHELL`: what a shell needs to complete commands, options and files."""
from __future__ import annotations

import click
from click import shell_completion

_INSTALL = {
    "bash": 'echo \'eval "$(windlass completion bash)"\' >> ~/.bashrc',
    "zsh": 'echo \'eval "$(windlass completion zsh)"\' >> ~/.zshrc',
    "fish": "windlass completion fish > ~/.config/fish/completions/windlass.fish",
}


@click.command(
    name="completion",
    help="Print what makes SHELL complete commands, options and files. The first line of it says how to install it.",
)
@click.argument("shell", type=click.Choice(list(_INSTALL)))
def command(shell: str) -> None:
    from windlass.cli import __main__ as root

    kind = shell_completion.get_completion_class(shell)
    assert kind is not None
    click.echo(f"# To keep it:  {_INSTALL[shell]}")
    click.echo(kind(root.root, {}, "windlass", "_WINDLASS_COMPLETE").source())


def files(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[shell_completion.CompletionItem]:
    """Of arguments that begin with the path of a program: the shell completes those itself."""
    return [shell_completion.CompletionItem(incomplete, type="file")]

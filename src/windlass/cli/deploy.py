"""`windlass deploy`: import the user's file, publish its app, say which version it is now."""
from __future__ import annotations

import time

import click

from windlass import paths
from windlass.cli import ask, completion, control, lock, options, reference


@click.command(name="deploy")
@click.option("--name", metavar="NAME", help="Name to deploy under; by default the app's own.")
@click.option("-e", "--env", metavar="NAME", help="Environment to deploy to.")
@click.option("--stream-logs/--no-stream-logs", default=False, help="Then show the app's logs until Ctrl-C.")
@click.option("--tag", metavar="WORD", default="", help="A word of your own for this version.")
@click.option("-m", "is_module", is_flag=True, help="REF is a module (package.module), not a file.")
@click.option("--timestamps", is_flag=True, help="Begin each line of containers with its time.")
@lock.LOCKED
@options.strategy_option
@click.argument("ref", metavar="REF", shell_complete=completion.files)
def command(
    name: str | None,
    env: str | None,
    stream_logs: bool,
    tag: str,
    is_module: bool,
    timestamps: bool,
    locked: bool,
    strategy: str,
    ref: str,
) -> None:
    """Publish an app: it lives on the platform until it is stopped.

    REF is FILE[::APP] or, with -m, a module; APP is the name of a variable, by default `app`. All functions become the
    next version at once. Where anything fails nothing changes, and what is published already is not published again.
    """
    began = time.time()
    wanted = reference.parse(ref, is_module=is_module)
    from windlass import compat
    from windlass.cli import render
    from windlass.client import bridge, deploy, output

    compat.install()
    compat.hand_down()
    wishes = deploy.Wishes(name=name, environment=env, tag=tag, strategy=strategy)
    with render.open_output(timestamps=timestamps) as shown, output.using(shown):
        with reference.load(wanted) as module, lock.keeping(module, locked=locked):
            app = reference.choose_app(module, wanted)
            control.ensure(paths.home(), shown.status)
            deployed = bridge.run(deploy.deploy(app, wishes))
        title = f"App {name or app.name} ({deployed.app_id})"
        if deployed.skipped:
            click.echo(f"{title} is unchanged: deployment skipped, version {deployed.version} stays.")
        else:
            click.echo(f"{title} deployed in {time.time() - began:.1f} s: version {deployed.version}.")
        for function, url in ask.web_urls(ask.find_app(deployed.app_id, env)).items():
            click.echo(f"{function} => {url}")  # to stdout: scripts read where their app answers
        if not app._functions:
            click.echo("It has no functions: none was defined or imported by this module.", err=True)
        if stream_logs:
            _follow(deployed.app_id, began)
        else:
            click.echo(f"Its logs: windlass app logs -f {deployed.app_id}", err=True)


def _follow(app_id: str, since: float) -> None:
    from windlass.client import bridge, output, run, session

    async def follow() -> None:
        await run.follow_logs(session.current(), {"app_id": app_id, "since": since}, output.current())

    try:
        bridge.run(follow())
    except KeyboardInterrupt:
        click.echo(f"App {app_id} goes on without this command.", err=True)

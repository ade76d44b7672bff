"""`windlass server backup` and `windlass server restore`."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click

from windlass import exception, paths
from windlass.cli import options, programs


@click.command(help="Keep all state in an archive or a folder. The platform may run. Restore brings it back.")
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--with-images", is_flag=True, help="Images, too, which can be large and can be built again.")
def backup(target: Path, with_images: bool) -> None:
    home = paths.home()
    programs.check_owner(home)
    target = target.absolute()
    if target == home or home in target.parents:
        raise exception.InvalidError("a backup inside of the state that it keeps is none", hint="Choose another disk.")
    made = _apart("make", home, target, *(["--with-images"] if with_images else []))
    place = f"the folder {target}" if target.is_dir() else target
    click.echo(f"{made['files']:,} files, {made['size'] / 2**20:,.1f} MiB, are kept in {place}.")
    for path in made["left"][:10]:
        click.echo(f"Not kept is what has too long a path, in {path[:200]}…", err=True)
    if len(made["left"]) > 10:
        click.echo(f"The same in {len(made['left']) - 10:,} more folders.", err=True)
    click.echo("The key that secrets are encrypted with is among them: whoever reads the backup can read the secrets.")
    if (home / "blobs" / "kept").exists():
        click.echo("Blobs and layers of volumes that lie in a bucket are not: the backup only names them.")


@click.command(help="Bring back a backup. Without BACKUP: finish a restore that was interrupted.")
@click.argument("source", metavar="[BACKUP]", required=False, type=click.Path(path_type=Path))
@click.option("--replace", is_flag=True, help="Replace the state that is there; it is lost.")
@options.yes_option
def restore(source: Path | None, replace: bool, yes: bool) -> None:
    home = paths.home()
    lock = _stopped(home)
    try:
        if paths.unfinished_restore(home).exists():
            _apart("finish", home, Path())
            click.echo(f"The restore that was interrupted is finished: {home}.")
            if source is None:
                return
        if source is None:
            raise click.UsageError("Which backup? No restore was interrupted in this home.")
        _restore(source.absolute(), home, replace=replace, yes=yes)
    finally:
        os.close(lock)


def _restore(source: Path, home: Path, *, replace: bool, yes: bool) -> None:
    from windlass.cli.backups import restoring

    chosen = restoring.chosen(source)
    if restoring.occupied(home):
        if not replace:
            raise exception.AlreadyExistsError(
                f"there is state in {home} already",
                hint="Restore into another folder (WINDLASS_HOME), or lose what is there with --replace.",
            )
        options.confirm(f"Replace all state in {home} by {chosen}?", yes=yes)
    head = _apart("restore", home, chosen)
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(head["created_at"]))
    click.echo(f"{home} is as {head['home']} was at {when}.")
    if "layers" not in head["parts"]:
        click.echo("Images are not in it: deploy your apps again, which builds those that this machine lacks.")


def _stopped(home: Path) -> int:
    """The supervisor's lock: while it is held no platform starts on the home."""
    programs.prepare(home)
    lock = programs.take_lock(home)
    if lock is None:
        raise exception.ConflictError(
            f"the platform in {home} runs", hint="Stop it first: `windlass server stop`. Running containers end."
        )
    return lock


def _apart(verb: str, home: Path, place: Path, *more: str) -> Any:
    """Do it in another process: for an ordinary user in a namespace where files of containers are readable."""
    argv = [sys.executable, "-m", "windlass.cli.backups", verb, str(home), str(place), *more]
    unshare = shutil.which("unshare")
    if os.geteuid() != 0 and unshare is not None:
        argv = [unshare, "--user", "--map-root-user", "--map-auto", "--", *argv]
    done = subprocess.run(argv, env=dict(os.environ), stdout=subprocess.PIPE, text=True, check=False)
    try:
        said = json.loads(done.stdout)
    except ValueError:
        raise exception.ExecutionError(
            f"it ended with {done.returncode} and said nothing",
            hint="An ordinary user needs lines in /etc/subuid and /etc/subgid, and unshare of util-linux 2.38.",
        ) from None
    if "error" in said:
        from windlass.wire import status

        raise status.from_wire(said["error"])
    return said["done"]

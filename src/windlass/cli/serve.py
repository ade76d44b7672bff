"""`windlass serve`: an app that runs until Ctrl-C, and is loaded anew whenever its files change.

    load ─► app.run ─► publish ─► wait for a change ─► load ─► publish ─► …

The app lives in this process, its code never does: ``loader`` imports it, and publishes it into the running app.
Functions that did not change keep their containers; a load that fails leaves everything as it was.
"""
from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from windlass import exception, paths
from windlass.cli import completion, control, loader, reference, signals

_QUIET = 50  # ms without a change, then what changed is loaded
_DEBOUNCE = 500  # ms after which it is loaded although files still change
_LOOK = 500  # ms between two looks at the clock
_STEP = 10_000_000  # ns by which the times that a kernel gives to files may lag behind its clock
_SKIPPED = frozenset({"__pycache__", ".git", ".hg", ".svn", ".venv", "node_modules", ".mypy_cache", ".pytest_cache"})
_MOST = 5000  # folders


@click.command(name="serve")
@click.option("-n", "--name", metavar="NAME", help="Name of the app in lists.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), help="End by itself after so many seconds.")
@click.option("-e", "--env", metavar="NAME", help="Environment to run in.")
@click.option("-m", "is_module", is_flag=True, help="REF is a module (package.module), not a file.")
@click.option("--timestamps", is_flag=True, help="Begin each line of containers with its time.")
@click.argument("ref", metavar="REF", shell_complete=completion.files)
def command(
    name: str | None, timeout: float | None, env: str | None, is_module: bool, timestamps: bool, ref: str
) -> None:
    """Run an app until Ctrl-C, and load it anew whenever a file of it changes.

    REF is FILE[::APP] or, with -m, a module; APP is the name of a variable, by default `app`. Functions that did not
    change keep their containers. While a change cannot be loaded the version before goes on.
    """
    loader.check()
    wanted = reference.parse(ref, is_module=is_module)
    if wanted.source == "-":
        raise exception.InvalidError("A script on stdin cannot change.", hint="Write it to a file.")
    from windlass import config
    from windlass.client import names

    signals.end_orderly()
    environment = names.environment(env)
    seconds = timeout or config.config["serve_timeout"]
    control.ensure(paths.home())
    with loader.Loader(loader.Plan(wanted, environment, timestamps)) as loads:
        began = time.time_ns()
        loaded = loads.load()
        if loaded is None:
            raise SystemExit(1)
        serving = Serving(loads, loaded["watched"], began, time.monotonic() + seconds if seconds else None)
        serving.run(name or loaded["description"] or str(wanted), loaded["name"], environment, timestamps)


class Serving:
    """The app that runs, and what of it is watched. ``began``: when its load did (ns of the wall clock)."""

    def __init__(
        self, loads: loader.Loader, watched: dict[str, list[str]], began: int, deadline: float | None
    ) -> None:
        self._loads = loads
        self._watched = watched
        self._began = began
        self._deadline = deadline
        self._caught: dict[str, int] = {}

    def run(self, description: str, name: str | None, environment: str, timestamps: bool) -> None:
        """Until Ctrl-C, or the deadline. Raises ``SystemExit`` when the first version cannot be published."""
        from windlass import app as apps
        from windlass.cli import render
        from windlass.client import output

        empty = apps.App(name)
        with render.open_output(timestamps=timestamps) as shown, output.using(shown):
            with empty.run(name=description, environment_name=environment), contextlib.suppress(TimeoutError):
                assert empty.app_id is not None
                if self._loads.publish(empty.app_id, self._deadline) is None:
                    raise SystemExit(1)
                shown.notice(f"serving app {empty.app_id}; Ctrl-C ends it.")
                self._reload(empty.app_id, shown)

    def _reload(self, app_id: str, shown: Any) -> None:
        for changed in self._changes():
            began, self._began = time.monotonic(), time.time_ns()
            shown.notice(f"changed: {_few(changed)}; loading the app anew.")
            loaded = self._loads.load(self._deadline)
            if loaded is not None:
                self._watched = loaded["watched"]
                published = self._loads.publish(app_id, self._deadline)
                if published is not None:
                    same = ": nothing that its containers see has changed" if published["skipped"] else ""
                    shown.notice(f"reloaded in {time.monotonic() - began:.2f} s{same}.")
                    continue
            shown.notice("this could not be loaded; the version before goes on.")

    def _changes(self) -> Iterator[list[str]]:
        """Paths that changed, once it is quiet for a moment."""
        import watchfiles

        while True:
            watched, is_first = self._watched, True
            for changes in watchfiles.watch(
                *_folders(watched), watch_filter=_Filter(watched), recursive=False, step=_QUIET, debounce=_DEBOUNCE,
                rust_timeout=_LOOK, yield_on_timeout=True,
            ):  # fmt: skip
                if self._deadline is not None and time.monotonic() > self._deadline:
                    return
                paths = {path for _, path in changes}
                if is_first:  # now that it is watched
                    is_first = False
                    paths |= self._missed()
                if paths:
                    yield sorted(paths)
                    if _folders(self._watched) != _folders(watched) or self._watched != watched:
                        break
                elif _folders(watched) != _folders(self._watched):
                    break

    def _missed(self) -> set[str]:
        """What was saved since the last load began, and before it was watched; each only once, whatever the clock of
        the files' system says."""
        since = self._began - _STEP
        stamps = {path: stamp for path, stamp in _stamps(self._watched) if stamp >= since}
        caught, self._caught = self._caught, stamps
        return {path for path, stamp in stamps.items() if caught.get(path) != stamp}


def _stamps(watched: dict[str, list[str]]) -> Iterator[tuple[str, int]]:
    """When what is watched was changed last (ns); folders by what is in them."""
    ours = _Filter(watched)
    for folder in _folders(watched):
        found = [folder]
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            found += [entry.path for entry in entries if not entry.is_dir(follow_symlinks=False)]
        for path in found:
            with contextlib.suppress(OSError):
                if path in ours:
                    yield path, Path(path).stat().st_ctime_ns


def _few(changed: list[str]) -> str:
    names = [Path(path).name for path in changed]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _folders(watched: dict[str, list[str]]) -> list[str]:
    """Each folder by itself: one that holds a single file of ours may hold a whole disk besides.

    Files are seen through their folders, because editors put a new file in the place of the old one.
    """
    found = {str(Path(path).parent) for path in watched["files"]}
    for tree in watched["trees"]:
        for folder, below, _ in os.walk(tree):
            below[:] = [name for name in below if name not in _SKIPPED]
            found.add(folder)
    return sorted(folder for folder in found if Path(folder).is_dir())[:_MOST]


class _Filter:
    """Changes that matter: of a watched file, or below a watched folder; no caches, no editor's temporary files."""

    def __init__(self, watched: dict[str, list[str]]) -> None:
        import watchfiles

        self._files = frozenset(watched["files"])
        self._trees = tuple(tree.rstrip("/") + "/" for tree in watched["trees"])
        self._usual = watchfiles.DefaultFilter()

    def __contains__(self, path: str) -> bool:
        return path in self._files or f"{path}/".startswith(self._trees)

    def __call__(self, change: Any, path: str) -> bool:
        ours = path in self and Path(path).name != "4913"  # so vim tries whether it may write
        return ours and self._usual(change, path)

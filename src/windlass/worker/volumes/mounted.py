"""One volume in one container: its stack, its private upper folders, and what of them is committed.

    containers/<id>/volumes/<n>/
        state.json       all of this, for the next worker
        merged/          where a stack is put together; nothing hangs there afterwards
        seen-<k>.json    what of a busy upper folder is committed
        pending-<k>.json a layer made of it that is on its way to the server
        upper-<k>/       what the container wrote, the newest number last
        work-<k>/

A commit or a reload of a mount that nothing in the container uses at that moment exchanges it: the upper folder of the
old stack can then be changed by nobody any more (it is *frozen*) and becomes a layer by links, without copying a byte;
the new stack shows it below a new upper folder. Where the mount is busy, changed files are copied out of the live upper
folder. What is frozen is committed sooner or later: at the next commit, at the container's end, or by the next worker.
"""
from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

from windlass import exception
from windlass.kit import trees
from windlass.wire.messages import volumes as messages
from windlass.worker import linux, overlay, spec
from windlass.worker.images import rooted
from windlass.worker.volumes import checking, measuring, sparing, swap, taking
from windlass.worker.volumes import layers as layer_store

FOLDER = "volumes"


class Upper(TypedDict):
    """``done``: all of it is committed, and nobody can change it."""

    n: int
    done: bool


class Pending(NamedTuple):
    """A layer that shall become a commit. ``seen``: what of the upper folder that commits; unless ``live``, all."""

    made: layer_store.Made
    seen: dict[str, taking.Seen]
    live: bool


class _State(TypedDict):
    """``devices``: that the stack has; during an exchange that of the new one, too."""

    plan: messages.MountPlan
    devices: list[int]
    uppers: list[Upper]


class Mount:
    """Everything here is for threads; one at a time for each mount (``lock`` in ``service``)."""

    def __init__(self, folder: Path, state: _State, layers: layer_store.Layers) -> None:
        self.folder = folder
        self._state = state
        self._layers = layers

    # -- its facts -----------------------------------------------------------------------------------------

    @property
    def plan(self) -> messages.MountPlan:
        return self._state["plan"]

    @property
    def volume_id(self) -> str:
        return self.plan["volume_id"]

    def place(self, pid: int) -> swap.Place | None:
        """Where it hangs in the container of ``pid``."""
        for found in swap.places(pid):
            if found.upper:
                if found.upper.startswith(f"{self.folder}/"):
                    return found
            elif self.plan["read_only"] and found.device in self._state["devices"]:
                return found
        return None

    def used(self) -> set[str]:
        """Layers that must stay."""
        waiting = [self.pending(upper) for upper in self._state["uppers"]]
        return {*self.plan["layers"], *(one.made.layer_id for one in waiting if one is not None)}

    def newest(self) -> Upper:
        """What the container writes to."""
        return self._state["uppers"][-1]

    def is_clean(self) -> bool:
        """Whether there is nothing to commit."""
        uppers = self._state["uppers"]
        return all(upper["done"] for upper in uppers[:-1]) and not any(self._path(uppers[-1]).iterdir())

    def _path(self, upper: Upper) -> Path:
        return self.folder / f"upper-{upper['n']}"

    def _write(self) -> None:
        self._keep("state", self._state)

    # -- stacks --------------------------------------------------------------------------------------------

    def begin(self) -> Path:
        """Put the first stack together; the folder to show in the container."""
        self.folder.mkdir(parents=True)
        merged = self.folder / "merged"
        merged.mkdir()
        self._begin_upper(None)
        self._write()
        self._stack(merged)
        self._write()
        return self._root(merged)

    def forget_own(self) -> None:
        """Take our own copy of the mount away: the container has its own."""
        overlay.unmount(self.folder / "merged")

    def _begin_upper(self, before: Upper | None) -> None:
        uppers = self._state["uppers"]
        new: Upper = {"n": before["n"] + 1 if before else 0, "done": False}
        layer_store.dressed(self._path(new))
        if before is not None:
            layer_store.dress_like(self._path(new), self._path(before))
        elif self.plan["layers"]:
            layer_store.dress_like(self._path(new), self._layers.files(self.plan["layers"][-1]))
        (self.folder / f"work-{new['n']}").mkdir()
        uppers.append(new)

    def _stack(self, merged: Path) -> None:
        seen = checking.visible(self._layers, self.plan["layers"])
        checking.refuse(seen, below="/".join(_parts(self.plan["sub_path"])))
        lowers = self._layers.lowers(self.plan["layers"])
        if self.plan["read_only"]:
            lowers = [self._stub(), *lowers]
            overlay.mount(merged, lowers=lowers, suid=False)
        else:
            uppers = self._state["uppers"]
            lowers += [self._path(upper) for upper in uppers[:-1]]
            work = self.folder / f"work-{uppers[-1]['n']}"
            overlay.mount(merged, lowers=lowers, upper=self._path(uppers[-1]), work=work, suid=False)
        self._state["devices"].append(merged.stat().st_dev)

    def _stub(self) -> Path:
        """A lowest layer that has the folder ``sub_path``, for those who may not make it."""
        stub = self.folder / "stub"
        layer_store.dressed(stub)
        place = stub
        for part in _parts(self.plan["sub_path"]):
            place = place / part
            layer_store.dressed(place)
        return stub

    def _root(self, merged: Path) -> Path:
        parts = _parts(self.plan["sub_path"])
        if not parts:
            return merged
        inside = "/".join(parts)
        with rooted.at(merged) as root:
            try:
                for made in root.make(inside):
                    with root.opened(made, os.O_RDONLY | os.O_DIRECTORY) as descriptor:
                        os.chown(descriptor, spec.OWNER, spec.OWNER)
                with root.opened(inside, os.O_PATH | os.O_DIRECTORY) as descriptor:
                    return Path(os.readlink(f"/proc/self/fd/{descriptor}"))  # noqa: PTH115
            except OSError as exc:
                raise exception.InvalidError(
                    f"sub_path {self.plan['sub_path']!r} of the volume is no folder: {exc.strerror}"
                ) from None

    # -- exchange ------------------------------------------------------------------------------------------

    def exchange(self, pid: int, head: tuple[int, list[str]] | None = None) -> None:
        """Freeze what the container wrote, and give it a new stack. ``head``: number and layers of the version that
        it shall see below what it has not committed; without one it sees what it saw.

        Raises:
            swap.Busy: something in the container uses the mount; nothing has changed.
        """
        old: _State = json.loads(json.dumps(self._state))
        merged = self.folder / "merged"
        if head is not None:
            self.plan["base"], self.plan["layers"] = head
            self._state["uppers"] = [upper for upper in self._state["uppers"] if not upper["done"]]
        if not self.plan["read_only"]:
            self._begin_upper(old["uppers"][-1])
        try:
            with self._layers.hold(old["plan"]["layers"]):
                self._stack(merged)
                try:
                    self._write()  # whatever happens now: the next worker knows all upper folders
                    tree = linux.open_tree(self._root(merged))
                finally:
                    overlay.unmount(merged)
                try:
                    swap.exchange(pid, self.place(pid), tree, self.plan["path"])
                finally:
                    os.close(tree)
        except BaseException:
            self._undo(old)
            raise
        self._state["devices"] = self._state["devices"][-1:]
        for upper in self._state["uppers"][:-1]:
            if not upper["done"] and not any(self._path(upper).iterdir()):
                upper["done"] = True
        self._write()
        self._remove_all_but({upper["n"] for upper in self._state["uppers"]})

    def _undo(self, old: _State) -> None:
        self._state = old
        self._remove_beyond()
        self._write()

    def _remove_beyond(self) -> None:
        """Upper folders that were never shown. Those before the newest may be part of what is shown now."""
        newest = self._state["uppers"][-1]["n"] if self._state["uppers"] else -1
        self._remove_all_but(set(range(newest + 1)))

    def _remove_all_but(self, kept: set[int]) -> None:
        for entry in [*self.folder.glob("upper-*"), *self.folder.glob("work-*")]:
            if (number := int(entry.name.rpartition("-")[2])) not in kept:
                _remove(entry)
                for kind in ("seen", "pending"):
                    (self.folder / f"{kind}-{number}.json").unlink(missing_ok=True)

    def mend(self, pid: int) -> None:
        """Put right what a worker left that was killed in the middle of an exchange. ``pid`` 0: the container is gone.

        Raises:
            swap.Busy: never; the place was empty.
        """
        self.forget_own()
        found = self.place(pid) if pid else None
        if found is not None and found.upper:
            shown = int(found.upper.rpartition("-")[2])
            self._state["uppers"] = [upper for upper in self._state["uppers"] if upper["n"] <= shown]
        for upper in self._state["uppers"]:
            if upper["done"]:
                (self.folder / f"pending-{upper['n']}.json").unlink(missing_ok=True)
        self._remove_beyond()
        self._write()
        if pid and found is None:
            self.exchange(pid)

    # -- commits -------------------------------------------------------------------------------------------

    def uncommitted(self, *, frozen: bool) -> Iterator[Upper]:
        """Upper folders with something that may not be committed yet, oldest first. ``frozen``: without the one that
        the container writes to."""
        uppers = self._state["uppers"]
        yield from [upper for upper in (uppers[:-1] if frozen else uppers) if not upper["done"]]

    def make(self, upper: Upper, *, live: bool, final: bool = False, patient: bool = False) -> Pending | None:
        """A layer of what is new in an upper folder, to be published; None where nothing is.

        ``live``: the container may write to it meanwhile. ``final``: trust contents instead of times. ``patient``: see
        ``taking.take``.
        """
        seen = self._seen(upper)
        if final:
            seen = {path: one._replace(ctime=0) if one.kind == taking.FILE else one for path, one in seen.items()}
        with self._layers.draft() as draft:
            taken = taking.take(self._path(upper), draft / "files", seen, frozen=not live, patient=patient)
            if not taken.puts and not taken.clears:
                if not live:
                    self._done(upper)
                return None
            made = self._layers.publish(draft, taken.files, puts=taken.puts, clears=taken.clears)
        pending = Pending(made, taken.seen, live)
        self._keep(f"pending-{upper['n']}", [list(made), pending.seen, live])
        return pending

    def check_paths(self) -> None:
        """Raise ``InvalidError`` for what the container wrote and no commit could take."""
        if self._state["uppers"]:
            taking.check_paths(self._path(self._state["uppers"][-1]))

    def pending(self, upper: Upper) -> Pending | None:
        """What was made before, and may have been published or not: the worker was killed before it knew."""
        try:
            made, seen, live = json.loads((self.folder / f"pending-{upper['n']}.json").read_text())
            self._layers.files(made[0])
        except (FileNotFoundError, exception.NotFoundError):
            return None
        return Pending(layer_store.Made(*made), {path: taking.Seen(*one) for path, one in seen.items()}, live)

    def committed(self, upper: Upper, pending: Pending) -> None:
        """The server keeps the layer."""
        if pending.live:
            self._keep(f"seen-{upper['n']}", pending.seen)
        else:
            self._done(upper)
        (self.folder / f"pending-{upper['n']}.json").unlink(missing_ok=True)

    def refused(self, upper: Upper, pending: Pending) -> None:
        """There is no room for the layer. What the container still can change is made anew the next time, so that it
        may remove what was too much; what is frozen waits for room."""
        if pending.live:
            (self.folder / f"pending-{upper['n']}.json").unlink(missing_ok=True)
            self._layers.remove(pending.made.layer_id)

    def size(self) -> int:
        """Bytes of files that are not committed, at most."""
        waiting = [self._path(upper) for upper in self._state["uppers"] if not upper["done"]]
        return sum(measuring.shown(path)[1] for path in waiting)

    def _done(self, upper: Upper) -> None:
        upper["done"] = True
        self._write()

    def _seen(self, upper: Upper) -> dict[str, taking.Seen]:
        try:
            text = (self.folder / f"seen-{upper['n']}.json").read_text()
        except FileNotFoundError:
            return {}
        return {path: taking.Seen(*one) for path, one in json.loads(text).items()}

    def _keep(self, name: str, value: Any) -> None:
        draft = self.folder / f"{name}.new"
        draft.write_text(json.dumps(value))
        draft.rename(self.folder / f"{name}.json")

    def spare(self, upper: Upper, layer_id: str, clash: list[str], clears: list[str]) -> tuple[list[str], list[str]]:
        """Let a layer that is not committed yet leave those of the paths ``clash`` alone that the container never saw.
        See ``sparing.spare``."""
        own = [self._path(one) for one in self._state["uppers"] if one["n"] < upper["n"]]
        with self._layers.view(self.plan["layers"], own) as base:
            sight = sparing.Sight(base, self._seen(upper))
            return sparing.spare(self._layers.root / layer_id / "files", sight, clash, clears)


def new(folder: Path, plan: messages.MountPlan, layers: layer_store.Layers) -> Mount:
    return Mount(folder, {"plan": plan, "devices": [], "uppers": []}, layers)


def load(folder: Path, layers: layer_store.Layers) -> list[Mount]:
    """The mounts of a container, by what an earlier worker (or this one) wrote."""
    found = []
    for entry in sorted((folder / FOLDER).glob("*/state.json")):
        state: Any = json.loads(entry.read_text())
        found.append(Mount(entry.parent, state, layers))
    return found


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


def _remove(path: Path) -> None:
    trees.remove(path)

"""What a RUN runs, and what it mounts. Pure."""
from __future__ import annotations

import posixpath
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from windlass.client.dockerfile import instructions
    from windlass.wire.messages import images

_SCRATCH = frozenset({"cache", "tmpfs"})
_OPTIONS = {
    "bind": frozenset({"type", "target", "dst", "destination", "source", "src", "ro", "readonly", "from"}),
    "cache": frozenset(
        {"type", "target", "dst", "destination", "id", "sharing", "mode", "uid", "gid", "ro", "readonly", "rw"}
    ),
    "tmpfs": frozenset({"type", "target", "dst", "destination", "size"}),
}  # fmt: skip


class Mount(NamedTuple):
    """``is_bound``: shows ``source`` of the context at ``target``; otherwise an empty folder is there."""

    is_bound: bool
    source: str
    target: str


def command(one: instructions.Instruction) -> images.Recipe:
    """The recipe of a RUN, without variables and mounts. Raises ``ImageBuildError`` for what cannot be run so."""
    if one.flag("network") not in ("", "default"):
        raise one.fault("RUN --network supports default only")
    if one.words is not None:
        if not one.words:
            raise one.fault("RUN [] names no program")
        return {"op": "run", "argv": one.words}
    heredocs = one.line.heredocs
    if not heredocs:
        return {"op": "run", "commands": [one.rest]}
    if len(one.parts()) == 1:  # the heredoc itself is the script
        text = heredocs[0].text
        return {"op": "run", "script": text} if text.startswith("#!") else {"op": "run", "commands": [text]}
    ends = "".join(f"{heredoc.text}{heredoc.name}\n" for heredoc in heredocs)
    return {"op": "run", "commands": [f"{one.rest}\n{ends}"]}


def mount(one: instructions.Instruction, text: str) -> Mount:
    """What ``--mount=…`` asks for. Raises ``ImageBuildError`` for what is not supported."""
    options: dict[str, str] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        options[name.strip().lower()] = value.strip().strip("\"'")
    kind = options.get("type", "bind")
    if kind not in _OPTIONS:
        hint = "Pass secrets to the method: commands see them as variables." if kind == "secret" else ""
        raise one.fault(f"RUN --mount=type={kind} is not supported", hint=hint)
    if unknown := sorted(set(options) - _OPTIONS[kind]):
        raise one.fault(f"RUN --mount=type={kind} does not support {unknown[0]}")
    if options.get("from"):
        raise one.fault("RUN --mount=type=bind supports the context only", hint="Use COPY --from=… instead.")
    target = options.get("target") or options.get("dst") or options.get("destination") or ""
    if not posixpath.normpath(target).strip("/.") or "\0" in target:
        raise one.fault("RUN --mount needs a target")
    return Mount(kind not in _SCRATCH, options.get("source") or options.get("src") or ".", target)

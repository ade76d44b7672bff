"""The stages of a Dockerfile: what each begins with, and which of them the last one needs. Pure."""
from __future__ import annotations

import re
from typing import NamedTuple

from windlass.client.dockerfile import instructions, lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

_NAME = re.compile(r"[a-z][a-z0-9_.-]*\Z")
_MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}

Origin = int | str
"""An earlier stage by its number, or an image by its reference."""


class Stage(NamedTuple):
    """``base``: an earlier stage, a reference, or "scratch". ``origins``: of each ``--from`` in it."""

    number: int
    name: str
    base: Origin
    start: instructions.Instruction
    body: list[instructions.Instruction]
    origins: dict[str, Origin]

    def needs(self) -> list[int]:
        """Numbers of the stages that it is made from."""
        return sorted({origin for origin in (self.base, *self.origins.values()) if isinstance(origin, int)})


class File(NamedTuple):
    """``args``: of the lines above the first FROM, where they have a value."""

    args: dict[str, str]
    stages: list[Stage]

    def unused(self, build_args: Mapping[str, str]) -> list[str]:
        """Those of ``build_args`` that no ARG declares."""
        args = [one for stage in self.stages for one in stage.body if one.name == "ARG"]
        declared = {name for one in args for name, _ in assignments(one)}
        return sorted(set(build_args) - declared - set(self.args))

    def needed(self) -> list[int]:
        """Numbers of the stages that make the last one, itself included, in order."""
        found, waiting = set[int](), [len(self.stages) - 1]
        while waiting:
            number = waiting.pop()
            if number not in found:
                found.add(number)
                waiting += self.stages[number].needs()
        return sorted(found)


def machine() -> str:
    """This machine's architecture as images name it."""
    import platform

    return _MACHINES.get(platform.machine(), platform.machine())


def platform_args() -> dict[str, str]:
    """Variables that are there without ARG above the first FROM, and by a bare ARG below it."""
    arch = machine()
    found: dict[str, str] = {}
    for side in ("TARGET", "BUILD"):
        found |= {f"{side}PLATFORM": f"linux/{arch}", f"{side}OS": "linux", f"{side}ARCH": arch, f"{side}VARIANT": ""}
    return found


def read(text: str, file: str, build_args: Mapping[str, str]) -> File:
    """Understand a whole Dockerfile. Raises ``ImageBuildError`` that shows the line."""
    found = instructions.read(lines.split(text, file))
    first = next((at for at, one in enumerate(found) if one.name == "FROM"), len(found))
    args = _globals(found[:first], build_args)
    if first == len(found):
        last = found[-1].line if found else lines.Line(file, 1, text.split("\n", 1)[0], "")
        raise last.fault("there is no FROM", hint="A Dockerfile begins with FROM, which names a base image.")
    read_so_far: list[Stage] = []
    for one in found[first:]:
        if one.name == "FROM":
            read_so_far.append(_begun(one, read_so_far, {**platform_args(), **args}))
        else:
            read_so_far[-1].body.append(one)
            _note_origin(one, read_so_far)
    return File(args, read_so_far)


def read_commands(text: str, source: str) -> list[instructions.Instruction]:
    """Instructions that continue an image. Raises ``ImageBuildError`` where one of them is FROM."""
    found = instructions.read(lines.split(text, source))
    if wrong := next((one for one in found if one.name == "FROM"), None):
        raise wrong.fault("FROM cannot continue an image", hint="Image.from_dockerfile takes whole Dockerfiles.")
    return found


def assignments(one: instructions.Instruction) -> list[tuple[str, str | None]]:
    """What an ARG declares; None is no default."""
    found: list[tuple[str, str | None]] = []
    for part in one.parts():
        name, equals, default = part.partition("=")
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise one.fault(f"ARG takes NAME or NAME=default, and {part!r} is neither")
        found.append((name, default if equals else None))
    return found


def _globals(found: Sequence[instructions.Instruction], build_args: Mapping[str, str]) -> dict[str, str]:
    args: dict[str, str] = {}
    for one in found:
        if one.name != "ARG":
            raise one.fault(f"{one.name} stands before the first FROM", hint="Only ARG may stand there.")
        for name, default in assignments(one):
            if name in build_args:
                args[name] = build_args[name]
            elif default is not None:
                known = {**platform_args(), **args}
                args[name] = one.expand(default, known.get)
    return args


def _begun(one: instructions.Instruction, earlier: Sequence[Stage], args: Mapping[str, str]) -> Stage:
    _check_platform(one, args)
    parts = one.parts()
    if len(parts) not in (1, 3) or (len(parts) == 3 and parts[1].upper() != "AS"):
        raise one.fault("FROM takes an image, or: image AS name")
    name = parts[2].lower() if len(parts) == 3 else ""
    if name and not _NAME.match(name):
        raise one.fault(f"{parts[2]!r} is no name for a stage", hint="Letters, digits, _ . and - after a letter.")
    if name and name in {stage.name for stage in earlier}:
        raise one.fault(f"there is already a stage {name!r}")
    base = one.expand(parts[0], args.get)
    if not base or base.split() != [base]:
        raise one.fault(f"FROM names no image: {parts[0]} is {base!r}", hint="Give the ARG a default or a build_args.")
    found = _stage(base, earlier)
    return Stage(len(earlier), name, base if found is None else found, one, [], {})


def _check_platform(one: instructions.Instruction, args: Mapping[str, str]) -> None:
    wanted = one.expand(one.flag("platform"), args.get)
    if wanted.lower() not in ("", f"linux/{machine()}"):
        raise one.fault(f"the platform {wanted} cannot be built here", hint=f"This machine is linux/{machine()}.")


def _note_origin(one: instructions.Instruction, stages: Sequence[Stage]) -> None:
    """Remember where the ``--from`` of a COPY leads."""
    if not one.flags.get("from"):
        return
    wanted = one.flag("from")
    if "$" in wanted:
        raise one.fault("--from takes no variables", hint=f"Add a stage for it: FROM {wanted} AS name.")
    current, earlier = stages[-1], stages[:-1]
    if not wanted or wanted.lower() in {current.name, str(current.number)} - {""}:
        raise one.fault("COPY --from names an earlier stage or an image, not its own stage")
    is_number = re.fullmatch(r"[0-9]{1,4}", wanted) is not None
    found = int(wanted) if is_number and int(wanted) < len(earlier) else _stage(wanted, earlier)
    if found is None and is_number:
        raise one.fault(f"there is no earlier stage {wanted}")
    current.origins[wanted] = wanted if found is None else found


def _stage(name: str, stages: Collection[Stage]) -> int | None:
    return next((stage.number for stage in stages if stage.name and stage.name == name.lower()), None)

"""The variables that instructions see: ENV of the file goes before ARG, which goes before what the base image sets."""
from __future__ import annotations

from windlass import exception
from windlass.client.dockerfile import stages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from windlass.client.dockerfile import instructions

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""PATH where an image sets none."""


class Scope:
    """Of one stage.

    Args:
        base: asks for the variables of the base image; only awaited when an instruction names one that is not known.
        outer: what the lines above the first FROM declared.
        build_args: the caller's values.
    """

    def __init__(
        self,
        base: Callable[[], Awaitable[Mapping[str, str]]],
        *,
        outer: Mapping[str, str],
        build_args: Mapping[str, str],
    ) -> None:
        self.env: dict[str, str] = {}
        self.args: dict[str, str] = {}
        self._base = base
        self._outer = {**stages.platform_args(), **outer}
        self._build_args = build_args

    def child(self) -> Scope:
        """Of a stage that begins with this one."""
        scope = Scope(self._base, outer=self._outer, build_args=self._build_args)
        scope.env, scope.args = dict(self.env), dict(self.args)
        return scope

    async def expand(self, one: instructions.Instruction, text: str, *, verbatim: bool = False) -> str:
        """``text`` with its variables replaced. ``verbatim``: its quotes and escapes stay.

        Raises ``ImageBuildError`` that shows the line.
        """
        unknown: set[str] = set()

        def value(name: str) -> str | None:
            found = self.env.get(name, self.args.get(name))
            if found is None:
                unknown.add(name)
            return found

        found = ""
        try:
            found = one.expand(text, value, verbatim=verbatim)
        except exception.ImageBuildError:
            if not unknown:
                raise
        if not unknown:
            return found
        known = {"PATH": DEFAULT_PATH, **await self._base(), **self.args, **self.env}
        return one.expand(text, known.get, verbatim=verbatim)

    async def declare(self, one: instructions.Instruction) -> None:
        """Take an ARG in."""
        for name, default in stages.assignments(one):
            if name in self._build_args:
                self.args[name] = self._build_args[name]
            elif default is not None:
                self.args[name] = await self.expand(one, default)
            elif name in self._outer:
                self.args[name] = self._outer[name]

    def seen(self) -> dict[str, str]:
        """What a command sees beside the image's variables."""
        return {name: value for name, value in self.args.items() if name not in self.env}

"""What all parts of ``Function`` share: what is known of it, and how it comes to be known."""
from __future__ import annotations

from windlass.client import faces
from windlass.client import object as objects

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Generic, ParamSpec, TypeVar

    from windlass import options
    from windlass.app import App
    from windlass.client import anatomy, binding, resolver, source
    from windlass.function import Function
    from windlass.wire.messages import functions

    P = ParamSpec("P")
    R = TypeVar("R", covariant=True)
    O = TypeVar("O", covariant=True)  # noqa: E741 - what the original function returns: R, or an awaitable of it

    class _Base(objects.Object, Generic[P, R, O]): ...

else:
    P = R = O = None  # noqa: E741

    class _Base(objects.Object):
        def __class_getitem__(cls, _: object) -> type:
            return cls


class Handle(_Base[P, R, O]):
    """A function as it was described, looked up, or bound to a variant."""

    _prefix = "fu"
    _tag: str = ""
    _app: App | None = None
    _source: source.Source | None = None
    _options: options.Options | None = None
    _spec: functions.FunctionSpec | None = None
    _lookup: functions.FunctionGet | None = None
    _is_generator: bool | None = False
    """None until it is known: before a looked-up function is hydrated."""
    _app_id: str | None = None
    _binding: binding.Binding | None = None
    """Of a variant: which one. Its id is known when it is ready."""
    _method: str = ""
    """Of a method: its name. Then the function is the class's."""
    _asked: dict[str, Any] = {}
    """Fields of its spec that other decorators ask for."""
    _web_urls: dict[str, str] = {}
    """Where it answers requests, once it is hydrated."""
    _anatomy: anatomy.Anatomy | None = None
    """Of a class that is defined here."""
    _class_info: dict[str, Any] | None = None
    """Of a class that is defined here or hydrated: its name, methods and parameters."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        faces.known_as("Function", cls)

    @property
    def _whole(self) -> Function[P, R, O]:
        return self  # type: ignore[return-value]

    @property
    def _shown(self) -> str:
        """In code that hints write."""
        return self._tag

    @property
    def _answers_requests(self) -> bool:
        """Whether it is known to be a web function."""
        if self._method:
            return "web" in self._info.get("methods", {}).get(self._method, {})
        return "web" in self._asked or "" in self._web_urls

    def _describe(self) -> str:
        return f"Class {self._class_name!r}" if self._tag.endswith(".*") else f"Function {self._tag!r}"

    def _metadata(self) -> dict[str, Any]:
        common = {"tag": self._tag, "app_id": self._app_id, "is_generator": self._is_generator}
        return {**common, **self._info, "web_urls": self._web_urls}

    def _apply_metadata(self, metadata: dict[str, Any]) -> None:
        self._tag, self._app_id = metadata["tag"], metadata["app_id"]
        self._is_generator = metadata["is_generator"]
        self._web_urls = metadata.get("web_urls", {})
        if metadata.get("class_name"):
            self._class_info = {name: metadata[name] for name in ("class_name", "methods", "parameters")}

    def _hydrate_from(self, info: functions.FunctionInfo) -> None:
        self._hydrate(info["function_id"], {**info})

    @property
    def _info(self) -> dict[str, Any]:
        """Of a class, as soon as it is known: ``class_name``, ``methods`` and ``parameters`` of its spec."""
        return self._class_info or {}

    @property
    def _class_name(self) -> str:
        return self._tag.removesuffix(".*")

    async def _ready(self) -> str:
        if self._binding is None:
            return await super()._ready()
        self._object_id = await self._binding.ready()
        if self._is_generator is None and not self._method:
            self._is_generator = self._binding.base._is_generator
        return self._object_id

    @property
    def _known_id(self) -> str | None:
        """Its id where nobody needs to be asked: that of a variant may be of an earlier run of the app."""
        return self._object_id if self._binding is None else None

    def _deps(self) -> Sequence[objects.Object]:
        if self._options is None or self._app is None:
            return ()
        volumes = [*self._app._volumes.values(), *self._options.volumes.values()]
        needed: list[objects.Object] = [self._app._image_for(self._whole), *self._app._secrets, *self._options.secrets]
        needed += self._options.network_file_systems.values()
        if self._options.proxy is not None:
            needed.append(self._options.proxy)
        if volumes:
            from windlass.client import buckets

            needed += buckets.needs(volumes)
        return needed

    async def _load(self, context: resolver.Context) -> None:
        if self._lookup is not None:
            self._hydrate_from((await context.session.request("function.get", self._lookup)).body)
            return
        from windlass.client import create

        await create.function(self._whole, context)

    def _entered(self) -> None:
        """Called by the runner when the module is imported: errors of the image's ``imports()`` count now."""
        if self._app is not None:
            image = self._app._chosen_image(self._whole)
            if image is not None:
                image._entered()

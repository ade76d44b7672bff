"""What all parts of ``App`` share: its name, what it consists of, and its identity once it runs."""
from __future__ import annotations

from windlass import exception, options
from windlass.client import faces, here, names, source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from windlass.app import App
    from windlass.app.defining import LocalEntrypoint
    from windlass.client import run as running
    from windlass.cls import Cls
    from windlass.function import Function
    from windlass.image import Image
    from windlass.secret import Secret


class Handle:
    """An app as it was described."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        faces.known_as("App", cls)

    def __init__(
        self,
        name: str | None = None,
        *,
        tags: dict[str, str] | None = None,
        image: Image | None = None,
        secrets: Sequence[Secret] = [],
        volumes: Mapping[Any, Any] = {},
        include_source: bool = True,
    ) -> None:
        if name is not None:
            names.check_object(name, "the app's name")
        options.refuse({"include_source": include_source})
        self._name = name
        self._description = name
        self._tags = names.check_tags(tags or {})
        self._image = options._image(image)
        self._secrets = options.secrets(secrets)
        self._volumes = options.volumes(volumes)
        self._include_source = include_source
        self._functions: dict[str, Function[..., Any, Any]] = {}
        self._classes: dict[str, Cls] = {}
        self._local_entrypoints: dict[str, LocalEntrypoint[..., Any]] = {}
        self._app_id: str | None = None
        self._running: running.Running | None = None
        self._default_image: Image | None = None
        if here.plan is not None and here.plan["app"]["app_name"] == name:
            self._app_id = here.plan["app"]["app_id"]

    @property
    def name(self) -> str | None:
        """The name it was given."""
        return self._name

    @property
    def app_id(self) -> str | None:
        """Its identity: None until it ran for the first time, kept afterwards."""
        return self._app_id

    @property
    def description(self) -> str | None:
        """What lists show: the name, where nothing else was set."""
        return self._description

    def set_description(self, description: str) -> None:
        """Set what lists show."""
        self._description = description

    @property
    def image(self) -> Image | None:
        """The image of functions that name none."""
        return self._image

    @image.setter
    def image(self, image: Image) -> None:
        self._image = options._image(image)

    @property
    def registered_functions(self) -> dict[str, Function[..., Any, Any]]:
        """All functions by name. Deprecated."""
        return self._functions

    @property
    def registered_entrypoints(self) -> dict[str, LocalEntrypoint[..., Any]]:
        """All local entrypoints by name. Deprecated."""
        return self._local_entrypoints

    @property
    def registered_classes(self) -> dict[str, Cls]:
        """All classes by name. Deprecated."""
        return self._classes

    @property
    def registered_web_endpoints(self) -> list[str]:
        """Names of all web functions. Deprecated."""
        return []

    def __repr__(self) -> str:
        return f"App({self._name!r})"

    @property
    def _whole(self) -> App:
        return self  # type: ignore[return-value]

    def _known_id(self) -> str:
        if self._app_id is None:
            raise exception.ExecutionError(f"{self!r} has no id yet", hint="It gets one when it is run or deployed.")
        return self._app_id

    def _register(self, function: Function[..., Any, Any], *, included: bool = False) -> Function[..., Any, Any]:
        known = self._functions.get(function._tag)
        if known is not None and known is not function and not source.is_interactive(function.get_raw_f()):
            import warnings

            warnings.warn(f"two functions of {self!r} are named {function._tag!r}: the later one counts", stacklevel=3)
        self._functions[function._tag] = function
        self._hydrate_in_container(function)
        return function

    def _hydrate_in_container(self, function: Function[..., Any, Any]) -> None:
        """Inside a container the ids of the app's functions are known without asking anybody."""
        if here.plan is None:
            return
        layout = here.plan["app"]
        info = layout["functions"].get(function._tag)
        if info is not None and layout["app_name"] in (None, self._name):
            function._hydrate_from(info)

    def _options_of(self, asked: Mapping[str, Any], *, is_generator: bool = False) -> options.Options:
        """Checked, with the app's own word where nothing is said. Raises ``InvalidError``."""
        chosen, said = options.Options(asked, is_generator=is_generator), asked.get("include_source")
        chosen.include_source = self._include_source if said is None else said
        return chosen

    def _chosen_image(self, function: Function[..., Any, Any]) -> Image | None:
        own = function._options.image if function._options is not None else None
        return own or self._image

    def _image_for(self, function: Function[..., Any, Any]) -> Image:
        chosen = self._chosen_image(function)
        if chosen is not None:
            return chosen
        if self._default_image is None:
            from windlass.image import Image

            self._default_image = Image.debian_slim()
        return self._default_image

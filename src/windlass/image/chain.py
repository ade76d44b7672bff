"""The chain that an image is: steps one after the other, files attached on top, and how it comes into being."""
from __future__ import annotations

from windlass import exception
from windlass.client import faces, gpus, recipes
from windlass.client import object as objects

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
    from typing import Any

    from typing_extensions import Self

    from windlass.client import imaging, resolver
    from windlass.client import mount as mounts
    from windlass.secret import Secret
    from windlass.wire.messages import images


_FOR_SCRATCH = frozenset({"copy", "env", "workdir", "entrypoint", "cmd", "shell"})


class _OfImages:
    """A method that says so when it is called on the class. ``Image.method(image, …)`` works as for any class."""

    def __init__(self, kept: Any) -> None:
        self._kept = kept

    def __get__(self, obj: object, owner: type[Chain]) -> Any:
        if obj is not None:
            return self._kept.__get__(obj, owner)
        face = getattr(self._kept, "_face", None)
        return face(_refusing(self._kept._function, owner)) if face else _refusing(self._kept, owner)


def _refusing(method: Any, owner: type[Chain]) -> Any:
    import functools

    @functools.wraps(method)
    def checked(*args: Any, **kwargs: Any) -> Any:
        if not args or not isinstance(args[0], Chain):
            raise exception.InvalidError(
                f"{owner.__name__}.{method.__name__}() was called on the class, not on an image",
                hint=f"Begin with a base: {owner.__name__}.debian_slim().{method.__name__}(…).",
            )
        return method(*args, **kwargs)

    return checked


class Chain(objects.Object):
    """What all parts of ``Image`` share. Never changed once made: each step gives a new one."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        faces.known_as("Image", cls)
        for name, value in list(vars(cls).items()):
            if not name.startswith("_") and isinstance(value, (type(forced), faces._Descriptor)):
                setattr(cls, name, _OfImages(value))

    _prefix = "im"
    _steps: tuple[recipes.Step, ...]
    _mounts: tuple[mounts.Mount, ...]  # attached when a container starts
    _misplaced: str = ""  # a build step that was put behind attached files
    _deferred: list[BaseException]  # of imports(); shared with images that differ in attached files only
    _mount_digests: tuple[str, ...] = ()
    _python: str = ""

    @classmethod
    def _start(cls, step: recipes.Step) -> Self:
        image = cls._new()
        image._steps, image._mounts, image._deferred = (step,), (), []
        return image

    def _derived(self) -> Self:
        image = self._new()
        image._steps, image._mounts, image._misplaced = self._steps, self._mounts, self._misplaced
        image._deferred = []
        return image

    def _step(
        self,
        recipe: images.Recipe,
        *,
        requirements: Sequence[str | os.PathLike[str]] = (),
        force_build: bool = False,
        env: dict[str, str | None] | None = None,
        secrets: Collection[Secret] | None = None,
        volumes: Mapping[str, objects.Object] | None = None,
        gpu: object = None,
    ) -> Self:
        if env:
            recipe["env"] = recipes.variables(f"{recipe['op']} step (env=…)", env, optional=True)
        step = recipes.Step(
            forced(recipe, force_build), secrets=checked(secrets or ()), requirements=requirements, volumes=volumes,
            gpus=gpus.parse(gpu),
        )  # fmt: skip
        return self._append(step)

    def _append(self, step: recipes.Step) -> Self:
        if self._steps and self._steps[0].recipe.get("base") == "scratch" and step.recipe["op"] not in _FOR_SCRATCH:
            raise exception.InvalidError(
                f"an image from_scratch() holds no program that could do {_named(step.recipe)!r}",
                hint="Only files and settings can be added to it; other steps need a base with a shell.",
            )
        image = self._derived()
        image._steps += (step,)
        if self._mounts and not self._misplaced:
            image._misplaced = _named(step.recipe)
        return image

    def _later(
        self,
        name: str,
        expand: Callable[[imaging.Around], Awaitable[list[images.Recipe]]],
        *,
        force_build: bool = False,
        env: dict[str, str | None] | None = None,
        secrets: Collection[Secret] | None = None,
        volumes: Mapping[str, objects.Object] | None = None,
        shared: Mapping[str, objects.Object] | None = None,
        gpu: object = None,
        needs: Sequence[objects.Object] = (),
    ) -> Self:
        """A step whose recipes are known only when the image is built: it reads local files, or asks for its parent.

        ``needs``: objects that must be hydrated before. ``volumes``, ``shared``: as ``recipes.Step`` has them.
        """
        common: images.Recipe = {}
        if env:
            common["env"] = recipes.variables(f"{name} step (env=…)", env, optional=True)
        step = recipes.Step(
            {"op": name, **forced(common, force_build)}, secrets=checked(secrets or ()), expand=expand, needs=needs,
            volumes=volumes, shared=shared, gpus=gpus.parse(gpu),
        )  # fmt: skip
        return self._append(step)

    def _add(self, mount: mounts.Mount, copy: bool) -> Self:
        if copy:
            return self._append(recipes.Step({"op": "copy"}, mount=mount))
        image = self._derived()
        image._deferred = self._deferred
        image._mounts += (mount,)
        return image

    def _describe(self) -> str:
        return "Image"

    def _metadata(self) -> dict[str, Any]:
        return {"python": self._python, "mounts": list(self._mount_digests)}

    def _apply_metadata(self, metadata: dict[str, Any]) -> None:
        self._python = metadata["python"]
        self._mount_digests = tuple(metadata["mounts"])
        if not hasattr(self, "_steps"):  # the handle travelled
            self._steps, self._mounts, self._deferred = (), (), []

    def _deps(self) -> Sequence[objects.Object]:
        return [needed for step in self._steps for needed in (*step.secrets, *step.needs)]

    async def _load(self, context: resolver.Context) -> None:
        from windlass.client import imaging

        built = await imaging.build(self._steps, misplaced=self._misplaced, context=context)
        digests = [await mount.upload(context.session) for mount in self._mounts]
        self._hydrate(built.image_id, {"python": built.python, "mounts": digests})

    def _entered(self) -> None:
        """Called by the runner when the user's module is imported and this is the image of its container.

        Raises the first failure of an ``imports()`` block.
        """
        if self._deferred:
            raise self._deferred[0]


def mounted(given: Mapping[Any, Any] | None) -> dict[str, Any]:
    """The volumes of a step by path. Raises ``InvalidError``, also for a bucket: nothing in a build signs in there."""
    from windlass import options
    from windlass.client import buckets

    own, alien = buckets.split(options.volumes(given))
    if alien:
        raise exception.InvalidError(
            f"the bucket at {next(iter(alien))!r} cannot be mounted by a step of an image: volumes can",
            hint="Read it in a function of the app, or copy what the step needs into a Volume first.",
        )
    return own


def forced(recipe: images.Recipe, force: bool) -> images.Recipe:
    if force:
        recipe["force"] = True
    return recipe


def checked(secrets: Collection[Secret]) -> Collection[Secret]:
    from windlass.secret import Secret

    if not isinstance(secrets, (list, tuple, set)) or not all(isinstance(secret, Secret) for secret in secrets):
        raise exception.InvalidError("secrets takes a list of Secret objects")
    return secrets


def _named(recipe: images.Recipe) -> str:
    detail = recipe.get("commands") or recipe.get("packages") or [recipe.get("path", "")]
    return f"{recipe['op']} {' '.join(detail)}".strip()

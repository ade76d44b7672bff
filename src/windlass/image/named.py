"""Images that exist already: found by id or name, given a name, asked how they were built."""
from __future__ import annotations

from windlass import config, exception
from windlass.client import faces, recipes
from windlass.image import chain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from windlass.client import build_logs, imaging
    from windlass.image import Image
    from windlass.wire.messages import images


class Named(chain.Chain):
    """The members of ``Image`` that find, publish and explain what was built."""

    _known: str = ""  # the id that from_id was given

    @faces.pure
    def from_id(image_id: str, client: object = None) -> Image:
        """The image with that id, looked up when it is first needed. Functions can use it, and steps can follow.

        Args:
            image_id: such as ``im-3kTMd84yYpZq0vXWb1sRNf``.
            client: accepted for compatibility.

        Raises:
            InvalidError: that is no id of an image.
            NotFoundError: when it is needed: there is no such image.

        Example:
            >>> image = windlass.Image.from_id("im-3kTMd84yYpZq0vXWb1sRNf").pip_install("rich")
        """
        from windlass.kit import ids

        if not isinstance(image_id, str) or not ids.is_id(image_id, "im"):
            raise exception.InvalidError(f"{image_id!r} is no id of an image", hint="They look like im-….")
        image = _lazy(recipes.Step({"op": "base", "base": "image", "image": image_id}))
        image._known = image_id
        return image

    @staticmethod
    def from_name(name: str, *, environment_name: str | None = None, client: object = None) -> Image:
        """The image that was published under a name, looked up when it is first needed. Never builds anything.

        Args:
            name: ``[environment/]name[:tag]``; the tag is ``latest`` where none is given.
            environment_name: the environment that has the name, unless ``name`` says it.
            client: accepted for compatibility.

        Raises:
            InvalidError: the name has another form, or the environment is given twice.
            NotFoundError: when it is needed: nothing is published under that name.

        Example:
            >>> @app.function(image=windlass.Image.from_name("training:stable"))
            ... def train(): ...
        """
        from windlass.client import names

        environment, plain, tag = names.image(name, environment_name)

        async def expand(around: imaging.Around) -> list[images.Recipe]:
            where = environment or around.context.environment or config.config["environment"]
            wanted = {"name": plain, "tag": tag, "environment": where}
            found = (await around.context.session.request("image.get", wanted)).body
            return [{"op": "base", "base": "image", "image": found["image_id"]}]

        return _lazy(recipes.Step({"op": "base"}, expand=expand))

    @faces.method
    async def publish(
        self,
        name: str,
        *,
        environment_name: str | None = None,
        experimental_options: dict[str, object] | None = None,
        client: object = None,
    ) -> None:
        """Give this built image a name, which means another image after the next ``publish``.

        Functions of apps that run keep the image that they were made with.

        Args:
            name: ``[environment/]name[:tag]``; the tag is ``latest`` where none is given.
            environment_name: the environment to publish in, unless ``name`` says it.
            experimental_options: accepted for compatibility.
            client: accepted for compatibility.

        Raises:
            InvalidError: the image was not built yet, has files that are attached only when a container starts, or
                the name is not allowed.

        Example:
            >>> image.publish("training:stable")
        """
        from windlass.client import names, session
        from windlass.wire.messages import built

        environment, plain, tag = names.image(name, environment_name)
        if self._object_id is None and not self._lazy:
            raise exception.InvalidError(
                "an image must be built before it is published", hint="Publish it inside `with app.run():`."
            )
        if self._mounts:
            raise exception.InvalidError(
                "local files that are attached when a container starts are no part of a published image",
                hint="Pass copy=True to add_local_*.",
            )
        body: built.ImagePublish = {
            "image_id": await self._ready(), "name": plain, "tag": tag,
            "environment": environment or config.config["environment"],
        }  # fmt: skip
        await session.current().request("image.publish", body)

    @property
    def logs(self) -> build_logs.BuildLogs:
        """What the steps printed when the image was built.

        Example:
            >>> for layer in image.logs.fetch():
            ...     print(layer.command, layer.text)
        """
        from windlass.client import build_logs

        return build_logs.BuildLogs(self._built_id)

    async def _built_id(self) -> str:
        """The id to ask with. A build that failed has logs but no image, so one that was given is not looked up."""
        if self._known:
            return self._known
        if self._object_id is None and not self._lazy:
            raise exception.InvalidError(
                "an image has logs once it was built",
                hint="For a build that failed: Image.from_id(exc.image_id).logs, with exc the ImageBuildError.",
            )
        return await self._ready()


def _lazy(step: recipes.Step) -> Image:
    from windlass.image import Image

    image = Image._start(step)
    image._lazy = True
    return image

"""Building an image before anything uses it."""
from __future__ import annotations

from windlass import exception
from windlass.client import faces, here
from windlass.image import chain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing_extensions import Self

    from windlass.app import App


class Eager(chain.Chain):
    """The methods of ``Image`` that build it, and show it."""

    @faces.chained
    async def build(self, app: App | None = None) -> Self:
        """Build the image now, and return it. Without this, it is built when an app that uses it runs.

        Args:
            app: the running app that it is built for; without one a temporary one is made, or it is the function's own
                where a function calls this.

        Raises:
            ImageBuildError: a step failed.
            InvalidError: ``app`` does not run, or it is called while the module is imported.

        Example:
            >>> image = windlass.Image.debian_slim().pip_install("numpy")
            >>> with windlass.enable_output():
            ...     image.build()
        """
        if here.importing or (here.in_container() and here.input_id.get() is None):
            raise exception.InvalidError(
                "Image.build() was called while the module is imported",
                hint='Put it below `if __name__ == "__main__":`, or into a local entrypoint.',
            )
        if app is not None:
            await _load(self, app.app_id, app.name)
        elif here.plan is not None:
            await _load(self, here.plan["app"]["app_id"], here.plan["app"]["app_name"])
        else:
            from windlass.app import App
            from windlass.client import run as running

            run = running.Running(
                App("image-build"), name=None, detach=False, interactive=False, environment_name=None
            )
            async with run as temporary:
                await _load(self, temporary.app_id, temporary.name)
        return self

    @faces.method
    async def get_dashboard_url(self) -> str:
        """Where the image is shown in a dashboard.

        Raises:
            UnimplementedError: always: this version of Windlass has no dashboard.
        """
        raise exception.UnimplementedError(
            "this version of Windlass has no dashboard", hint="`windlass image info` shows an image."
        )


async def _load(image: chain.Chain, app_id: str | None, name: str | None) -> None:
    from windlass.client import resolver, session

    if app_id is None:
        raise exception.InvalidError(
            f"the app {name!r} does not run, so nothing can be built for it",
            hint="Call build() inside `with app.run():`.",
        )
    context = resolver.Context(session.current(), app_id=app_id, app_name=name)
    try:
        await context.load(image)
    finally:
        await context.close()

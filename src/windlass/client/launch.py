"""``run_app`` and ``deploy_app``: what programs wrote before apps had ``run`` and ``deploy`` of their own."""
from __future__ import annotations

from windlass.client import faces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import Any

    from windlass.app import App


@faces.pure
def run_app(
    app: App,
    *,
    client: object = None,
    detach: bool = False,
    environment_name: str | None = None,
    interactive: bool = False,
) -> AbstractContextManager[App]:
    """``app.run(...)``, for ``with`` and ``async with``."""
    running: Any = app.run(detach=detach, environment_name=environment_name, interactive=interactive)
    return running  # type: ignore[no-any-return]


@faces.function
async def deploy_app(
    app: App,
    name: str | None = None,
    namespace: object = None,
    client: object = None,
    environment_name: str | None = None,
    tag: str = "",
) -> App:
    """``app.deploy(...)``."""
    from windlass.client import deploy

    await deploy.deploy(app, deploy.Wishes(name=name, environment=environment_name, tag=tag, strategy="rolling"))
    return app

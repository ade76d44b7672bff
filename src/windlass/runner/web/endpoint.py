"""``@fastapi_endpoint``: one function as the only route of a FastAPI app, made with what the image has."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

from windlass import exception

if TYPE_CHECKING:
    from collections.abc import Callable

    from windlass.wire.messages import functions


def app(function: Callable[..., Any], web: functions.WebSpec) -> Any:
    """Raises ``InvalidError`` where the image has no FastAPI."""
    try:
        import fastapi  # type: ignore[import-not-found, unused-ignore]
        from fastapi.middleware import cors  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise exception.InvalidError(
            "@fastapi_endpoint needs FastAPI in the image",
            hint='Add it: Image.debian_slim().pip_install("fastapi").',
        ) from None
    docs = web.get("docs", False)
    made = fastapi.FastAPI(
        openapi_url="/openapi.json" if docs else None, docs_url="/docs" if docs else None, redoc_url=None
    )
    made.add_middleware(
        cors.CORSMiddleware, allow_origins=["*"], allow_credentials=True, allow_methods=["*"], allow_headers=["*"]
    )
    made.add_api_route("/", function, methods=[web.get("method", "GET")])
    return made

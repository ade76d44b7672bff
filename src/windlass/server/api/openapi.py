"""All messages as an OpenAPI document, made from their types: what the door accepts, not what somebody wrote about it.

A method is a POST to a path of its name. The same names and shapes travel in frames over the sockets (``wire.codec``):
``m`` is the path without its slash, ``b`` the body, and attachments follow the header.
"""

from __future__ import annotations

from typing import Any

import msgspec

from windlass import wire
from windlass.server.api import door, shapes
from windlass.wire.messages import common, methods

_PLACE = "#/components/schemas/{name}"
_KINDS = {
    "request": "One answer.",
    "stream": "Any number of answers, each of this shape, until the stream ends.",
    "notice": "No answer.",
}


def document() -> dict[str, Any]:
    """OpenAPI 3.1."""
    known = {name: one for name, one in methods.METHODS.items() if name in door.HANDLERS}
    hello = methods.Method("request", methods.ALL, common.HelloRequest, common.HelloReply)
    every = {"hello": hello, **known}
    wanted = [shape for one in every.values() for shape in (one.request, one.answer)]
    bounded = [shapes.bounded(shape) for shape in (*wanted, common.ErrorBody)]
    (*refs, error), components = msgspec.json.schema_components(bounded, ref_template=_PLACE)
    paths = {}
    for (name, method), request, answer in zip(every.items(), refs[::2], refs[1::2], strict=True):
        paths[f"/{name}"] = {"post": _operation(name, method, request, answer, error)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Windlass",
            "version": door.VERSION,
            "description": f"Protocol {wire.PROTOCOL}.\n\n{__doc__}",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": components},
    }


def _operation(name: str, method: methods.Method, request: Any, answer: Any, error: Any) -> dict[str, Any]:
    needs = door.needs(name)
    body = {"allOf": [request], "required": list(needs)} if needs else request
    made = {
        "operationId": name,
        "tags": [name.partition(".")[0]],
        "x-windlass-kind": method.kind,
        "x-windlass-roles": sorted(method.roles),
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {
            "200": {
                "description": _KINDS[method.kind],
                "content": {"application/json": {"schema": answer}},
            },
            "default": {
                "description": "What went wrong, by status.",
                "content": {"application/json": {"schema": error}},
            },
        },
    }
    return made

"""From a registry secret to what skopeo signs in with."""
from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Mapping

from windlass import exception
from windlass.wire import registries
from windlass.worker.images import ecr, references, skopeo

_PATIENCE = 60.0  # seconds for a token of AWS


async def authfile(reference: references.Reference, secrets: Mapping[str, str], access: skopeo.Access) -> bytes:
    """The content of an authfile for the registry of ``reference`` alone: no mirror gets to see it.

    Raises ``InvalidError`` where the secret's names fit no kind of registry, ``ImageBuildError`` where AWS refuses.
    """
    kind = registries.kind(secrets)
    if kind == registries.AWS_ROLE:
        raise exception.ImageBuildError(
            "AWS_ROLE_ARN cannot be used: this machine is no identity provider that AWS knows",
            hint="Give the registry secret AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION instead.",
        )
    if kind == registries.GCP:
        user, password = "_json_key", secrets["SERVICE_ACCOUNT_JSON"]
    elif kind == registries.GENERIC:
        user, password = secrets["REGISTRY_USERNAME"], secrets["REGISTRY_PASSWORD"]
    else:
        user, password = await _token(secrets, access)
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    return json.dumps({"auths": {reference.host: {"auth": auth}}}).encode()


async def _token(secrets: Mapping[str, str], access: skopeo.Access) -> tuple[str, str]:
    """User and password for ECR, by a program in the machine's network."""
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION")
    asked = {"keys": [secrets.get(name, "") for name in names], "url": access.environ.get("AWS_ENDPOINT_URL_ECR", "")}
    lines: list[str] = []
    env = {**skopeo.environment(access), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        code = await access.outer.run(
            [sys.executable, "-m", ecr.__name__], env=env, log=lines.append, timeout=_PATIENCE,
            data=json.dumps(asked).encode(),
        )  # fmt: skip
    except exception.TimeoutError as exc:
        raise exception.ImageBuildError(f"the token of AWS {exc}") from None
    if code or not lines:
        raise exception.ImageBuildError(
            "".join(lines).strip()[-1000:] or "AWS gave no token", hint="Look at the values of the registry secret."
        )
    answer = json.loads(lines[-1])
    return answer["user"], answer["password"]

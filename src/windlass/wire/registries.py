"""Which registry a secret opens: told by the names that it has. For the SDK, which may know them, and the worker."""
from __future__ import annotations

from windlass import exception

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

AWS, AWS_ROLE, GCP, GENERIC = "aws", "aws-role", "gcp", "generic"

_KEYS = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"
_ROLE = "AWS_ROLE_ARN", "AWS_REGION"
_ACCOUNT = ("SERVICE_ACCOUNT_JSON",)
_PASSWORD = "REGISTRY_USERNAME", "REGISTRY_PASSWORD"
_WANTED = f"{'+'.join(_PASSWORD)}, {'+'.join(_ACCOUNT)}, {'+'.join(_KEYS)} or {'+'.join(_ROLE)}"


def kind(names: Iterable[str]) -> str:
    """How a secret with these names signs in: ``AWS``, ``AWS_ROLE``, ``GCP`` or ``GENERIC``. Other names are ignored.

    Raises:
        InvalidError: the names fit none, or more than one.
    """
    has = set(names)
    aws = [AWS] if has.issuperset(_KEYS) else [AWS_ROLE] if has.issuperset(_ROLE) else []
    fitting = aws + [GCP] * has.issuperset(_ACCOUNT) + [GENERIC] * has.issuperset(_PASSWORD)
    if len(fitting) == 1:
        return fitting[0]
    shown = ", ".join(sorted(has)) or "no names at all"
    if fitting:
        raise exception.InvalidError(
            f"the registry secret fits more than one kind of registry ({', '.join(fitting)}): it has {shown}",
            hint=f"Give it the names of one kind only: {_WANTED}.",
        )
    raise exception.InvalidError(
        f"the registry secret opens no kind of registry that Windlass knows: it has {shown}",
        hint=f"It needs {_WANTED}.",
    )

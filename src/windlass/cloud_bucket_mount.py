"""``CloudBucketMount``: a bucket of S3, or of what speaks like it, as a folder of a container."""
from __future__ import annotations

import dataclasses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from windlass.secret import Secret


@dataclasses.dataclass
class CloudBucketMount:
    """A bucket as a folder, beside volumes: ``volumes={"/data": CloudBucketMount("my-bucket", secret=…)}``.

    Files are objects. They are read as they are asked for, and written from their beginning to their end; a file is
    in the bucket when it has been closed. What objects cannot do fails with ``PermissionError``, in whatever program:
    to append, to change something in the middle, to leave a gap, to open for writing without truncation, to rename,
    to link. Where a folder is missing it is ``FileNotFoundError``, as everywhere. Others' changes are seen after some
    seconds. Owners and modes are not kept.

    Args:
        bucket_name: its name.
        bucket_endpoint_url: where it is, for anything but S3 itself: R2 and Google Cloud Storage are known by their
            host, all others are taken to speak as S3 does. The endpoint is reached from the machine, not from the
            container. Where the platform's owner asks, from the machine itself, it may lie in a private network or on
            the machine's loopback; for members and containers only where the server's ``bucket_endpoints`` names it.
        key_prefix: shows only what lies below; it ends with "/".
        secret: ``AWS_ACCESS_KEY_ID`` and ``AWS_SECRET_ACCESS_KEY``, and if need be ``AWS_REGION`` and
            ``AWS_SESSION_TOKEN``; for Google ``GOOGLE_ACCESS_KEY_ID`` and ``GOOGLE_ACCESS_KEY_SECRET`` (HMAC keys).
            Containers see none of it. Without a secret the bucket must be public.
        oidc_auth_role_arn: for compatibility; there is nobody here to vouch for a container to AWS, so a function
            with it is refused.
        read_only: containers cannot write.
        requester_pays: whoever asks pays for it, so a secret is needed.
        force_path_style: name the bucket in the path of addresses instead of their host. An endpoint that is a number
            or has a name without dots gets that anyway.

    Raises:
        ValueError: ``key_prefix`` does not end with "/", or ``requester_pays`` without a secret.

    Example:
        >>> bucket = windlass.CloudBucketMount(
        ...     "lake", bucket_endpoint_url="http://127.0.0.1:9000", secret=windlass.Secret.from_name("minio"),
        ... )
        >>> @app.function(volumes={"/lake": bucket})
        ... def f():
        ...     return Path("/lake/2026.csv").read_text()
    """

    bucket_name: str
    bucket_endpoint_url: str | None = None
    key_prefix: str | None = None
    secret: Secret | None = None
    oidc_auth_role_arn: str | None = None
    read_only: bool = False
    requester_pays: bool = False
    force_path_style: bool = False

    def __post_init__(self) -> None:
        if self.key_prefix and not self.key_prefix.endswith("/"):
            raise ValueError(f"key_prefix must end with '/': {self.key_prefix!r}")
        if self.requester_pays and self.secret is None:
            raise ValueError("requester_pays needs a secret: somebody has to pay")

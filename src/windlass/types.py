"""Plain data that methods return."""
from __future__ import annotations

import dataclasses

from windlass.about import AppInfo, AppLifecycle, FunctionInfo, FunctionStats
from windlass.call_graph import InputInfo, InputStatus
from windlass.client.entries import LogEntry
from windlass.dict import DictInfo
from windlass.http_server import ServerInfo
from windlass.queue import QueueInfo
from windlass.secret import SecretInfo

TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime


class VolumeInfo:
    """When and by whom a volume was made."""

    __slots__ = ("created_at", "created_by", "name")

    def __init__(self, name: str | None, created_at: datetime.datetime, created_by: str | None) -> None:
        self.name = name
        self.created_at = created_at
        self.created_by = created_by

    def __repr__(self) -> str:
        return f"VolumeInfo(name={self.name!r}, created_at={self.created_at!r}, created_by={self.created_by!r})"


class VolumeMountInfo:
    """How a volume is mounted."""

    __slots__ = ("name", "read_only", "sub_path", "volume_id")

    def __init__(self, name: str | None, volume_id: str, read_only: bool, sub_path: str | None) -> None:
        self.name = name
        self.volume_id = volume_id
        self.read_only = read_only
        self.sub_path = sub_path


class ServerContainerInfo:
    """A container of a server, and where its program listens."""

    __slots__ = ("container_id", "host", "port")

    def __init__(self, container_id: str, host: str, port: int) -> None:
        self.container_id = container_id
        self.host = host
        self.port = port


class FileInfo:
    """A file of a sandbox. ``type``: "file", "directory", "symlink" or "other". ``owner``, ``group``: numbers, as text.
    ``modified_time``: seconds since the epoch."""

    __slots__ = (
        "group", "mode", "modified_time", "name", "owner", "path", "permissions", "size", "symlink_target", "type",
    )  # fmt: skip

    def __init__(
        self, name: str, path: str, type: str, size: int, mode: int, permissions: str, owner: str, group: str,
        modified_time: float, symlink_target: str | None,
    ) -> None:  # fmt: skip
        self.name = name
        self.path = path
        self.type = type
        self.size = size
        self.mode = mode
        self.permissions = permissions
        self.owner = owner
        self.group = group
        self.modified_time = modified_time
        self.symlink_target = symlink_target

    def is_file(self) -> bool:
        return self.type == "file"

    def is_dir(self) -> bool:
        return self.type == "directory"

    def is_symlink(self) -> bool:
        return self.type == "symlink"

    def __repr__(self) -> str:
        return f"FileInfo({self.permissions} {self.size} {self.path!r})"


class CloudBucketMountInfo:
    """How a bucket is mounted. ``bucket_type``: "s3", "r2" or "gcp"."""

    __slots__ = ("bucket_name", "bucket_type", "key_prefix", "read_only")

    def __init__(self, bucket_name: str, bucket_type: str, read_only: bool, key_prefix: str | None) -> None:
        self.bucket_name = bucket_name
        self.bucket_type = bucket_type
        self.read_only = read_only
        self.key_prefix = key_prefix


__all__ = [
    "AppInfo", "AppLifecycle", "CloudBucketMountInfo", "DictInfo", "FileInfo", "FunctionInfo", "FunctionStats",
    "InputInfo", "InputStatus", "LogEntry", "QueueInfo", "SecretInfo", "ServerContainerInfo", "ServerInfo",
    "VolumeInfo", "VolumeMountInfo",
]  # fmt: skip


@dataclasses.dataclass(frozen=True)
class WorkspaceMemberInfo:
    """Somebody who may use the workspace. ``role``: "owner", "member" or "viewer"; times are None where unknown."""

    name: str
    email: str | None
    user_id: str
    role: str
    joined_at: datetime.datetime | None
    last_active_at: datetime.datetime | None


@dataclasses.dataclass(frozen=True)
class MemberTokenInfo:
    """A token of a member; its secret is kept by nobody. ``disabled``: it was revoked."""

    name: str
    token_id: str
    user_id: str
    username: str
    created_at: datetime.datetime
    last_used_at: datetime.datetime | None
    expires_at: datetime.datetime | None
    disabled: bool


@dataclasses.dataclass(frozen=True)
class ServiceUserInfo:
    """A program that may use the workspace, with its token. ``environment_roles``: by the environment's name."""

    service_user_id: str
    name: str
    token_id: str
    created_by: str
    created_at: datetime.datetime
    last_used_at: datetime.datetime | None
    expires_at: datetime.datetime | None
    environment_roles: dict[str, str]


@dataclasses.dataclass(frozen=True)
class ProxyTokenInfo:
    """A token for web functions with ``requires_proxy_auth=True``. ``scoped``: valid in some
    environments only."""

    token_id: str
    created_at: datetime.datetime
    scoped: bool
    name: str = ""
    created_by: str = ""

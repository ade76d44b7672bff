"""Plain data that methods return."""
from __future__ import annotations

from windlass.about import AppInfo, AppLifecycle, FunctionInfo, FunctionStats
from windlass.call_graph import InputInfo, InputStatus
from windlass.client.entries import LogEntry
from windlass.dict import DictInfo
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


class CloudBucketMountInfo:
    """How a bucket is mounted. ``bucket_type``: "s3", "r2" or "gcp"."""

    __slots__ = ("bucket_name", "bucket_type", "key_prefix", "read_only")

    def __init__(self, bucket_name: str, bucket_type: str, read_only: bool, key_prefix: str | None) -> None:
        self.bucket_name = bucket_name
        self.bucket_type = bucket_type
        self.read_only = read_only
        self.key_prefix = key_prefix


__all__ = [
    "AppInfo", "AppLifecycle", "CloudBucketMountInfo", "DictInfo", "FunctionInfo", "FunctionStats", "InputInfo",
    "InputStatus", "LogEntry", "QueueInfo", "SecretInfo", "VolumeInfo", "VolumeMountInfo",
]  # fmt: skip

"""What ``@app.function`` was asked for, checked while the user's file is imported.

One object instead of forty arguments; its fields have the names of ``wire.messages.functions.FunctionSpec``.
"""
from __future__ import annotations

from windlass import exception
from windlass.client import gpus, reach
from windlass.kit import slashes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from windlass.cloud_bucket_mount import CloudBucketMount
    from windlass.image import Image
    from windlass.network_file_system import NetworkFileSystem
    from windlass.proxy import Proxy
    from windlass.secret import Secret
    from windlass.volume import Volume
    from windlass.wire.messages import functions

SCALEDOWN_WINDOW = 60.0
TIMEOUT = 300
MAX_TIMEOUT = 24 * 3600
MAX_BATCH = 1000
MAX_BATCH_WAIT = 600_000  # milliseconds
MAX_DISK = 3 * 1024 * 1024  # MiB
MAX_CPU = 10_000.0
MAX_MEMORY = 1024 * 1024 * 1024  # MiB
MAX_CONTAINERS = 1_000_000
MAX_INPUTS = 100_000
"""In one container."""

FLAGS = (
    "serialized", "single_use_containers", "block_network", "restrict_modal_access", "enable_memory_snapshot",
    "include_source", "nonpreemptible", "is_generator", "i6pn",
)  # fmt: skip

RENAMED = {
    "keep_warm": "min_containers",
    "concurrency_limit": "max_containers",
    "container_idle_timeout": "scaledown_window",
    "allow_concurrent_inputs": "the @concurrent decorator",
    "allow_cross_region_volumes": "",
    "mounts": "Image.add_local_file, add_local_dir or add_local_python_source",
}


class Options:
    """Validated options of one function."""

    __slots__ = (
        "autoscaler", "block_network", "cpu_limit", "cpu_request", "ephemeral_disk", "gpus", "i6pn",
        "image", "include_source", "memory_limit", "memory_request", "network", "network_file_systems", "proxy",
        "restrict_access", "retries", "schedule", "secrets", "single_use", "snapshot", "startup_timeout", "timeout",
        "volumes",
    )  # fmt: skip

    image: Image | None
    include_source: bool
    network: dict[str, list[str]]
    """What may be reached, in the words of the spec."""
    proxy: Proxy | None
    secrets: list[Secret]
    volumes: dict[str, Volume | CloudBucketMount]
    network_file_systems: dict[str, NetworkFileSystem]

    def __init__(self, asked: Mapping[str, Any], *, is_generator: bool) -> None:
        refuse(asked)
        self.image = _image(asked.get("image"))
        self.secrets = secrets(asked.get("secrets"))
        self.volumes = volumes(asked.get("volumes"))
        self.network_file_systems = network_file_systems(asked.get("network_file_systems"), self.volumes)
        env = asked.get("env")
        if env:
            self.secrets.append(_env(env))
        self.cpu_request, self.cpu_limit = _cpu(asked.get("cpu"))
        self.memory_request, self.memory_limit = _memory(asked.get("memory"))
        self.gpus = gpus.parse(asked.get("gpu"))
        self.ephemeral_disk = _disk(asked.get("ephemeral_disk"))
        self.autoscaler = autoscaler(asked)
        self.timeout = _seconds("timeout", asked.get("timeout", TIMEOUT))
        startup = asked.get("startup_timeout")
        self.startup_timeout = self.timeout if startup is None else _seconds("startup_timeout", startup)
        self.retries = _retries(asked.get("retries"), is_generator)
        self.schedule = _schedule(asked.get("schedule"), is_generator)
        self.single_use = bool(asked.get("single_use_containers")) or _max_inputs(asked.get("max_inputs"))
        self.block_network = bool(asked.get("block_network"))
        self.network = reach.lists(asked)
        self.proxy = proxy(asked)
        self.i6pn = bool(asked.get("i6pn"))
        if self.i6pn and self.block_network:
            raise exception.InvalidError("block_network=True leaves no network between containers (i6pn)")
        self.snapshot = bool(asked.get("enable_memory_snapshot"))
        self.restrict_access = bool(asked.get("restrict_modal_access"))


def refuse(asked: Mapping[str, Any]) -> None:
    """Arguments that are gone, that contradict each other, or that this version does not have."""
    if asked.get("nonpreemptible") and asked.get("gpu"):
        raise exception.InvalidError("nonpreemptible=True is for functions without a GPU", hint="Leave one out.")
    for name in FLAGS:
        if not isinstance(asked.get(name), (bool, type(None))):
            raise exception.InvalidError(f"{name} must be True or False, not {asked[name]!r}")
    for name in ("cloud", "routing_region"):
        if not isinstance(asked.get(name), (str, type(None))):
            raise exception.InvalidError(f"{name} must be a string, not {asked[name]!r}")
    _region(asked.get("region"))
    for old, new in RENAMED.items():
        if asked.get(old) is not None:
            raise exception.DeprecationError(f"{old}= was removed{f'; use {new}' if new else ''}")
    options = asked.get("experimental_options")
    if options is not None and not isinstance(options, dict):
        raise exception.InvalidError("experimental_options must be a dict")


def _region(given: Any) -> None:
    for one in given if isinstance(given, (list, tuple)) else [given]:
        if not isinstance(one, (str, type(None))):
            raise exception.InvalidError(f"region must be a string or a list of strings, not {given!r}")


def autoscaler(asked: Mapping[str, Any]) -> functions.AutoscalerSpec:
    """Bounds and window; what is not asked for has its default."""
    checked = scaling(asked)
    return {
        "min_containers": checked.get("min_containers", 0),
        "max_containers": checked.get("max_containers", 0),
        "buffer_containers": checked.get("buffer_containers", 0),
        "scaledown_window": float(checked.get("scaledown_window", SCALEDOWN_WINDOW)),
    }


def scaling(asked: Mapping[str, Any]) -> dict[str, Any]:
    """The autoscaler's arguments that were given, checked."""
    given: dict[str, Any] = {}
    for name, least in (("min_containers", 0), ("max_containers", 1), ("buffer_containers", 0)):
        value = asked.get(name)
        if value is not None:
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MAX_CONTAINERS:
                raise exception.InvalidError(
                    f"{name} must be an integer from {least} to {MAX_CONTAINERS:,}, not {value!r}"
                )
            given[name] = value
    if "max_containers" in given and given["max_containers"] < given.get("min_containers", 0):
        raise exception.InvalidError(
            f"max_containers ({given['max_containers']}) is less than min_containers ({given['min_containers']})"
        )
    window = asked.get("scaledown_window")
    if window is not None:
        if isinstance(window, bool) or not isinstance(window, (int, float)) or not 2 <= window <= 3600:
            raise exception.InvalidError(f"scaledown_window must be between 2 and 3600 seconds, not {window!r}")
        given["scaledown_window"] = window
    return given


def overrides(asked: Mapping[str, Any]) -> dict[str, Any]:
    """What ``with_options`` was asked for, checked: keys of ``FunctionOverrides``, secrets still as handles.

    What was not asked for is not there. Values that mean "as before" (None, no secrets) cannot unset anything.
    """
    refuse(asked)
    given: dict[str, Any] = scaling(asked)
    if asked.get("cpu") is not None:
        given["cpu_request"], given["cpu_limit"] = _cpu(asked["cpu"])
    if asked.get("memory") is not None:
        given["memory_request"], given["memory_limit"] = _memory(asked["memory"])
    if asked.get("gpu") is not None:
        given["gpus"] = gpus.parse(asked["gpu"])
    if asked.get("timeout") is not None:
        given["timeout"] = _seconds("timeout", asked["timeout"])
    if asked.get("retries") is not None:
        given["retries"] = _retries(asked["retries"], is_generator=False)
    if asked.get("secrets"):
        given["secrets"] = secrets(asked["secrets"])
    if asked.get("env"):
        given["more_secrets"] = [_env(asked["env"])]
    if asked.get("volumes"):
        given["volumes"] = volumes(asked["volumes"])
    return given


def stacked(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Overrides on top of overrides, field by field; secrets replace."""
    both = {**old, **new}
    if "secrets" in new and "more_secrets" not in new:
        both.pop("more_secrets", None)
    elif "secrets" not in new and "more_secrets" in new:
        both["more_secrets"] = [*old.get("more_secrets", []), *new["more_secrets"]]
    return both


def concurrency(max_inputs: Any, target_inputs: Any) -> dict[str, int]:
    """How many inputs a container takes at once."""
    for name, value in (("max_inputs", max_inputs), ("target_inputs", target_inputs)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise exception.InvalidError(f"{name} must be a positive integer, not {value!r}")
        if value is not None and value > MAX_INPUTS:
            raise exception.InvalidError(f"{name} must be at most {MAX_INPUTS:,}, not {value:,}")
    if max_inputs is None:
        raise exception.InvalidError("max_inputs must be a positive integer, not None")
    if target_inputs is not None and target_inputs > max_inputs:
        raise exception.InvalidError(f"target_inputs ({target_inputs}) is more than max_inputs ({max_inputs})")
    return {"max_inputs": max_inputs, "target_inputs": target_inputs or max_inputs}


def batching(max_batch_size: Any, wait_ms: Any) -> dict[str, int]:
    """How many inputs make a batch, and how long its first one waits for the others."""
    for name, value, least, most in (
        ("max_batch_size", max_batch_size, 1, MAX_BATCH),
        ("wait_ms", wait_ms, 0, MAX_BATCH_WAIT),
    ):
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise exception.InvalidError(f"{name} must be an integer from {least} to {most:,}, not {value!r}")
    return {"max_batch_size": max_batch_size, "wait_ms": wait_ms}


def secrets(given: Sequence[Any] | None) -> list[Secret]:
    """A checked list of secrets."""
    if given is None:
        return []
    if not isinstance(given, (list, tuple)):
        raise exception.InvalidError(f"secrets must be a list of Secret, not {type(given).__name__}")
    if given:
        from windlass import secret

        for one in given:
            if not isinstance(one, secret.Secret):
                raise exception.InvalidError(f"secrets must be a list of Secret, but it holds {one!r}")
    return list(given)


def volumes(given: Mapping[Any, Any] | None) -> dict[str, Volume | CloudBucketMount]:
    """Checked volumes and buckets by the path that they are mounted at.

    Raises:
        InvalidError: a path is not absolute, or one volume has two of them.
    """
    if not given:
        return {}
    from windlass import cloud_bucket_mount, volume
    from windlass.client import buckets as bucket_work
    from windlass.client import volumes as volume_work

    checked = _mounted("volumes", given, volume.Volume, cloud_bucket_mount.CloudBucketMount)
    own, alien = bucket_work.split(checked)
    for bucket in alien.values():
        bucket_work.check(bucket)
    volume_work.check_once(own)
    return checked


def network_file_systems(given: Mapping[Any, Any] | None, beside: Mapping[str, Any]) -> dict[str, NetworkFileSystem]:
    """The same for network file systems. ``beside``: the volumes, which need paths of their own."""
    if not given:
        return {}
    from windlass import network_file_system
    from windlass.client import volumes as volume_work

    checked = _mounted("network_file_systems", given, network_file_system.NetworkFileSystem)
    volume_work.check_once(checked)
    volume_work.check_apart(checked, beside)
    return checked


def proxy(asked: Mapping[str, Any]) -> Proxy | None:
    """The proxy that was asked for. Raises ``InvalidError``."""
    given = asked.get("proxy")
    if given is None:
        return None
    from windlass import proxy as proxies

    if not isinstance(given, proxies.Proxy):
        raise exception.InvalidError(f"proxy must be a Proxy, not {type(given).__name__}")
    if asked.get("block_network"):
        raise exception.InvalidError("block_network=True leaves no network for a proxy")
    return given


def _mounted(argument: str, given: Mapping[Any, Any], *kinds: type[Any]) -> dict[str, Any]:
    import posixpath

    from windlass.wire.messages import volumes

    names = " or ".join(kind.__name__ for kind in kinds)
    if not hasattr(given, "items"):
        raise exception.InvalidError(f"{argument} must be a dict of paths and {names}, not {type(given).__name__}")
    checked: dict[str, Any] = {}
    for key, one in given.items():
        path = str(slashes.forward(key))
        if not isinstance(one, kinds):
            raise exception.InvalidError(f"{argument}: at {path!r} is no {names} but {one!r}")
        clean = "/" + posixpath.normpath(path).lstrip("/")
        if not volumes.is_place(path) or clean in ("/root", "/tmp"):
            raise exception.InvalidError(
                f"{argument}: nothing can be mounted at {path!r}",
                hint="Name an absolute path of its own, such as '/data'.",
            )
        if clean in checked:
            raise exception.InvalidError(
                f"{argument}: two shall be mounted at {clean!r}", hint="Give each a path of its own."
            )
        checked[clean] = one
    return checked


def _image(given: Any) -> Image | None:
    if given is not None:
        from windlass import image

        if not isinstance(given, image.Image):
            raise exception.InvalidError(f"image must be an Image, not {type(given).__name__}")
    return given  # type: ignore[no-any-return]


def _env(given: Any) -> Secret:
    from windlass import secret

    if not isinstance(given, dict):
        raise exception.InvalidError(f"env must be a dict of strings, not {type(given).__name__}")
    return secret.Secret.from_dict(given)


def _pair(name: str, given: Any, kinds: tuple[type[int] | type[float], ...], most: float) -> tuple[Any, Any]:
    """(request, limit); 0 where none was asked for. Whether the machine has so much, the server knows."""
    parts = given if isinstance(given, tuple) else (given,)
    fine = len(parts) in (1, 2) and all(isinstance(p, kinds) and not isinstance(p, bool) and p > 0 for p in parts)
    if not fine:
        raise exception.InvalidError(f"{name} must be a positive number or a pair (request, limit), not {given!r}")
    if max(parts) > most:
        raise exception.InvalidError(f"{name}: {max(parts):,} is more than any machine has")
    if len(parts) == 1:
        return parts[0], 0
    if parts[1] < parts[0]:
        raise exception.InvalidError(f"{name}: the limit {parts[1]} is less than the request {parts[0]}")
    return parts


def _cpu(given: Any) -> tuple[float, float]:
    if given is None:
        return 0.0, 0.0
    request, limit = _pair("cpu", given, (int, float), MAX_CPU)
    return float(request), float(limit)


def _memory(given: Any) -> tuple[int, int]:
    return (0, 0) if given is None else _pair("memory", given, (int,), MAX_MEMORY)


def _disk(given: Any) -> int:
    if given is None:
        return 0
    if isinstance(given, bool) or not isinstance(given, int) or not 0 < given <= MAX_DISK:
        raise exception.InvalidError(f"ephemeral_disk must be between 1 and {MAX_DISK:,} MiB, not {given!r}")
    return given


def _seconds(name: str, given: Any) -> float:
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not 1 <= given <= MAX_TIMEOUT:
        raise exception.InvalidError(f"{name} must be between 1 and {MAX_TIMEOUT} seconds, not {given!r}")
    return float(given)


def _retries(given: Any, is_generator: bool) -> functions.RetrySpec | None:
    if given is None:
        return None
    if is_generator:
        raise exception.InvalidError("retries= cannot be used with generator functions")
    from windlass import retries

    if isinstance(given, retries.Retries):
        return given._spec()
    if isinstance(given, bool) or not isinstance(given, int):
        raise exception.InvalidError(f"retries must be an integer or Retries, not {given!r}")
    return retries.Retries(max_retries=given, backoff_coefficient=1.0, initial_delay=1.0)._spec()


def _schedule(given: Any, is_generator: bool) -> functions.ScheduleSpec | None:
    if given is None:
        return None
    from windlass import schedule

    if not isinstance(given, schedule.Schedule):
        raise exception.InvalidError(f"schedule must be a Cron or a Period, not {type(given).__name__}")
    if is_generator:
        raise exception.InvalidError("schedule= cannot be used with generator functions: nobody takes their values")
    return given._spec()


def _max_inputs(given: Any) -> bool:
    if given is None:
        return False
    if given != 1:
        raise exception.InvalidError("max_inputs= takes only 1", hint="Use single_use_containers=True.")
    import warnings

    text = "max_inputs=1 is deprecated; use single_use_containers=True"
    warnings.warn(text, exception.DeprecationError, stacklevel=6)  # where the decorator stands
    return True

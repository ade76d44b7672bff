"""Functions whose names may still change.

>>> import windlass
>>> from windlass import experimental
>>> app = windlass.App("leaky")
>>> @app.function()
... def convert(path: str) -> int:
...     size = len(path)
...     if size > 100:
...         experimental.stop_fetching_inputs()
...     return size
"""
from __future__ import annotations

from typing import NamedTuple

from windlass import exception
from windlass.client import faces, here

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from windlass import cls, function


class AppInfo(NamedTuple):
    """A deployed app in a list: its identity, its name, and how many containers it has."""

    app_id: str
    name: str
    containers: int


# -- inside a container ---------------------------------------------------------------------------------------


def stop_fetching_inputs() -> None:
    """Take no more inputs in this container: what runs is finished, exit hooks run, the container ends.

    For code that knows that its process should not go on: a leak, a broken device, memory in pieces. Other
    containers, new ones if need be, take what waits.

    Raises:
        InvalidError: called outside of a container, or before it takes inputs.
    """
    if here.stop_fetching is None:
        raise exception.InvalidError(
            "stop_fetching_inputs() works only while a container runs an input", hint="Call it from a function."
        )
    here.stop_fetching()


def get_local_input_concurrency() -> int:
    """How many inputs (of batched functions: batches) this container takes at once now.

    Raises:
        InvalidError: called outside of a container, or before it takes inputs.
    """
    return _slots("get_local_input_concurrency").count()


def set_local_input_concurrency(concurrency: int) -> None:
    """Take so many inputs (of batched functions: batches) at once from now on, in this container only.

    ``max_inputs`` of ``@concurrent`` stays the limit: more than that is as good as that, and without the decorator
    nothing changes. What runs already is not disturbed; what waits in this container beyond the new number goes back to
    the queue, and the autoscaler reckons with the new number.

    Args:
        concurrency: at least 1.

    Example:
        >>> @app.function()
        ... @windlass.concurrent(max_inputs=100)
        ... async def fetch(url: str) -> bytes:
        ...     if memory_is_short():
        ...         experimental.set_local_input_concurrency(10)
        ...     return await download(url)

    Raises:
        InvalidError: the number is wrong, or it is called outside of a container, or before it takes inputs.
    """
    if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
        raise exception.InvalidError(f"concurrency must be a positive integer, not {concurrency!r}")
    _slots("set_local_input_concurrency").limit(concurrency)


def _slots(name: str) -> here.Slots:
    if here.slots is None:
        raise exception.InvalidError(
            f"{name}() works only while a container runs an input", hint="Call it from a function."
        )
    return here.slots


# -- clusters -------------------------------------------------------------------------------------------------


class ClusterInfo(NamedTuple):
    """The cluster of this container, and its place in it. ``container_ips`` by rank."""

    rank: int
    cluster_id: str
    container_ips: list[str]


def clustered(size: int, broadcast: bool = True, rdma: bool = False) -> Callable[[Any], Any]:
    """``windlass.clustered``, as it was called at first.

    Args:
        size: containers that run a call together.
        broadcast: each of them gets the arguments of the call; there is nothing else.
        rdma: refused when the app runs: containers have no such devices here.

    Raises:
        UnimplementedError: ``broadcast=False``.
        InvalidError: an argument is wrong.
    """
    from windlass import partial_function

    if not isinstance(broadcast, bool):
        raise exception.InvalidError(f"broadcast must be True or False, not {broadcast!r}")
    if not broadcast:
        raise exception.UnimplementedError("broadcast=False: all containers of a cluster get the call's arguments")
    return partial_function.clustered(size=size, rdma=rdma)


def get_cluster_info() -> ClusterInfo:
    """Which container of its cluster this one is, and where the others are.

    Raises:
        InvalidError: it belongs to no cluster.
    """
    from windlass import cluster

    cluster.Cluster.from_context()
    plan = here.plan["cluster"]  # type: ignore[index]
    return ClusterInfo(plan["rank"], plan["cluster_id"], list(plan["addresses"]))


# -- looking at apps ------------------------------------------------------------------------------------------


@faces.function
async def list_deployed_apps(environment_name: str = "", client: object = None) -> list[AppInfo]:
    """All deployed apps of an environment, newest first.

    Args:
        environment_name: by default the environment of this program.
        client: accepted for compatibility.

    Raises:
        NotFoundError: there is no such environment.
    """
    from windlass.client import names, session

    query = {"limit": 1000, "environment": names.environment(environment_name) or await _environment()}
    found = (await session.current().request("app.list", query)).body["apps"]
    return [AppInfo(one["app_id"], one["name"], one["containers"]) for one in found if one["state"] == "deployed"]


async def _environment() -> str | None:
    """The one that is meant where nobody names one."""
    from windlass import environment

    chosen = environment.Environment.from_context()
    await chosen._ready()
    return chosen.name


@faces.function
async def get_app_objects(
    app_name: str, *, environment_name: str | None = None, client: object = None
) -> dict[str, function.Function[..., Any, Any] | cls.Cls]:
    """The functions and classes of a deployed app, by name.

    Args:
        app_name: the name that the app was deployed under.
        environment_name: where it is deployed; by default the environment of this program.
        client: accepted for compatibility.

    Example:
        >>> experimental.get_app_objects("squares")["square"].remote(7)
        49

    Raises:
        NotFoundError: no app of that name is deployed.
    """
    from windlass import cls, function
    from windlass.client import names, session

    query = {"app": app_name, "environment": names.environment(environment_name)}
    info = (await session.current().request("app.get", query)).body
    objects: dict[str, function.Function[..., Any, Any] | cls.Cls] = {}
    for tag in info["functions"]:
        name = tag.removesuffix(".*")
        found = cls.Cls if name != tag else function.Function
        objects[name] = found.from_name(app_name, name, environment_name=environment_name)
    return objects


@faces.function
async def update_autoscaler(
    obj: function.Function[..., Any, Any] | cls.Obj,
    *,
    min_containers: int | None = None,
    max_containers: int | None = None,
    buffer_containers: int | None = None,
    scaledown_window: int | None = None,
    client: object = None,
) -> None:
    """``obj.update_autoscaler(...)``, of a function or of an instance of a class.

    Raises:
        InvalidError: a number is wrong, the bounds contradict each other, or ``obj`` is something else.
    """
    from windlass import autoscaler, cls, function

    if isinstance(obj, cls.Obj):
        pool: Callable[[], Awaitable[str]] = obj._binding.ready
    elif isinstance(obj, function.Function):
        pool = obj._pool
    else:
        raise exception.InvalidError(f"only functions and objects of classes have an autoscaler, not {obj!r}")
    await autoscaler.override(
        pool, min_containers=min_containers, max_containers=max_containers, buffer_containers=buffer_containers,
        scaledown_window=scaledown_window,
    )  # fmt: skip

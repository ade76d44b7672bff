"""Windlass: run decorated Python functions in fresh containers on machines you own.

>>> import windlass
>>> app = windlass.App("squares")
>>> @app.function()
... def square(x: int) -> int:
...     return x * x

Only the public names live here, imported on first use so that ``import windlass`` costs next to nothing.
"""
from __future__ import annotations

__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from windlass.app import App as App
    from windlass.client import Client as Client
    from windlass.client.output import enable_output as enable_output
    from windlass.cloud_bucket_mount import CloudBucketMount as CloudBucketMount
    from windlass.cls import Cls as Cls
    from windlass.cls import parameter as parameter
    from windlass.cluster import Cluster as Cluster
    from windlass.dict import Dict as Dict
    from windlass.environment import Environment as Environment
    from windlass.exception import Error as Error
    from windlass.execution import current_function_call_id as current_function_call_id
    from windlass.execution import current_input_id as current_input_id
    from windlass.execution import current_traceparent as current_traceparent
    from windlass.execution import interact as interact
    from windlass.execution import is_local as is_local
    from windlass.file_pattern_matcher import FilePatternMatcher as FilePatternMatcher
    from windlass.function import Function as Function
    from windlass.function_call import FunctionCall as FunctionCall
    from windlass.http_server import Server as Server
    from windlass.image import Image as Image
    from windlass.network_file_system import NetworkFileSystem as NetworkFileSystem
    from windlass.partial_function import asgi_app as asgi_app
    from windlass.partial_function import batched as batched
    from windlass.partial_function import clustered as clustered
    from windlass.partial_function import concurrent as concurrent
    from windlass.partial_function import enter as enter
    from windlass.partial_function import exit as exit
    from windlass.partial_function import fastapi_endpoint as fastapi_endpoint
    from windlass.partial_function import method as method
    from windlass.partial_function import sessioned as sessioned
    from windlass.partial_function import web_endpoint as web_endpoint
    from windlass.partial_function import web_server as web_server
    from windlass.partial_function import wsgi_app as wsgi_app
    from windlass.proxy import Proxy as Proxy
    from windlass.queue import Queue as Queue
    from windlass.retries import Retries as Retries
    from windlass.sandbox import Probe as Probe
    from windlass.sandbox import Sandbox as Sandbox
    from windlass.sandbox import SandboxSnapshot as SandboxSnapshot
    from windlass.schedule import Cron as Cron
    from windlass.schedule import Period as Period
    from windlass.scheduler_placement import SchedulerPlacement as SchedulerPlacement
    from windlass.secret import Secret as Secret
    from windlass.tunnel import Tunnel as Tunnel
    from windlass.tunnel import forward as forward
    from windlass.volume import Volume as Volume
    from windlass.workspace import Workspace as Workspace

_WHERE = {
    "App": "app",
    "Client": "client",
    "CloudBucketMount": "cloud_bucket_mount",
    "Cls": "cls",
    "Cluster": "cluster",
    "Dict": "dict",
    "Environment": "environment",
    "Cron": "schedule",
    "Error": "exception",
    "FilePatternMatcher": "file_pattern_matcher",
    "Function": "function",
    "FunctionCall": "function_call",
    "Image": "image",
    "NetworkFileSystem": "network_file_system",
    "Period": "schedule",
    "Probe": "sandbox",
    "Proxy": "proxy",
    "Queue": "queue",
    "Retries": "retries",
    "Sandbox": "sandbox",
    "SandboxSnapshot": "sandbox",
    "SchedulerPlacement": "scheduler_placement",
    "Secret": "secret",
    "Server": "http_server",
    "Tunnel": "tunnel",
    "forward": "tunnel",
    "Volume": "volume",
    "Workspace": "workspace",
    "batched": "partial_function",
    "clustered": "partial_function",
    "concurrent": "partial_function",
    "current_function_call_id": "execution",
    "current_input_id": "execution",
    "current_traceparent": "execution",
    "enable_output": "client.output",
    "enter": "partial_function",
    "exit": "partial_function",
    "interact": "execution",
    "is_local": "execution",
    "method": "partial_function",
    "sessioned": "partial_function",
    "parameter": "cls",
    "wsgi_app": "partial_function",
    "web_server": "partial_function",
    "web_endpoint": "partial_function",
    "fastapi_endpoint": "partial_function",
    "asgi_app": "partial_function",
}

_REMOVED = {
    "Stub": "App",
    "Mount": "Image.add_local_file, add_local_dir or add_local_python_source",
    "build": "Image.run_function or a Volume",
}

_MODULES = frozenset(
    {
        "app", "billing", "call_graph", "client", "cloud_bucket_mount", "cls", "cluster", "config", "container_process",
        "dict", "environment", "exception", "experimental", "file_io", "file_pattern_matcher", "functions", "gpu",
        "image", "io_streams", "network_file_system", "partial_function", "proxy", "queue", "retries", "runner",
        "sandbox", "sandbox_fs", "schedule", "scheduler_placement", "secret", "stream_type", "tunnel", "types",
        "volume", "workspace",
    }
)  # fmt: skip

__all__ = sorted([*_WHERE, "__version__"])


def __getattr__(name: str) -> object:
    import importlib

    where = _WHERE.get(name)
    if where is not None:
        value = getattr(importlib.import_module(f"{__name__}.{where}"), name)
        globals()[name] = value
        return value
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name == "output":
        return importlib.import_module(f"{__name__}.client.output")
    if name in _REMOVED:
        return _Removed(name)
    raise AttributeError(f"Windlass {__version__} has no {name!r}; what is not there yet stands in its README")


class _Removed:
    """Programs may still import it; using it, or anything of it, says what to use instead."""

    def __init__(self, name: str) -> None:
        self.__name__ = name

    def __call__(self, *args: object, **kwargs: object) -> object:
        from windlass import exception

        raise exception.DeprecationError(f"{self.__name__} was removed; use {_REMOVED[self.__name__]}")

    def __getattr__(self, name: str) -> object:
        if name.startswith("_"):  # copy, pickle, inspect and the like ask for these
            raise AttributeError(name)
        return self()


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE})

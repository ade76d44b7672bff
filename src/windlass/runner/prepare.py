"""From a plan to what is served. No thread, and no connection unless the user's code itself must be fetched."""
from __future__ import annotations

import importlib
import os
import sys

from windlass import exception
from windlass.client import here
from windlass.runner import served as served_module
from windlass.wire import payload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from windlass.wire.messages import containers, functions


def environment(plan: containers.RunnerPlan) -> None:
    """What programs may ask the environment about where they are."""
    facts = {
        "IS_REMOTE": "1",
        "TASK_ID": plan["container_id"],
        "IMAGE_ID": plan["image_id"],
        "ENVIRONMENT": plan["environment"],
        "CLOUD_PROVIDER": "local",
        "REGION": "local",
    }
    for name, value in facts.items():
        os.environ[f"WINDLASS_{name}"] = os.environ[f"MODAL_{name}"] = value


def place(plan: containers.RunnerPlan) -> None:
    """Tell the SDK where it is. Before user code is imported."""
    here.plan = plan
    here.pid = os.getpid()
    sys.breakpointhook = _breakpoint
    from windlass import compat

    compat.install()


def _breakpoint(*args: Any, **kwargs: Any) -> Any:
    from windlass.runner import debugger  # only programs that are being debugged pay for it

    return debugger.stop(sys._getframe(1), args, kwargs)


def served(plan: containers.RunnerPlan, fetch: Callable[[str], bytes]) -> served_module.Served:
    """Import the user's code, find what was decorated, make the instance if it is a class."""
    spec = plan["spec"]
    if spec.get("class_name"):
        found: served_module.Served = _instance(plan, _decorated(spec, fetch))
    else:
        found = served_module.function(function(spec, fetch), spec)
    if "web" not in spec and not any("web" in method for method in spec.get("methods", {}).values()):
        return found
    from windlass.runner.web import site  # few functions answer requests

    return site.Site(found, site.of(spec), plan)


def _decorated(spec: functions.FunctionSpec, fetch: Callable[[str], bytes]) -> Any:
    if spec["definition"] == "serialized":
        _check_python(spec)
        return payload.loads(fetch(spec["serialized"] or ""), f"function {spec['tag']!r}")
    found = _find(_module(spec), spec)
    if hasattr(found, "_entered"):
        found._entered()
    return found


def _module(spec: functions.FunctionSpec) -> Any:
    """The user's module. A script may be called as what Python has imported already, such as ``site.py``: then it is
    loaded from its file and takes the name, as on the machine that it comes from."""
    name = spec["module"]
    there = sys.modules.get(name)
    if spec["definition"] == "file" and (there is not None or name in sys.builtin_module_names):
        from importlib import machinery, util

        found = machinery.PathFinder.find_spec(name)
        if found is not None and found.loader is not None and found.origin != getattr(there, "__file__", None):
            module = sys.modules[name] = util.module_from_spec(found)
            found.loader.exec_module(module)
            return module
    return importlib.import_module(name)


def _instance(plan: containers.RunnerPlan, found: Any) -> served_module.Served:
    from windlass import cls, http_server
    from windlass.client import anatomy
    from windlass.wire import parameters

    spec = plan["spec"]
    user_cls = found._user_cls if isinstance(found, (cls.Cls, http_server.Server)) else found
    if not isinstance(user_cls, type):
        raise exception.ExecutionError(f"{spec['qualname']!r} in module {spec['module']!r} is no class: {user_cls!r}")
    info: functions.FunctionInfo = {
        "function_id": plan["function_id"], "app_id": plan["app"]["app_id"], "tag": spec["tag"], "is_generator": False,
        "class_name": spec["class_name"], "methods": spec["methods"], "parameters": spec.get("parameters", []),
    }  # fmt: skip
    values = parameters.decode(plan.get("parameters", ""))
    made = cls.serving(user_cls, anatomy.read(user_cls), values, info)
    return served_module.Instance(made, spec)


def function(spec: functions.FunctionSpec, fetch: Callable[[str], bytes]) -> Callable[..., Any]:
    """Import the user's code and find the function that was decorated."""
    found = _decorated(spec, fetch)
    raw = found.get_raw_f() if hasattr(found, "get_raw_f") else found
    if not callable(raw):
        raise exception.ExecutionError(f"{spec['qualname']!r} in module {spec['module']!r} is no function: {raw!r}")
    called: Callable[..., Any] = raw
    return called


def _check_python(spec: functions.FunctionSpec) -> None:
    """Byte code of another version may do anything, also crash."""
    here_python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    theirs = spec.get("python") or here_python
    if theirs != here_python:
        raise exception.ExecutionError(
            f"function {spec['tag']!r} was pickled by Python {theirs}; its image has Python {here_python}",
            hint=f"Give it an image with Python {theirs}, or define it at the top of a module.",
        )


def _find(module: Any, spec: functions.FunctionSpec) -> Any:
    found = module
    for part in spec["qualname"].split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise exception.ExecutionError(
                f"module {spec['module']!r} has no {spec['qualname']!r} in the container",
                hint="Is it defined under a condition, or inside a function? Such functions need serialized=True.",
            ) from None
    return found

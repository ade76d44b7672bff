"""From a function's signature to a command's options, and from typed words back to arguments.

Every parameter becomes ``--kebab-name``. A function of only ``*args`` takes the words as they are.
"""
from __future__ import annotations

import datetime
import inspect
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any

import click

from windlass import exception
from windlass.wire import parameters as values
from windlass.wire.messages import functions

_PLAIN: dict[Any, click.ParamType[Any]] = {
    str: click.STRING,
    int: click.INT,
    float: click.FLOAT,
    bool: click.BOOL,
    datetime.datetime: click.DateTime(),
}
_UNIONS = {typing.Union, getattr(types, "UnionType", typing.Union)}


def parse(
    function: Callable[..., Any],
    words: Sequence[str],
    *,
    title: str,
    parameters: Sequence[functions.ParameterSpec] = (),
) -> tuple[list[Any], dict[str, Any]]:
    """The positional and keyword arguments that ``words`` mean for ``function``.

    ``title`` stands in the usage line: ``windlass run job.py::main``. ``--help`` prints the options and exits.
    ``parameters`` of a class become options as well, and are among the keywords that are returned.

    Raises:
        click.UsageError: an unknown option, a missing or malformed value.
        InvalidError: the signature cannot be called from a command line.
    """
    signature = inspect.signature(function)
    arguments: list[Any] = []
    keywords: dict[str, Any] = {}
    if takes_words(signature):
        if parameters:
            raise exception.InvalidError(
                "A method with *args cannot be run from the command line when its class has parameters.",
                hint="Give it named parameters, or call it from a local entrypoint.",
            )
        return [*words], keywords
    command = click.Command(
        title,
        params=_class_options(parameters, signature)
        + [_option(name, parameter, hint) for name, parameter, hint in _hinted(function, signature)],
        help=inspect.getdoc(function),
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    with command.make_context(title, list(words)) as context:
        for name, parameter in signature.parameters.items():
            value = context.params[name]
            if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
                arguments.append(value)
            else:
                keywords[name] = value
        for one in parameters:
            value = context.params[one["name"]]
            keywords[one["name"]] = value.encode() if one["type"] == "bytes" and isinstance(value, str) else value
    return arguments, keywords


def _class_options(
    parameters: Sequence[functions.ParameterSpec], signature: inspect.Signature
) -> list[click.Parameter]:
    """Bytes are typed as text and passed as UTF-8."""
    options: list[click.Parameter] = []
    for one in parameters:
        name, kind = one["name"], one["type"]
        if name in signature.parameters:
            raise exception.InvalidError(
                f"Both the class and its method have a parameter '{name}': one option cannot mean both.",
                hint="Call it from a local entrypoint, or rename one of them.",
            )
        default: Any = inspect.Parameter.empty
        if one.get("has_default"):
            default = values.read(kind, one["default"])
        hint = {"str": str, "int": int, "bool": bool, "bytes": str}[kind]
        options.append(
            _option(name, inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default), hint)
        )
    return options


def takes_words(signature: inspect.Signature) -> bool:
    """Whether the function has only ``*args``."""
    kinds = [parameter.kind for parameter in signature.parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL not in kinds:
        return False
    if len(kinds) > 1:
        raise exception.InvalidError(
            "A function with *args can have no other parameters when it is run from the command line.",
            hint="Give it named parameters only, or *args alone.",
        )
    return True


def _hinted(
    function: Callable[..., Any], signature: inspect.Signature
) -> list[tuple[str, inspect.Parameter, Any]]:
    """Each parameter with its annotation; annotations written as text are evaluated where the function lives."""
    try:
        hints = typing.get_type_hints(inspect.unwrap(function))
    except Exception:  # noqa: BLE001 - the user's annotations may name what exists only for type checkers
        hints = {}
    return [
        (name, parameter, hints.get(name, parameter.annotation)) for name, parameter in signature.parameters.items()
    ]


def _option(name: str, parameter: inspect.Parameter, hint: Any) -> click.Option:
    if parameter.kind is inspect.Parameter.VAR_KEYWORD:
        raise _unparseable(name, f"**{name}")
    # Without a default of ours click knows that a value is missing; even None would count as one.
    more: dict[str, Any] = {"required": True}
    if parameter.default is not inspect.Parameter.empty:
        more = {"default": parameter.default, "show_default": parameter.default is not None}
    flag = name.replace("_", "-")
    kind, convert = _type(name, hint)
    if kind is click.BOOL:
        return click.Option([f"--{flag}/--no-{flag}", name], is_flag=True, **more)
    if convert is not None:
        more["callback"] = lambda ctx, param, value: convert(value)
    return click.Option([f"--{flag}", name], type=kind, **more)


def _type(name: str, hint: Any) -> tuple[click.ParamType[Any], Callable[[Any], Any] | None]:
    """click's type for an annotation, and what to do to a value that click has checked."""
    if hint is inspect.Parameter.empty or hint is Any:
        return click.UNPROCESSED, None
    hint = _without_none(hint)
    if hint in (bool, "bool"):
        return click.BOOL, None
    try:
        if (kind := _PLAIN.get(hint)) is not None:
            return kind, None
    except TypeError:  # not hashable: no type of ours
        raise _unparseable(name, hint) from None
    if typing.get_origin(hint) is typing.Literal:
        return _literal(name, hint)
    raise _unparseable(name, hint)


def _literal(name: str, hint: Any) -> tuple[click.ParamType[Any], Callable[[Any], Any] | None]:
    values = typing.get_args(hint)
    if all(type(value) is str for value in values):
        return click.Choice(list(values)), None
    if all(type(value) is int for value in values):
        return click.Choice([str(value) for value in values]), lambda value: None if value is None else int(value)
    raise _unparseable(name, hint)


def _without_none(hint: Any) -> Any:
    """``X`` for ``Optional[X]`` and ``X | None``; anything else as it is."""
    if typing.get_origin(hint) in _UNIONS:
        kinds = [kind for kind in typing.get_args(hint) if kind is not type(None)]
        if len(kinds) == 1:
            return kinds[0]
    return hint


def _unparseable(name: str, hint: Any) -> exception.InvalidError:
    shown = hint if isinstance(hint, str) else inspect.formatannotation(hint)
    return exception.InvalidError(
        f"Parameter '{name}' has the unparseable annotation {shown!r}.",
        hint="Use str, int, float, bool, datetime.datetime, a Literal of strings or of integers, or no annotation.",
    )

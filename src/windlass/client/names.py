"""Which names are allowed, checked before any request."""
from __future__ import annotations

from windlass import exception
from windlass.kit import ids

_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
_NAME = _LETTERS | frozenset("-_.")
_ENVIRONMENT = _LETTERS | frozenset("-_")


def check_object(name: object, what: str) -> None:
    """Names of apps and other things: 1-64 of ``[A-Za-z0-9-_.]``, not like an app's id."""
    if not isinstance(name, str):
        raise exception.InvalidError(f"{what} must be a string, not {type(name).__name__}")
    if not 1 <= len(name) <= 64 or not _NAME.issuperset(name):
        raise exception.InvalidError(
            f"{what} {name!r} is not allowed", hint="Use 1 to 64 letters, digits, dashes, underscores and dots."
        )
    if ids.is_id(name, "ap"):
        raise exception.InvalidError(f"{what} {name!r} looks like the id of an app")


def check_function(tag: object) -> None:
    """Of a function or class in an app that is looked up."""
    if not isinstance(tag, str) or not tag.removesuffix(".*"):
        raise exception.InvalidError(f"the name of a function or class must be a string, not {tag!r}")


def check_environment(name: object) -> None:
    """Environments: the first character alphanumeric, then also dashes and underscores."""
    if not isinstance(name, str):
        raise exception.InvalidError(f"the environment's name must be a string, not {type(name).__name__}")
    good = 1 <= len(name) <= 64 and name[0] in _LETTERS and _ENVIRONMENT.issuperset(name)
    if not good or name.startswith("en-"):
        raise exception.InvalidError(
            f"the environment's name {name!r} is not allowed",
            hint="Use 1 to 64 letters, digits, dashes and underscores, a letter or digit first, and not en-….",
        )


def environment(name: str | None) -> str:
    """The environment that is meant: the one given, or that of this program. "": the platform's own."""
    from windlass import config

    chosen: str = name or config.config["environment"]
    if chosen:
        check_environment(chosen)
    return chosen


def check_deployment_tag(tag: object) -> None:
    """A word for a version: up to 50 of ``[A-Za-z0-9-_.]``."""
    if not isinstance(tag, str) or len(tag) > 50 or not _NAME.issuperset(tag):
        raise exception.InvalidError(
            f"tag {tag!r} is not allowed", hint="Use up to 50 letters, digits, dots, underscores and dashes."
        )


def check_tags(tags: object) -> dict[str, str]:
    """Tags of apps: keys and values of 1-63 of ``[A-Za-z0-9._-]``."""
    if not isinstance(tags, dict):
        raise exception.InvalidError(f"tags must be a dict of strings, not {type(tags).__name__}")
    for key, value in tags.items():
        for text in (key, value):
            if not isinstance(text, str) or not 1 <= len(text) <= 63 or not _NAME.issuperset(text):
                raise exception.InvalidError(
                    f"tag {key!r}: {value!r} is not allowed",
                    hint="Use 1 to 63 letters, digits, dots, underscores and dashes.",
                )
    return dict(tags)


def image(text: object, environment_name: str | None = None) -> tuple[str, str, str]:
    """(environment, name, tag) of ``[env/]name[:tag]``; the tag is "latest" where none is given, and the environment
    that of this program.

    Raises:
        InvalidError: it has another form, begins like an id, or the environment is given twice.
    """
    if not isinstance(text, str):
        raise exception.InvalidError(f"an image's name must be a string, not {type(text).__name__}")
    inside, slash, rest = text.rpartition("/")
    name, colon, tag = rest.partition(":")
    if slash and environment_name:
        raise exception.InvalidError(
            f"{text!r} names an environment, and environment_name={environment_name!r} another time",
            hint="Give one of them.",
        )
    check_object(name, "an image's name")
    if colon:
        check_object(tag, "an image's tag")
    if name.startswith("im-"):
        raise exception.InvalidError(
            f"the name {name!r} begins like an image id", hint="Image.from_id finds images by their ids."
        )
    if slash:
        check_environment(inside)
    return inside if slash else environment(environment_name), name, tag or "latest"

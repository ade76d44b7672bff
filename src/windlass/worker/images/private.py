"""Packages from private repositories: git is told the token only when it asks for it. Pure.

git's settings can be given by variables. They name a program that answers for one host; its text, which command lines
show, holds only the name of the variable with the token. Programs of the image that would keep the answer are dropped.
"""
from __future__ import annotations

from collections.abc import Mapping

from windlass import exception
from windlass.wire.messages import images

TOKENS = {"github.com": "GITHUB_TOKEN", "gitlab.com": "GITLAB_TOKEN"}

GIT = (
    "command -v git >/dev/null || "
    "{ apt-get update -q && apt-get install -y -q -o Dpkg::Use-Pty=0 --no-install-recommends git && apt-get clean; }"
)
"""A line for the shell that brings git where the image lacks it."""

_USER = "WINDLASS_GIT_USER"


def packages(recipe: images.Recipe) -> images.Recipe:
    """The recipe as a "pip" that installs from URLs."""
    repositories = recipe.get("packages", [])
    return {**recipe, "op": "pip", "packages": [f"git+https://{_with_suffix(one)}" for one in repositories]}


def environment(recipe: images.Recipe, variables: Mapping[str, str]) -> dict[str, str]:
    """What the step needs besides its own ``variables``. Raises ``ImageBuildError`` without a token."""
    hosts = sorted({one.partition("/")[0] for one in recipe.get("packages", [])})
    pairs = [("credential.helper", "")]
    for host in hosts:
        token = TOKENS.get(host)
        if token is None:
            raise exception.ImageBuildError(f"repositories at {host!r} cannot be installed from")
        if not variables.get(token):
            raise exception.ImageBuildError(
                f"repositories at {host} need {token} among the secrets of the step",
                hint=f'Add it: Secret.from_dict({{"{token}": …}}).',
            )
        pairs.append((f"credential.https://{host}.helper", _answer(token)))
    env = {"GIT_TERMINAL_PROMPT": "0", _USER: recipe.get("git_user", ""), "GIT_CONFIG_COUNT": str(len(pairs))}
    for number, (name, value) in enumerate(pairs):
        env[f"GIT_CONFIG_KEY_{number}"], env[f"GIT_CONFIG_VALUE_{number}"] = name, value
    return env


def _answer(token: str) -> str:
    return f'!f() {{ test "$1" != get || printf "username=%s\\npassword=%s\\n" "${_USER}" "${token}"; }}; f'


def _with_suffix(repository: str) -> str:
    """GitLab answers only to names that end so."""
    address, mark, fragment = repository.partition("#")
    name, at, reference = address.partition("@")
    return f"{name.removesuffix('.git')}.git{at}{reference}{mark}{fragment}"

"""A step that installs packages from private repositories."""
from __future__ import annotations

from windlass import exception
from windlass.client import recipes
from windlass.image import chain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from typing_extensions import Self

    from windlass.secret import Secret
    from windlass.wire.messages import images

# The host, two or more names, then perhaps a branch, tag or commit, then perhaps what follows "#" in a URL.
_REFERENCE = r"(github\.com|gitlab\.com)(/[\w.-]+){2,}(@[\w./+-]+)?(#[\w./=&-]+)?"


class Private(chain.Chain):
    """The method of ``Image`` that installs from private repositories."""

    def pip_install_private_repos(
        self,
        *repositories: str,
        git_user: str,
        find_links: str | None = None,
        index_url: str | None = None,
        extra_index_url: str | None = None,
        pre: bool = False,
        extra_options: str = "",
        gpu: object = None,
        env: dict[str, str | None] | None = None,
        secrets: Collection[Secret] | None = None,
        force_build: bool = False,
    ) -> Self:
        """Install Python packages from repositories at GitHub or GitLab that need a token to be read.

        The token is handed to git when it asks for it; it is in no command line, log or layer.

        Args:
            repositories: such as ``"github.com/owner/name"``, with a branch, tag or commit behind an ``@``, and with
                ``#subdirectory=…`` where the package is in a folder.
            git_user: the user that the token belongs to.
            find_links: a URL with links to packages.
            index_url: the package index to use instead of the default one.
            extra_index_url: a further package index.
            pre: accept pre-releases.
            extra_options: further options of pip, as on a command line.
            gpu: GPUs that the step sees, as with a function.
            env: variables that only this step sees.
            secrets: secrets that only this step sees, with ``GITHUB_TOKEN`` or ``GITLAB_TOKEN`` as needed.
            force_build: run the step, and those after it, even if they are in the cache.

        Raises:
            InvalidError: no such reference, or no secrets.

        Example:
            >>> image = windlass.Image.debian_slim().pip_install_private_repos(
            ...     "github.com/acme/tools@v1.2",
            ...     git_user="somebody",
            ...     secrets=[windlass.Secret.from_name("github")],
            ... )
        """
        for repository in repositories:
            _check(repository)
        if not isinstance(git_user, str) or not git_user or not git_user.isprintable():
            raise exception.InvalidError("git_user must be the name of the user that the token belongs to")
        if not secrets:
            raise exception.InvalidError(
                "pip_install_private_repos() needs secrets with the token",
                hint='Use secrets=[Secret.from_name("…")] with GITHUB_TOKEN or GITLAB_TOKEN.',
            )
        if not repositories:
            return self
        options = recipes.install_options(
            find_links=find_links, index_url=index_url, extra_index_url=extra_index_url,
            pre=pre, extra_options=extra_options,
        )  # fmt: skip
        recipe: images.Recipe = {
            "op": "private_pip", "packages": sorted(repositories), "options": options, "git_user": git_user,
        }  # fmt: skip
        return self._step(recipe, force_build=force_build, env=env, secrets=secrets, gpu=gpu)


def _check(repository: object) -> None:
    import re

    if not isinstance(repository, str) or re.fullmatch(_REFERENCE, repository, re.ASCII) is None:
        raise exception.InvalidError(
            f"{repository!r} is no repository that pip_install_private_repos() takes",
            hint="Write github.com/owner/name or gitlab.com/owner/name, with @ and a branch, tag or commit if need be.",
        )

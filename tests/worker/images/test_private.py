"""Private repositories: how git comes by the token, and where the token is not."""

from __future__ import annotations

import os
import subprocess

import pytest

from windlass import exception
from windlass.worker.images import private, projects, script

RECIPE = {
    "op": "private_pip", "packages": ["github.com/a/b@v1#subdirectory=s", "gitlab.com/g/h/i"], "git_user": "me",
}  # fmt: skip
TOKENS = {"GITHUB_TOKEN": "hub's \"$x`", "GITLAB_TOKEN": "lab"}


def environment(**more: str) -> dict[str, str]:
    return script.environment(host={}, image={}, recipe=RECIPE, secrets={**TOKENS, **more}, path=os.environ["PATH"])


def test_repositories_become_urls_without_credentials() -> None:
    found = private.packages(RECIPE)["packages"]
    assert found == ["git+https://github.com/a/b.git@v1#subdirectory=s", "git+https://gitlab.com/g/h/i.git"]
    assert private.packages({"packages": ["github.com/a/b.git"]})["packages"] == ["git+https://github.com/a/b.git"]
    for has_uv in (True, False):
        commands = script.commands(RECIPE, shell=[], has_uv=has_uv)
        assert "command -v git" in commands[0].argv[-1]
        assert not [word for command in commands for word in command.argv if "hub's" in word or word == "lab"]


def test_git_gets_the_token_of_a_host_for_that_host_only(tmp_path) -> None:
    env = {**environment(), "HOME": str(tmp_path)}

    def fill(host: str) -> str:
        asked = subprocess.run(
            ["git", "credential", "fill"], input=f"protocol=https\nhost={host}\n\n", env=env, capture_output=True,
            text=True, timeout=20, check=False,
        )  # fmt: skip
        return asked.stdout

    assert "username=me\npassword=hub's \"$x`\n" in fill("github.com")
    assert "username=me\npassword=lab\n" in fill("gitlab.com")
    for host in ("example.com", "github.com.example.com", "gitlab.example.com"):
        assert "password" not in fill(host)


def test_a_missing_token_is_named() -> None:
    with pytest.raises(exception.ImageBuildError, match="GITLAB_TOKEN"):
        environment(GITLAB_TOKEN="")
    with pytest.raises(exception.ImageBuildError, match=r"example\.com"):
        private.environment({"packages": ["example.com/a/b"]}, TOKENS)


def test_a_project_step_reads_no_other_files() -> None:
    assert projects.files({"files": {"uv.lock": "x"}}) == {"uv.lock": "x"}
    with pytest.raises(exception.ImageBuildError, match=r"\.\./x"):
        projects.files({"files": {"../x": ""}})


def test_the_environment_of_uv_is_first_on_the_path_once() -> None:
    assert projects.path({"op": "uv_sync"}, "/bin") == {"PATH": "/.uv/.venv/bin:/bin"}
    assert projects.path({"op": "uv_sync"}, "/.uv/.venv/bin:/bin") == {} == projects.path({"op": "poetry"}, "/bin")


def test_steps_that_need_uv_say_so() -> None:
    for op in ("uv_pip", "uv_sync", "poetry"):
        with pytest.raises(exception.ImageBuildError, match="uv cannot run"):
            script.commands({"op": op}, shell=[], has_uv=False)


def test_variables_for_pip_are_obeyed_by_pip() -> None:
    recipe = {"op": "pip", "packages": ["six"]}
    assert "pip" in script.commands(recipe, shell=[], has_uv=True, variables=["PIP_INDEX_URL"])[0].argv[:3]
    assert "uv" in script.commands(recipe, shell=[], has_uv=True, variables=["PIP_NO_CACHE_DIR"])[0].argv[4]

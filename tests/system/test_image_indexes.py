"""Where packages come from: each argument of the install methods, on indexes that the tests make; and private git."""

from __future__ import annotations

import hashlib
import io
import os
import uuid
import zipfile
from pathlib import Path

import pytest

import windlass

SLIM = windlass.Image.debian_slim


def sh(*commands: str):
    import subprocess

    return [subprocess.run(c, shell=True, capture_output=True, text=True).stdout.strip() for c in commands]


def inside(image, *commands: str):
    app = windlass.App("test-image-indexes", image=image)
    handle = app.function(serialized=True)(sh)
    with app.run():
        return handle.remote(*commands)


def wheel(folder: Path, name: str, version: str) -> Path:
    """A package that knows its version."""
    data = io.BytesIO()
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(data, "w") as archive:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(path, text)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-py3-none-any.whl"
    path.write_bytes(data.getvalue())
    return path


def index(root: Path, **packages: str) -> None:
    """A static index: ``simple/<name>/index.html`` with links to files beside it."""
    for name, versions in packages.items():
        names = [wheel(root / "simple" / name, name, version).name for version in versions.split()]
        links = "".join(f'<a href="{one}">{one}</a>\n' for one in names)
        (root / "simple" / name / "index.html").write_text(f"<!DOCTYPE html><html><body>\n{links}</body></html>\n")


def version(name: str) -> str:
    return f"python3 -c 'import {name}; print({name}.VERSION)'"


@pytest.fixture
def base(tmp_path):
    """An image with two indexes and a folder of wheels at /srv; their packages exist nowhere else."""
    first, second = f"first{uuid.uuid4().hex[:8]}", f"second{uuid.uuid4().hex[:8]}"
    index(tmp_path / "one", **{first: "1.0 1.1 2.0rc1"})
    index(tmp_path / "two", **{first: "1.5", second: "3.0"})
    wheel(tmp_path / "links", first, "0.9")
    return SLIM().add_local_dir(tmp_path, "/srv", copy=True), first, second


ONE, TWO = "file:///srv/one/simple", "file:///srv/two/simple"


@pytest.mark.parametrize("method", ["pip_install", "uv_pip_install"])
def test_packages_come_from_the_indexes_and_links_that_are_named(stage, base, method):
    image, first, second = base
    links = getattr(image, method)(first, find_links="/srv/links", extra_options="--no-index")
    one = getattr(image, method)(first, index_url=ONE)
    early = getattr(image, method)(first, index_url=ONE, pre=True)
    both = getattr(image, method)([second], index_url=ONE, extra_index_url=TWO)
    assert inside(links, version(first)) == ["0.9"]
    assert inside(one, version(first)) == ["1.1"]
    assert inside(early, version(first)) == ["2.0rc1"]
    assert inside(both, version(second)) == ["3.0"]


def test_of_several_indexes_pip_takes_the_best_version(stage, base):
    image, first, _ = base
    assert inside(image.pip_install(first, index_url=ONE, extra_index_url=TWO), version(first)) == ["1.5"]


def test_pip_itself_installs_what_uv_cannot_and_obeys_its_variables(stage, base, tmp_path):
    image, first, second = base
    requirements = tmp_path / "r.txt"
    requirements.write_text(f"{first}<1.1\n")
    by_option = image.pip_install_from_requirements(requirements, index_url=ONE, extra_options="--prefer-binary")
    by_env = image.pip_install(second, env={"PIP_INDEX_URL": TWO})
    by_secret = image.pip_install(second, secrets=[windlass.Secret.from_dict({"PIP_INDEX_URL": TWO})])
    assert inside(by_option, version(first)) == ["1.0"]
    assert inside(by_env, version(second), "echo $PIP_INDEX_URL") == ["3.0", ""]
    assert inside(by_secret, version(second), "echo $PIP_INDEX_URL") == ["3.0", ""]


def test_another_version_of_uv_is_used_for_the_step_only(stage, base):
    image, first, _ = base
    other = image.uv_pip_install(first, index_url=ONE, uv_version="0.8.0")
    assert inside(other, version(first), "ls -A /root /tmp") == ["1.1", "/root:\n.bashrc\n.profile\n\n/tmp:"]
    with pytest.raises(windlass.exception.ImageBuildError, match=r"99\.0\.0"):
        image.uv_pip_install(first, index_url=ONE, uv_version="99.0.0").build()


def test_an_unknown_package_and_an_unreachable_index_fail_with_their_names(stage, base):
    image, first, _ = base
    with pytest.raises(windlass.exception.ImageBuildError, match="windlass-no-such-package"):
        image.pip_install("windlass-no-such-package", index_url=ONE).build()
    with pytest.raises(windlass.exception.ImageBuildError, match="no-such-index"):
        image.pip_install(first, index_url="https://no-such-index.invalid/simple").build()


# Stands for git: asks the real one for the credentials of github.com, looks whether the token is in any command line,
# then reads "github.com" from a folder.
GIT = r"""#!/bin/sh
real=/usr/bin/git
case "$*" in *fetch*|*clone*)
    token=$(printf 'protocol=https\nhost=github.com\n\n' | $real credential fill | sed -n s/^password=//p)
    user=$(printf 'protocol=https\nhost=github.com\n\n' | $real credential fill | sed -n s/^username=//p)
    other=$(printf 'protocol=https\nhost=example.com\n\n' | GIT_ASKPASS=true $real credential fill | grep -c "$token")
    if grep -qs "$token" /proc/[0-9]*/cmdline; then shown=yes; else shown=no; fi
    printf '%s %s %s %s' "$(printf %s "$token" | sha256sum | cut -c1-64)" "$user" "$other" "$shown" > /srv/asked
esac
exec $real -c protocol.file.allow=always -c url.file:///srv/git/.insteadOf=https://github.com/ "$@"
"""


@pytest.mark.parametrize("by", ["uv", "pip"])
def test_a_private_repository_is_read_with_the_token_which_leaves_no_trace(stage, tmp_path, by):
    name, token = f"private{uuid.uuid4().hex[:8]}", f"ghp_{uuid.uuid4().hex}"
    (tmp_path / "git").write_text(GIT)
    (tmp_path / "git").chmod(0o755)
    work = f"""
mkdir -p /srv/git/acme /tmp/w/sub && cd /tmp/w/sub &&
printf '[project]\\nname = "{name}"\\nversion = "1.0"\\n' > pyproject.toml && echo 'VERSION = "1.0"' > {name}.py &&
cd /tmp/w && git init -q -b main . && git add . && git -c user.name=a -c user.email=a@b commit -q -m first &&
git tag v1 && git clone -q --bare . /srv/git/acme/{name}.git && git -C /srv/git/acme/{name}.git update-server-info &&
cd / && rm -rf /tmp/w && git config --system credential.helper store"""
    image = SLIM().apt_install("git").run_commands(work.strip())
    image = image.add_local_file(tmp_path / "git", "/usr/local/bin/git", copy=True).build()
    known = set(os.listdir(stage.home / "layers"))
    installed = image.pip_install_private_repos(
        f"github.com/acme/{name}@v1#subdirectory=sub", git_user="somebody",
        secrets=[windlass.Secret.from_dict({"GITHUB_TOKEN": token})],
        extra_options="--prefer-binary" if by == "pip" else "",
    )  # fmt: skip
    origin = f'import importlib.metadata as m; print(m.distribution("{name}").read_text("direct_url.json"))'
    got, asked, origin = inside(installed, version(name), "cat /srv/asked", f"python3 -c '{origin}'")
    assert got == "1.0"
    assert asked.split() == [hashlib.sha256(token.encode()).hexdigest(), "somebody", "0", "no"]
    assert f"https://github.com/acme/{name}.git" in origin and token not in origin
    [layer] = set(os.listdir(stage.home / "layers")) - known
    files = [p for p in (stage.home / "layers" / layer).rglob("*") if p.is_file() and not p.is_symlink()]
    assert files and not [p for p in files if token.encode() in p.read_bytes()]


def test_a_private_repository_needs_its_token(stage):
    secrets = [windlass.Secret.from_dict({"OTHER": "x"})]
    image = SLIM().pip_install_private_repos("gitlab.com/acme/tools", git_user="me", secrets=secrets)
    with pytest.raises(windlass.exception.ImageBuildError, match="GITLAB_TOKEN"):
        image.build()

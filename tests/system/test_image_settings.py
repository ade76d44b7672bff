"""Company mirrors: builds use what this machine and Windlass' own settings say, and keep none of it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

import index
import windlass
from stage import until

SLIM = windlass.Image.debian_slim


def build(image: windlass.Image) -> None:
    app = windlass.App("test-image-settings", image=image)
    app.function(serialized=True)(len)
    with app.run():
        pass


@contextlib.contextmanager
def settings(stage, **values: str) -> Iterator[None]:
    """Windlass' own settings for builds."""
    file = stage.home / "build.env"
    file.write_text("# of a test\n" + "".join(f'{name}="{value}"\n' for name, value in values.items()))
    try:
        yield
    finally:
        file.unlink()


def fresh(image: windlass.Image) -> windlass.Image:
    """``image``, not in the cache."""
    return image.run_commands(f"true # {uuid.uuid4().hex}")


def test_an_index_of_windlass_own_settings_is_used_at_once_even_on_loopback(stage):
    with index.serving() as company, settings(stage, PIP_INDEX_URL=company.url()):
        check = f"python -c 'import {index.PACKAGE} as p; assert p.value == 42'"
        build(fresh(SLIM()).pip_install(index.PACKAGE).run_commands(check))
        assert any(path.endswith(".whl") for path in company.index)
        company.index.clear()
        build(fresh(SLIM()).uv_pip_install(index.PACKAGE))
        assert company.index
        build(fresh(SLIM()).pip_install(index.PACKAGE, extra_options="--prefer-binary"))  # by pip itself


def test_a_proxy_on_loopback_is_used(stage):
    with index.serving() as company:
        address = f"http://me:pw@127.0.0.1:{company.port}"
        with settings(stage, HTTP_PROXY=address, http_proxy=address):
            build(fresh(SLIM()).apt_install("tree"))
        assert any("/dists/" in asked for asked in company.proxied), company.proxied[:5]


def test_a_mirror_of_packages_stands_in_for_the_public_one(stage):
    with index.serving() as company:
        # A proxy is asked by the mirror's name: nobody else knows that name.
        address = f"http://127.0.0.1:{company.port}"
        with settings(stage, http_proxy=address, WINDLASS_APT_MIRROR="http://me:pw@mirror.invalid/debian"):
            with pytest.raises(windlass.exception.ImageBuildError):
                build(fresh(SLIM()).apt_install("tree"))
        asked = [one for one in company.proxied if "mirror.invalid" in one]
        assert asked and all("me:pw" not in one for one in asked), company.proxied[:5]


def test_a_malformed_line_is_a_clear_error_and_needs_no_restart(stage):
    file = stage.home / "build.env"
    file.write_text("PIP_INDEX_URL=https://x\nthis is wrong\n")
    try:
        with pytest.raises(windlass.exception.ImageBuildError, match=r"build\.env, line 2"):
            build(fresh(SLIM()))
    finally:
        file.unlink()
    build(fresh(SLIM()))


# -- nothing of it stays ----------------------------------------------------------------------------------


class Watch:
    """Looks at the command lines of all processes for as long as it is open."""

    def __init__(self, marks: list[bytes]) -> None:
        self.found: set[str] = set()
        self._marks = marks
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        while not self._end.wait(0.02):
            for entry in os.listdir("/proc"):
                if entry.isdigit():
                    with contextlib.suppress(OSError):
                        line = Path("/proc", entry, "cmdline").read_bytes()
                        if any(mark in line for mark in self._marks):
                            self.found.add(line.replace(b"\0", b" ").decode(errors="replace"))

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


def holding(root: Path, marks: list[bytes]) -> list[str]:
    """Everything below ``root`` that has a mark in its name, content, link target or extended attributes."""
    found = []

    def look(path: Path, data: bytes, what: str) -> None:
        found.extend(f"{path} ({what}): {mark.decode()}" for mark in marks if mark in data)

    for folder, names, files in os.walk(root):
        for name in (*names, *files):
            path = Path(folder, name)
            look(path, os.fsencode(name), "name")
            if path.is_symlink():
                look(path, os.fsencode(os.readlink(path)), "link")
                continue
            with contextlib.suppress(FileNotFoundError):  # the platform has removed it just now
                for attribute in os.listxattr(path):
                    look(path, attribute.encode() + os.getxattr(path, attribute), "attribute")
                if path.is_file():
                    look(path, path.read_bytes(), "content")
    return found


def test_the_search_for_marks_finds_them(tmp_path):
    (tmp_path / "a-mark-name").mkdir()
    (tmp_path / "content").write_bytes(b"x" * 100_000 + b"mark")
    (tmp_path / "link").symlink_to("/to/mark")
    os.setxattr(tmp_path / "content", "user.mark", b"1")
    assert len(holding(tmp_path, [b"mark"])) == 4
    with Watch([b"a-mark-of-a-process"]) as watch:
        line = ["sh", "-c", "read nothing; : a-mark-of-a-process"]
        with subprocess.Popen(line, stdin=subprocess.PIPE):
            until(lambda: watch.found, what="the mark")


def test_neither_secrets_nor_settings_nor_certificates_reach_a_layer_a_log_or_a_command_line(stage, tmp_path):
    mark = uuid.uuid4().hex
    names = ("secret", "index", "extra", "proxy", "bundle", "archive", "env")
    marks = [f"{name}{mark}".encode() for name in names]
    secret, index_password, extra, proxy, bundle, archive, _ = (text.decode() for text in marks)
    pem = tmp_path / "company.pem"
    pem.write_text(f"# {bundle}\n" + Path("/etc/ssl/certs/ca-certificates.crt").read_text())
    (tmp_path / "copied.txt").write_text("local file")
    before = set(os.listdir(stage.home / "layers"))
    hidden = windlass.Secret.from_dict({"TOKEN": secret})
    with index.serving(index_password) as company:
        own = {
            "PIP_INDEX_URL": company.url(),
            "PIP_EXTRA_INDEX_URL": f"https://me:{extra}@127.0.0.1:9/simple",
            "http_proxy": f"http://me:{proxy}@127.0.0.1:{company.port}",
            "no_proxy": "127.0.0.1",
            "SSL_CERT_FILE": str(pem),
            "WINDLASS_APT_MIRROR": f"http://me:{archive}@deb.debian.org/debian",
        }
        image = (
            fresh(SLIM())
            .run_commands('test -n "$TOKEN" && apt-get update -q && pip config list; env > /dev/null', secrets=[hidden])
            .apt_install("tree", secrets=[hidden])
        )
        later = (
            image.pip_install(index.PACKAGE, secrets=[hidden])
            .pip_install(index.PACKAGE, extra_options="--force-reinstall --prefer-binary", secrets=[hidden])
            .uv_pip_install(index.PACKAGE, extra_options="--reinstall", secrets=[hidden])
            .add_local_file(tmp_path / "copied.txt", "/srv/copied", copy=True)
            .run_commands("pip download --no-deps -d /tmp/x " + index.PACKAGE, secrets=[hidden])
        )
        with Watch(marks) as watch:
            with settings(stage, **own):
                build(image)
            del own["PIP_EXTRA_INDEX_URL"]
            with settings(stage, **own):
                build(later)
    assert company.index and company.proxied
    made = set(os.listdir(stage.home / "layers")) - before
    assert len(made) == 8, made
    assert watch.found == set()
    for layer in made:
        assert holding(stage.home / "layers" / layer, marks) == []
    for folder in ("db", "log", "blobs", "mounts", "lib", "containers", "steps"):
        assert holding(stage.home / folder, marks) == [], folder


# -- doctor ------------------------------------------------------------------------------------------------


def test_doctor_shows_what_builds_see_and_what_is_wrong_with_it(stage):
    with settings(stage, PIP_INDEX_URL="http://me:hidden-word@127.0.0.1:9/simple", SSL_CERT_FILE="/gone.pem"):
        ran = stage.cli("doctor", "--json", HTTPS_PROXY="http://only.in.this.shell:3128")
        said = stage.cli("doctor").text
    findings = {finding["name"]: finding for finding in json.loads(ran.out)["findings"]}
    assert findings["pip index-url"]["state"] == "limited" and "127.0.0.1:9" in findings["pip index-url"]["remedy"]
    assert "/gone.pem does not exist" in findings["certificates"]["detail"] or "/gone.pem" in said
    assert "HTTPS_PROXY" in findings["build environment"]["detail"]
    assert str(stage.home / "build.env") in findings["pip index-url"]["detail"]
    assert "hidden-word" not in ran.text + said and json.loads(ran.out)["able"]

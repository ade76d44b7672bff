"""What a build step must know of this machine to reach package indexes: certificates, proxies, mirrors, timeouts.

Read from where the machine's own tools read it (``pip.conf``, ``PIP_*``, ``UV_*``, ``SSL_CERT_FILE``, proxies, apt).
Handed to a step as environment and as read-only mounts below a private path, so that nothing of it reaches a layer.
What points to local folders is mounted where they exist and left out where they do not.
"""
from __future__ import annotations

import configparser
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from windlass.worker import spec
from windlass.worker.images import configured

PLACE = "/__windlass/build"
"""Where a step finds what this module prepares."""

UV = f"{PLACE}/uv"
BYTECODE = f"{PLACE}/bytecode.py"

_TOLD_BUNDLE = (*configured.BUNDLES, "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS")
_SYSTEM_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
_PIP_SINGLE = ("index_url", "proxy", "default_timeout", "retries", "no_index", "keyring_provider")
_PIP_LISTS = ("extra_index_url", "find_links", "trusted_host")
_UV = (
    "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_INSECURE_HOST",
    "UV_HTTP_TIMEOUT", "UV_INDEX_STRATEGY", "UV_NATIVE_TLS", "UV_KEYRING_PROVIDER",
)  # fmt: skip
_UV_PLACES = ("UV_FIND_LINKS", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL")
_APT = ("acquire::check-valid-until", "acquire::check-date", "acquire::http::", "acquire::https::")


class Settings(NamedTuple):
    """For one step. ``apt``: options as lines of an apt configuration, with paths as seen inside."""

    env: dict[str, str]
    binds: list[spec.Bind]
    apt: list[str]
    bundle: Path | None
    """The certificates as a file of this machine."""


class _Locals:
    """Local folders that settings point to, each given a place inside."""

    def __init__(self) -> None:
        self.binds: list[spec.Bind] = []

    def inside(self, value: str) -> str | None:
        """``value`` as it must read inside; None where it points to something that is not here."""
        path = local_path(value)
        if path is None:
            return value
        if not path.exists():
            return None
        target = f"/__windlass/local/{len(self.binds)}"
        if path.name == "simple" and path.is_dir():
            # The pages of such an index link to files beside it.
            self.binds.append(spec.Bind(path.parent, target))
            target += "/simple"
        else:
            target += f"/{path.name}" if path.is_file() else ""
            self.binds.append(spec.Bind(path, target))
        return f"file://{target}" if "://" in value else target


def local_path(value: str) -> Path | None:
    """The path that a value of a setting means, or None where it is no path."""
    if value.startswith("file:"):
        return Path(unquote(urlsplit(value).path))
    if value.startswith(("/", "./", "../", "~/")):
        return Path(value).expanduser()
    return None


def read(
    folder: Path, environ: Mapping[str, str], *, pip: Mapping[str, str], apt: Iterable[str], passwords: str = ""
) -> Settings:
    """The settings of this machine, with files that steps need put into ``folder``.

    Args:
        folder: a folder of the worker; mounted at ``PLACE``.
        environ: the environment that counts (``configured.environ``).
        pip: what pip's configuration files say (``pip_config``).
        apt: lines of the machine's apt configuration (``apt_config``).
        passwords: of package archives (``archives.passwords``).
    """
    env: dict[str, str] = {}
    places = _Locals()
    chosen = bundle(environ, pip)
    if chosen is not None:
        _put(folder / "ca.pem", chosen.read_bytes())
        env.update(dict.fromkeys(_TOLD_BUNDLE, f"{PLACE}/ca.pem"))
    for name in configured.PROXIES:
        for spelled in (name, name.upper()):
            if environ.get(spelled):
                env[spelled] = environ[spelled]
    env.update(_pip_environment(environ, pip, places))
    env.update(_uv_environment(environ, env, places))
    lines = _apt_lines(apt, chosen is not None)
    _put(folder / "apt-auth.conf", passwords.encode())
    if passwords:
        lines.append(f'Dir::Etc::netrc "{PLACE}/apt-auth.conf";')
    _put(folder / "apt.conf", "".join(f"{line}\n" for line in lines).encode())
    env["APT_CONFIG"] = f"{PLACE}/apt.conf"
    return Settings(env, [spec.Bind(folder, PLACE), *places.binds], lines, chosen)


def pip_config(environ: Mapping[str, str]) -> dict[str, str]:
    """Options from pip's configuration files, with underscores in their names; later files win."""
    home = Path(environ.get("HOME") or "/")
    files = [Path("/etc/pip.conf"), home / ".pip/pip.conf"]
    files.append(Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip/pip.conf")
    files.append(Path(sys.prefix) / "pip.conf")
    if chosen := environ.get("PIP_CONFIG_FILE"):
        files = [] if chosen == os.devnull else [*files, Path(chosen)]
    found: dict[str, str] = {}
    for section in ("global", "install"):
        for file in files:
            parser = configparser.RawConfigParser()
            try:
                parser.read(file, encoding="utf-8")
            except (configparser.Error, UnicodeDecodeError, PermissionError):
                continue
            if parser.has_section(section):
                found.update({name.replace("-", "_"): " ".join(value.split()) for name, value in parser.items(section)})
    return found


def apt_config(folder: Path = Path("/etc/apt")) -> tuple[str, ...]:
    """The machine's apt configuration, one option a line; empty where there is no apt.

    ``folder``: where apt's configuration lies, to see that it has not changed since the last time.
    """
    files = [folder / "apt.conf", *sorted((folder / "apt.conf.d").glob("*"))]
    return _apt_dump(tuple((str(file), file.stat().st_mtime_ns) for file in files if file.exists()))


@functools.lru_cache(maxsize=1)
def _apt_dump(state: tuple[tuple[str, int], ...]) -> tuple[str, ...]:
    """Asking apt takes 20 ms, a fifth of what a small step takes: once for each ``state`` of its files."""
    if shutil.which("apt-config") is None:
        return ()
    done = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, timeout=30, check=False)
    return tuple(done.stdout.splitlines())


def uv_binary() -> Path | None:
    """The uv that was installed with Windlass, or the machine's."""
    beside = Path(sys.executable).with_name("uv")
    if beside.exists():
        return beside
    found = shutil.which("uv")
    return Path(found) if found else None


def stage_uv(folder: Path) -> None:
    """Put uv into ``folder``, where steps find it as ``UV``. Without one, pip does the work."""
    source, target = uv_binary(), folder / "uv"
    if source is None or (target.exists() and target.stat().st_mtime_ns == source.stat().st_mtime_ns):
        return
    draft = target.with_name(f".uv-{os.getpid()}")
    shutil.copy2(source, draft)
    draft.chmod(0o755)
    draft.rename(target)


def stage_programs(folder: Path) -> None:
    """Put into ``folder`` what steps run of ours."""
    _put(folder / "bytecode.py", Path(__file__).with_name("bytecode.py").read_bytes())
    stage_uv(folder)


def bundle(environ: Mapping[str, str], pip: Mapping[str, str]) -> Path | None:
    """The file of certificates that counts: the first that is named and there, else the system's."""
    named = [environ.get(name) for name in configured.BUNDLES] + [pip.get("cert"), *_SYSTEM_BUNDLES]
    return next((Path(name) for name in named if name and Path(name).is_file() and os.access(name, os.R_OK)), None)


def _pip_environment(environ: Mapping[str, str], pip: Mapping[str, str], places: _Locals) -> dict[str, str]:
    pip = {"default_timeout": pip["timeout"], **pip} if "timeout" in pip else pip
    said = {name: environ.get(f"PIP_{name.upper()}", pip.get(name, "")) for name in (*_PIP_SINGLE, *_PIP_LISTS)}
    env = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"}
    for name, value in said.items():
        if kept := " ".join(_inside(value.split(), places)):
            env[f"PIP_{name.upper()}"] = kept
    return env


def _uv_environment(environ: Mapping[str, str], env: Mapping[str, str], places: _Locals) -> dict[str, str]:
    """What uv is told by itself, else what pip is told, in uv's words."""
    links = ",".join(env.get("PIP_FIND_LINKS", "").split())
    told = {
        "UV_DEFAULT_INDEX": env.get("PIP_INDEX_URL"), "UV_INDEX": env.get("PIP_EXTRA_INDEX_URL"),
        "UV_FIND_LINKS": links, "UV_INSECURE_HOST": env.get("PIP_TRUSTED_HOST"),
        "UV_HTTP_TIMEOUT": env.get("PIP_DEFAULT_TIMEOUT"),
    }  # fmt: skip
    if environ.get("UV_INDEX_URL"):
        del told["UV_DEFAULT_INDEX"]
    if environ.get("UV_EXTRA_INDEX_URL"):
        del told["UV_INDEX"]
    for name in (*_UV, *(name for name in environ if name.startswith("UV_INDEX_") and name not in _UV)):
        value = environ.get(name)
        if value and name in _UV_PLACES:
            separator = "," if name == "UV_FIND_LINKS" else " "
            value = separator.join(_inside(value.replace(separator, " ").split(), places))
        if value:
            told[name] = value
    if told.get("UV_INDEX") or told.get("UV_FIND_LINKS"):  # the machine's sources are meant as pip takes them: equal
        told.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")
    return {name: value for name, value in told.items() if value}


def _inside(values: Iterable[str], places: _Locals) -> list[str]:
    return [seen for value in values if (seen := places.inside(value)) is not None]


def _apt_lines(dump: Iterable[str], has_bundle: bool) -> list[str]:
    """Options that say how to reach mirrors. Paths of this machine would mean nothing inside."""
    kept = [
        line for line in dump
        if line.lower().startswith(_APT) and "::cainfo" not in line.lower() and '"/' not in line and ' "";' not in line
    ]  # fmt: skip
    return [*kept, f'Acquire::https::CAInfo "{PLACE}/ca.pem";'] if has_bundle else kept


def _put(path: Path, data: bytes) -> None:
    """Write a small file that others may be reading."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.read_bytes() == data:
        return
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    Path(draft).chmod(0o644)
    Path(draft).rename(path)

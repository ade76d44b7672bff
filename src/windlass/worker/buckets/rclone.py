"""What rclone is told of a bucket: a command line without secrets, and an environment with them. Pure.

rclone rather than s3fs: without a cache of its own it writes straight to the bucket and refuses what a bucket cannot
do, as the SDK promises; s3fs copies files to the disk, whole, and lets them be changed there. Against moto's server on
loopback, 2 cores, in seconds (rclone 1.60, s3fs 1.90): write 128 MiB 3.1 and 2.6, read it 1.1 and 2.4; write 100 files
of 4 KiB 1.6 and 7.1, read them 0.9 and 2.8.

``mount2`` rather than ``mount``, which answers EIO when a program asks for extended attributes: ``cp -p`` and
``shutil.copy2`` do, for each file. It is as fast.
"""
from __future__ import annotations

import ipaddress
import os
import re
import urllib.parse
from collections.abc import Mapping

from windlass.wire.messages import buckets
from windlass.worker import programs, spec

PROGRAM = "rclone"
_PIECE = "16M"  # of an upload; there are at most 10,000, so files end at 160 GB
_FRESH = "5s"  # what others change is seen after that
_HOSTS = {".amazonaws.com": "AWS", ".r2.cloudflarestorage.com": "Cloudflare", ".googleapis.com": "Google"}
_COMMON = (PROGRAM, "--config", "/dev/null", "--contimeout", "5s")
_OLDEST = (1, 60)  # earlier ones do not serve a mount that somebody else has made
_VERSION = re.compile(r"rclone v(\d+)\.(\d+)")
_DATE = re.compile(r"[\d/]+ [\d:]+ (?:[A-Z]+ *: )?")
_TRUST = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def kind(endpoint: str) -> str:
    """Whose service it is: "AWS", "Cloudflare", "Google" or "Other"."""
    if not endpoint:
        return "AWS"
    host = "." + (urllib.parse.urlsplit(endpoint).hostname or "")
    return next((name for end, name in _HOSTS.items() if host.endswith(end)), "Other")


def is_too_old(said: str) -> bool:
    """Whether rclone, which said this of its version, cannot serve mounts."""
    found = _VERSION.match(said)
    return found is not None and (int(found[1]), int(found[2])) < _OLDEST


def serving(plan: buckets.BucketMount, end: int) -> list[str]:
    """Serve the mount at the other end of the descriptor ``end``, and stay. Containers have other user ids than rclone;
    none of them is kept in a bucket."""
    line = [
        *_COMMON, "mount2", _place(plan), f"/dev/fd/{end}", "--allow-non-empty",  # which it would try to list
        "--uid", str(spec.OWNER), "--gid", str(spec.OWNER),
        "--dir-perms", "0777", "--file-perms", "0666", "--umask", "0", "--vfs-cache-mode", "off",
        "--use-server-modtime", "--dir-cache-time", _FRESH, "--poll-interval", "0", "--s3-chunk-size", _PIECE,
        "--log-level", "CRITICAL",  # an error of a request is the program's to see, and would fill the disk
    ]  # fmt: skip
    return [*line, "--read-only"] if plan["read_only"] else line


def listing(plan: buckets.BucketMount) -> list[str]:
    """List it: fails where the mount of a bucket that is not there, or not ours, would only look empty."""
    few = ["--retries", "1", "--low-level-retries", "3"]
    return [*_COMMON, "lsf", "--max-depth", "1", *few, "--log-level", "ERROR", _place(plan)]


def _place(plan: buckets.BucketMount) -> str:
    return f":s3:{plan['bucket']}/{plan['prefix']}".rstrip("/")


def environment(plan: buckets.BucketPlan, own: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Its whole environment. ``own``: the worker's, for the certificates that this machine trusts."""
    keys, service = plan["keys"], kind(plan["endpoint"])
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    if service == "Google" and "GOOGLE_ACCESS_KEY_ID" in keys:
        names = ("GOOGLE_ACCESS_KEY_ID", "GOOGLE_ACCESS_KEY_SECRET")
    told = {
        "PROVIDER": "Other" if service == "Google" else service, "ENDPOINT": plan["endpoint"],
        "ACCESS_KEY_ID": keys.get(names[0], ""), "SECRET_ACCESS_KEY": keys.get(names[1], ""),
        "SESSION_TOKEN": keys.get("AWS_SESSION_TOKEN", ""), "REGION": _region(service, keys),
        "REQUESTER_PAYS": _word(plan["requester_pays"]), "FORCE_PATH_STYLE": _word(_in_path(plan, service)),
        "NO_CHECK_BUCKET": "true",
    }  # fmt: skip
    return {
        "PATH": programs.PATH, "HOME": "/nonexistent", **{name: own[name] for name in _TRUST if name in own},
        **{f"RCLONE_S3_{name}": value for name, value in told.items() if value},
    }  # fmt: skip


def _region(service: str, keys: Mapping[str, str]) -> str:
    asked = keys.get("AWS_REGION") or keys.get("AWS_DEFAULT_REGION") or ""
    return asked or {"AWS": "us-east-1", "Cloudflare": "auto"}.get(service, "")


def _in_path(plan: buckets.BucketMount, service: str) -> bool:
    """Whether addresses name the bucket in their path. A number, or a name such as "minio", has no names below it."""
    if plan["path_style"] or service in ("Cloudflare", "Google"):
        return True
    host = urllib.parse.urlsplit(plan["endpoint"]).hostname or ""
    try:
        return bool(ipaddress.ip_address(host))
    except ValueError:
        return bool(host) and "." not in host


def _word(flag: bool) -> str:
    return "true" if flag else "false"


def complaint(log: str) -> str:
    """The last thing that it said, without its date, and in words that fit a bucket."""
    said = [line for line in log.splitlines() if line.strip() and not line[0].isspace()]  # others go on with a line
    text = _DATE.sub("", said[-1])[-300:] if said else ""
    return "there is no such bucket" if text.endswith("directory not found") else text

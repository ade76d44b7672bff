"""What rclone is told: the place on its command line, everything secret in its environment."""

from __future__ import annotations

import pytest

from windlass.worker.buckets import rclone


def plan(**changes):
    base = {
        "path": "/b", "bucket": "lake", "endpoint": "", "prefix": "", "secret": "st-1", "read_only": False,
        "requester_pays": False, "path_style": False,
        "keys": {"AWS_ACCESS_KEY_ID": "the-key", "AWS_SECRET_ACCESS_KEY": "the-secret"},
    }  # fmt: skip
    return {**base, **changes}


def told(**changes):
    own = {"SSL_CERT_FILE": "/ca.pem", "AWS_CA_BUNDLE": "/other.pem", "RCLONE_S3_REGION": "nowhere"}
    return rclone.environment(plan(**changes), own)


def test_no_secret_is_on_the_command_line():
    for line in (rclone.serving(plan(), 5), rclone.listing(plan())):
        assert not any("the-secret" in word or "the-key" in word for word in line)
    assert told()["RCLONE_S3_SECRET_ACCESS_KEY"] == "the-secret"


def test_of_the_workers_environment_only_the_trusted_certificates_count():
    env = told()
    assert env["SSL_CERT_FILE"] == "/ca.pem" and "AWS_CA_BUNDLE" not in env
    assert env["RCLONE_S3_REGION"] == "us-east-1"


def test_a_prefix_is_a_folder_of_the_place_and_read_only_a_word():
    line = rclone.serving(plan(prefix="a/b/", read_only=True), 5)
    assert line[line.index("mount2") + 1 :][:2] == [":s3:lake/a/b", "/dev/fd/5"] and line[-1] == "--read-only"


@pytest.mark.parametrize(
    ("endpoint", "kind", "provider"),
    [
        ("", "AWS", "AWS"),
        ("https://s3.eu-west-1.amazonaws.com", "AWS", "AWS"),
        ("https://0123.r2.cloudflarestorage.com", "Cloudflare", "Cloudflare"),
        ("https://storage.googleapis.com", "Google", "Other"),
        ("http://notamazonaws.com", "Other", "Other"),
        ("http://10.0.0.7:9000", "Other", "Other"),
    ],
)
def test_services_are_known_by_their_host(endpoint, kind, provider):
    assert rclone.kind(endpoint) == kind
    assert told(endpoint=endpoint)["RCLONE_S3_PROVIDER"] == provider


@pytest.mark.parametrize(
    ("endpoint", "asked", "in_path"),
    [
        ("", False, "false"),
        ("", True, "true"),
        ("https://s3.example.com", False, "false"),
        ("https://s3.example.com", True, "true"),
        ("http://10.0.0.7:9000", False, "true"),
        ("http://[::1]:9000", False, "true"),
        ("http://minio:9000", False, "true"),
    ],
)
def test_buckets_are_named_in_the_path_where_a_host_has_no_names_below_it(endpoint, asked, in_path):
    assert told(endpoint=endpoint, path_style=asked)["RCLONE_S3_FORCE_PATH_STYLE"] == in_path


def test_google_has_keys_of_its_own():
    keys = {"GOOGLE_ACCESS_KEY_ID": "g", "GOOGLE_ACCESS_KEY_SECRET": "s"}
    env = told(endpoint="https://storage.googleapis.com", keys=keys)
    assert (env["RCLONE_S3_ACCESS_KEY_ID"], env["RCLONE_S3_SECRET_ACCESS_KEY"]) == ("g", "s")


def test_a_bucket_without_a_secret_is_asked_without_keys():
    env = told(keys={})
    assert not any("KEY" in name or "TOKEN" in name for name in env)


def test_region_and_token_come_from_the_secret():
    env = told(keys={"AWS_REGION": "eu-north-1", "AWS_SESSION_TOKEN": "t"}, requester_pays=True)
    assert env["RCLONE_S3_REGION"] == "eu-north-1" and env["RCLONE_S3_SESSION_TOKEN"] == "t"
    assert env["RCLONE_S3_REQUESTER_PAYS"] == "true"


def test_a_complaint_is_the_last_line_without_its_date():
    log = "2026/11/25 21:00:00 NOTICE: nothing\n2026/11/25 21:00:00 Failed to lsf: AccessDenied: no\n"
    assert rclone.complaint(log) == "Failed to lsf: AccessDenied: no"
    log = "2026/11/25 21:00:00 ERROR : IO error: refused\n\tstatus code: 403\n"
    assert rclone.complaint(log) == "IO error: refused"
    assert rclone.complaint("2026/11/25 21:00:00 Failed: directory not found") == "there is no such bucket"
    assert rclone.complaint("") == ""


def test_an_rclone_that_cannot_serve_mounts_is_known_by_its_version():
    assert rclone.is_too_old("rclone v1.53.3-DEV\n- os/version: ubuntu 22.04 (64 bit)\n")
    assert not rclone.is_too_old("rclone v1.60.1-DEV\n") and not rclone.is_too_old("rclone v2.0.0\n")
    assert not rclone.is_too_old("what nobody knows is tried")

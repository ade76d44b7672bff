"""``CloudBucketMount`` as it is written down in a program, before anything runs."""

from __future__ import annotations

import pytest

import windlass
from windlass import exception, options
from windlass.client import buckets

SECRET = windlass.Secret.from_dict({"AWS_ACCESS_KEY_ID": "k"})


def test_a_prefix_ends_with_a_slash():
    with pytest.raises(ValueError, match="key_prefix"):
        windlass.CloudBucketMount("lake", key_prefix="a/b")
    assert windlass.CloudBucketMount("lake", key_prefix="a/b/").key_prefix == "a/b/"


def test_whoever_pays_has_a_secret():
    with pytest.raises(ValueError, match="secret"):
        windlass.CloudBucketMount("lake", requester_pays=True)
    windlass.CloudBucketMount("lake", requester_pays=True, secret=SECRET)


def test_buckets_stand_beside_volumes():
    volume, bucket = windlass.Volume.from_name("v"), windlass.CloudBucketMount("lake", secret=SECRET)
    mounted = options.volumes({"/v": volume, "/b/": bucket})
    assert buckets.split(mounted) == ({"/v": volume}, {"/b": bucket})
    assert buckets.needs(mounted.values()) == [volume, SECRET]


def test_one_bucket_may_be_mounted_twice():
    bucket = windlass.CloudBucketMount("lake")
    assert set(options.volumes({"/a": bucket, "/b": bucket})) == {"/a", "/b"}


@pytest.mark.parametrize(
    "asked",
    [
        {"bucket_name": "lake/folder"},
        {"bucket_name": ""},
        {"bucket_name": "--config"},
        {"bucket_name": 7},
        {"bucket_endpoint_url": "s3.example.com"},
        {"bucket_endpoint_url": "ftp://s3.example.com"},
        {"bucket_endpoint_url": "https://user:password@s3.example.com"},
        {"bucket_endpoint_url": "https://s3.example.com/ x"},
        {"bucket_endpoint_url": "https://s3.example.com:notaport"},
        {"key_prefix": "../up/"},
        {"key_prefix": "/top/"},
        {"secret": "my-secret"},
        {"oidc_auth_role_arn": "arn:aws:iam::1:role/x"},
    ],
)
def test_what_could_not_be_mounted_is_refused_where_it_is_written(asked):
    bucket = windlass.CloudBucketMount(**{"bucket_name": "lake", **asked})
    with pytest.raises((exception.InvalidError, exception.UnimplementedError)) as refused:
        options.volumes({"/b": bucket})
    assert "password" not in str(refused.value)


def test_builds_do_not_mount_buckets():
    with pytest.raises(exception.InvalidError, match="bucket"):
        windlass.Image.debian_slim().run_commands("ls /b", volumes={"/b": windlass.CloudBucketMount("lake")})

"""What names of images mean, how a secret signs in, what skopeo's words mean. No registry is asked."""

from __future__ import annotations

import asyncio
import base64
import datetime
import hashlib
import hmac
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import oci
from windlass import exception
from windlass.wire import registries
from windlass.worker import outside
from windlass.worker.images import contents, credentials, ecr, references, settings, skopeo

DIGEST = "sha256:" + "a" * 64
GENERIC = {"REGISTRY_USERNAME": "me", "REGISTRY_PASSWORD": "p:w"}
AWS = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "sec/ret+x", "AWS_REGION": "eu-west-1"}


@pytest.mark.parametrize(
    ("name", "means"),
    [
        ("python", "docker.io/library/python:latest"),
        ("python:3.12-slim", "docker.io/library/python:3.12-slim"),
        ("docker://nvidia/cuda:12.4", "docker.io/nvidia/cuda:12.4"),
        ("index.docker.io/python", "docker.io/library/python:latest"),
        ("localhost/a", "localhost/a:latest"),
        ("localhost:5000/a/b_c/d--e:V1", "localhost:5000/a/b_c/d--e:V1"),
        ("registry.example.com/app@" + DIGEST, "registry.example.com/app@" + DIGEST),
        ("app:1@" + DIGEST, "docker.io/library/app@" + DIGEST),
        ("[::1]:5000/app", "[::1]:5000/app:latest"),
    ],
)
def test_a_name_means_what_docker_takes_it_for(name: str, means: str) -> None:
    assert str(references.parse(name)) == means


@pytest.mark.parametrize(
    "name",
    ["", "Python", "a b", "-x", "--creds=a:b", "a//b", "a:", "a:-x", "a@sha256:12", "a@" + DIGEST[:-1] + "g", "/a",
     "host:port/a", "a/../b", "http://host/a", "a\nb", "a" * 300, "@" + DIGEST, "dir:/etc"],
)  # fmt: skip
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(exception.InvalidError, match="does not name an image"):
        references.parse(name)


def test_only_registries_of_this_machine_and_named_ones_are_trusted_without_a_certificate() -> None:
    network = references.network({"WINDLASS_INSECURE_REGISTRIES": "lab:5000, other"})
    trusted = ["localhost:1/a", "localhost/a", "127.1.2.3:5/a", "[::1]:5/a", "lab:5000/a"]
    others = ["lab/a", "other.example/a", "localhost.x/a", "10.0.0.1:5/a", "a"]
    assert [name for name in trusted + others if network.trusts(references.parse(name))] == trusted


def test_mirrors_are_asked_first_and_in_order() -> None:
    network = references.network({"WINDLASS_REGISTRY_MIRRORS": "docker.io=lab:5000, docker.io=hub.example/proxy/,x=y"})
    assert list(map(str, network.places(references.parse("python:3")))) == [
        "lab:5000/library/python:3", "hub.example/proxy/library/python:3", "docker.io/library/python:3",
    ]  # fmt: skip
    assert list(map(str, network.places(references.parse("z/python:3@" + DIGEST)))) == [
        "lab:5000/z/python@" + DIGEST, "hub.example/proxy/z/python@" + DIGEST, "docker.io/z/python@" + DIGEST,
    ]  # fmt: skip
    for broken in ("docker.io", "=x", "a=", "a=b c", "a=--x"):
        with pytest.raises(exception.InvalidError, match="WINDLASS_REGISTRY_MIRRORS"):
            references.network({"WINDLASS_REGISTRY_MIRRORS": broken})


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (GENERIC, registries.GENERIC), (AWS, registries.AWS), ({**AWS, "AWS_SESSION_TOKEN": ""}, registries.AWS),
        ({**AWS, "AWS_ROLE_ARN": ""}, registries.AWS), (["AWS_ROLE_ARN", "AWS_REGION"], registries.AWS_ROLE),
        (["SERVICE_ACCOUNT_JSON", "OTHER"], registries.GCP),
    ],
)  # fmt: skip
def test_a_secret_signs_in_as_its_names_tell(names: Any, kind: str) -> None:
    assert registries.kind(names) == kind


@pytest.mark.parametrize(
    ("names", "match"),
    [([], "no names at all"), (["TOKEN"], "it has TOKEN"), (["AWS_ACCESS_KEY_ID", "AWS_REGION"], "opens no kind"),
     ({**AWS, **GENERIC}, r"more than one kind of registry \(aws, generic\)"),
     ({**GENERIC, "SERVICE_ACCOUNT_JSON": ""}, "gcp")],
)  # fmt: skip
def test_a_secret_that_fits_no_kind_or_several_is_refused(names: Any, match: str) -> None:
    with pytest.raises(exception.InvalidError, match=match) as caught:
        registries.kind(names)
    assert "REGISTRY_USERNAME+REGISTRY_PASSWORD" in caught.value.hint


def said(reason: str, *, signed_in: bool = False, name: str = "localhost:5000/team/app:1") -> exception.ImageBuildError:
    return skopeo.failure(references.parse(name), f'Copying blob sha256:1\n{reason}\n', signed_in=signed_in)


@pytest.mark.parametrize(
    ("reason", "match"),
    [
        ("reading manifest 1 in localhost:5000/team/app: manifest unknown: manifest unknown", "does not exist"),
        ("reading manifest 1 in x: unauthorized: authentication required", "asks for credentials"),
        ("reading manifest 1 in x: denied: requested access to the resource is denied", "asks for credentials"),
        ('pinging container registry x: Get "x": dial tcp 127.0.0.1:1: connect: connection refused', "cannot be"),
        ("pinging container registry x: Get x: dial tcp: lookup x on 1.1.1.1:53: no such host", "cannot be reached"),
        ("no image found in manifest list for architecture amd64, variant \"\", OS linux", "no variant for linux/"),
        ("writing blob: storing blob to file: Digest did not match, expected sha256:1, got sha256:2", "is broken"),
        ("http: server gave HTTP response to HTTPS client", "plain HTTP"),
        ("x509: certificate signed by unknown authority", "certificate"),
        ("writing blob: write /x: no space left on device", "does not fit"),
        ("writing blob: write /x: file too large", "does not fit"),
        ("toomanyrequests: You have reached your pull rate limit", "too many pulls"),
        ("something new", "could not be pulled: something new"),
    ],
)
def test_skopeos_last_words_become_a_clear_error(reason: str, match: str) -> None:
    assert match in str(said(reason))


def test_only_a_registry_that_does_not_answer_counts_as_unreachable() -> None:
    assert isinstance(said("dial tcp 1.1.1.1:443: i/o timeout"), skopeo.UnreachableError)
    assert not isinstance(said("manifest unknown"), skopeo.UnreachableError)


def test_a_refusal_says_whether_credentials_were_given() -> None:
    assert "do not suffice" in str(said("unauthorized: authentication required", signed_in=True))


def test_the_name_of_an_image_is_no_reason() -> None:
    name = "localhost:5000/denied/x509:404"
    assert "could not be pulled" in str(said("reading manifest 404 in localhost:5000/denied/x509: odd", name=name))


def test_lines_of_a_log_are_shown_without_their_frame() -> None:
    line = 'time="2026-11-25T15:55:50Z" level=fatal msg="Error parsing image name \\"docker://x\\": why"\n'
    assert skopeo.said(line) == 'Error parsing image name "docker://x": why\n'
    assert skopeo.said("Copying blob sha256:1\n") == "Copying blob sha256:1\n"


def access(tmp_path: Path, **environ: str) -> skopeo.Access:
    host = settings.Settings({"https_proxy": "http://proxy", "PIP_INDEX_URL": "x"}, [], [], Path("/ca.pem"))
    return skopeo.Access(outside.Outside(), {"HOME": "/home/me", "TOKEN": "t", **environ}, host, tmp_path)


def test_skopeo_sees_the_machines_settings_and_nothing_else(tmp_path: Path) -> None:
    assert skopeo.environment(access(tmp_path)) == {
        "HOME": "/home/me", "LC_ALL": "C.UTF-8", "https_proxy": "http://proxy", "SSL_CERT_FILE": "/ca.pem"
    }  # fmt: skip


def authfile(secrets: dict[str, str], tmp_path: Path, **environ: str) -> Any:
    reference = references.parse("registry.example.com:5000/team/app")
    return json.loads(asyncio.run(credentials.authfile(reference, secrets, access(tmp_path, **environ))))


def test_credentials_are_for_the_images_own_registry_alone(tmp_path: Path) -> None:
    for secrets, pair in ((GENERIC, b"me:p:w"), ({"SERVICE_ACCOUNT_JSON": '{"a": 1}'}, b'_json_key:{"a": 1}')):
        auth = base64.b64encode(pair).decode()
        assert authfile(secrets, tmp_path) == {"auths": {"registry.example.com:5000": {"auth": auth}}}


def test_a_role_of_aws_needs_keys(tmp_path: Path) -> None:
    with pytest.raises(exception.ImageBuildError, match="AWS_ROLE_ARN cannot be used") as caught:
        authfile({"AWS_ROLE_ARN": "arn", "AWS_REGION": "eu-west-1"}, tmp_path)
    assert "AWS_ACCESS_KEY_ID" in caught.value.hint


def test_a_request_to_aws_is_signed_as_its_own_sdk_signs_it() -> None:
    now = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
    url = ecr.endpoint("eu-west-1")
    for token, signature in (
        ("", "9a0d63ac2538205d4e33606a7ab5874c820a0e847044ba48d17835d5f2974033"),
        ("tok/en==", "f0bd76a6fdd377f4118f70952e7cfeac1d33b38c60e486d20e4fd6d505b69313"),
    ):
        headers = ecr.headers(ecr.Keys("AKID", "sec/ret+x", token, "eu-west-1"), url, now)
        assert headers["authorization"].endswith(f"Signature={signature}")
    assert ecr.endpoint("cn-north-1") == "https://api.ecr.cn-north-1.amazonaws.com.cn/"


class Aws(http.server.BaseHTTPRequestHandler):
    """Plays the service: checks the signature by itself, from what arrived."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        algorithm, _, rest = self.headers["authorization"].partition(" ")
        fields = dict(item.strip().split("=", 1) for item in rest.split(","))
        _, day, region, service, end = fields["Credential"].split("/")
        names = fields["SignedHeaders"].split(";")
        canonical = "\n".join([
            "POST", "/", "", *(f"{name}:{self.headers[name].strip()}" for name in names), "", ";".join(names),
            hashlib.sha256(body).hexdigest(),
        ])  # fmt: skip
        text = "\n".join([
            algorithm, self.headers["x-amz-date"], f"{day}/{region}/{service}/{end}",
            hashlib.sha256(canonical.encode()).hexdigest(),
        ])  # fmt: skip
        key = b"AWS4" + AWS["AWS_SECRET_ACCESS_KEY"].encode()
        for part in (day, region, service, end, text):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        named = {"host", "x-amz-date", "x-amz-target"} | ({"x-amz-security-token"} & set(self.headers))
        right = key.hex() == fields["Signature"] and named <= set(names) and service == "ecr"
        token = base64.b64encode(b"AWS:" + self.headers.get("x-amz-security-token", "plain").encode()).decode()
        answer = {"authorizationData": [{"authorizationToken": token}]} if right else {
            "__type": "InvalidSignatureException", "message": "The request signature does not match",
        }  # fmt: skip
        data = json.dumps(answer).encode()
        self.send_response(200 if right else 400)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def aws() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Aws) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_keys_of_aws_become_a_password(aws: str, tmp_path: Path) -> None:
    for more, password in (({}, "plain"), ({"AWS_SESSION_TOKEN": "temporary"}, "temporary")):
        found = authfile({**AWS, **more}, tmp_path, AWS_ENDPOINT_URL_ECR=aws)
        auth = found["auths"]["registry.example.com:5000"]["auth"]
        assert base64.b64decode(auth).decode() == f"AWS:{password}"


def test_wrong_keys_of_aws_are_said_to_be_wrong_and_are_not_shown(aws: str, tmp_path: Path) -> None:
    with pytest.raises(exception.ImageBuildError, match="AWS refused the keys: InvalidSignature") as caught:
        authfile({**AWS, "AWS_SECRET_ACCESS_KEY": "quite-wrong"}, tmp_path, AWS_ENDPOINT_URL_ECR=aws)
    assert "quite-wrong" not in str(caught.value)


def test_an_aws_that_does_not_answer_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(exception.ImageBuildError, match=r"no token from http://127.0.0.1:1/.*refused"):
        authfile(AWS, tmp_path, AWS_ENDPOINT_URL_ECR="http://127.0.0.1:1/")


# -- what was fetched ---------------------------------------------------------------------------------------


def fetched(folder: Path, **given: Any) -> Path:
    """As ``skopeo copy … dir:`` lays it out."""
    layout = folder / "layout"
    digest = oci.write(layout, [oci.archive(oci.entry("a", b"a"))], **given)
    blobs = layout / "blobs/sha256"
    (blobs / "manifest.json").write_bytes((blobs / digest.removeprefix("sha256:")).read_bytes())
    return blobs


def test_settings_of_an_image_become_its_record() -> None:
    config = {
        "Env": ["A=1", "B=x=y", "broken"], "WorkingDir": "srv", "Entrypoint": ["/e"], "Cmd": ["c"], "User": "7:8",
        "Shell": ["/bin/bash", "-c"], "Labels": {"x": "y"},
    }  # fmt: skip
    assert contents.described(config, layers=["sha-1"], size=5) == {
        "layers": ["sha-1"], "env": {"A": "1", "B": "x=y"}, "workdir": "/srv", "entrypoint": ["/e"], "python": "",
        "size": 5, "cmd": ["c"], "shell": ["/bin/bash", "-c"], "user": "7:8",
    }  # fmt: skip
    odd = contents.described({"Env": "A=1", "Cmd": [1], "WorkingDir": 3, "User": None}, layers=[], size=0)
    assert (odd["env"], odd["workdir"]) == ({}, "") and "cmd" not in odd and "user" not in odd


def test_an_image_for_another_machine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(exception.ImageBuildError, match="has no variant for linux/amd64: it is for linux/arm64"):
        contents.read(fetched(tmp_path, architecture="arm64"), "amd64", "app")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"schemaVersion": 1}, "before 2017"),
        ({"layers": []}, "different layers"), ({"layers": "x"}, "different layers"),
        ({"config": {"digest": "sha256:../../x"}}, "no digest"), ({"config": None}, "no digest"),
        ({"config": {"digest": DIGEST}}, "cannot be read"),
        ({"layers": [{"digest": "../../../etc/passwd"}]}, "no digest"),
    ],
)  # fmt: skip
def test_a_manifest_that_makes_no_sense_is_refused(tmp_path: Path, change: dict[str, Any], match: str) -> None:
    folder = fetched(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, **change}))
    with pytest.raises(exception.ImageBuildError, match=match):
        contents.read(folder, "amd64", "app")


def test_a_digest_that_leads_out_of_the_layers_is_refused(tmp_path: Path) -> None:
    folder = fetched(tmp_path, diff_ids=["sha256:../../../../etc"])
    with pytest.raises(exception.ImageBuildError, match="no digest"):
        contents.read(folder, "amd64", "app")

"""What `windlass doctor` says of the settings for builds."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from windlass.worker.images import report, settings, sources


@pytest.fixture(autouse=True)
def _bare_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "pip_config", lambda environ: {})
    monkeypatch.setattr(settings, "apt_config", lambda: ('Acquire::http::Proxy "http://me:pw@p.example:1";',))
    monkeypatch.setattr(sources, "machine_sources", lambda: ["deb http://own.example/debian bookworm main"])


def seen(
    tmp_path: Path, environ: dict[str, str], own: str = "", shell: dict[str, str] | None = None
) -> dict[str, report.Item]:
    (tmp_path / "build.env").write_text(own)
    sight = report.Sight(environ, "the running worker", tmp_path / "build.env", shell or {})
    return {item.name: item for item in report.items(sight)}


def test_each_setting_is_shown_with_where_it_came_from_and_no_password(tmp_path: Path) -> None:
    environ = {"HTTPS_PROXY": "http://me:hidden@proxy.example:3128", "no_proxy": ".example", "UV_INDEX": "https://u.example"}
    own = "PIP_INDEX_URL=https://me:hidden@pypi.example/simple\nWINDLASS_REGISTRY_MIRRORS=docker.io=m.example\n"
    found = seen(tmp_path, environ, own)
    assert found["https_proxy"].detail == "http://***@proxy.example:3128 (from HTTPS_PROXY in the running worker)"
    assert found["pip index-url"].detail == f"https://***@pypi.example/simple (from {tmp_path}/build.env)"
    assert "https://u.example" in found["uv UV_INDEX"].detail and ".example" in found["no_proxy"].detail
    assert "own.example" in found["apt mirror of debian"].detail and "p.example:1" in found["apt proxy"].detail
    assert "m.example" in found["registry mirrors"].detail
    assert "hidden" not in str(found) and "me:pw" not in str(found)
    assert not any(item.problem for item in found.values())


def test_certificates_are_counted_and_a_file_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    pem = tmp_path / "company.pem"
    pem.write_text("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n" * 3)
    there = seen(tmp_path, {"SSL_CERT_FILE": str(pem)})["certificates"]
    assert there.detail.startswith(f"3 in {pem} (from SSL_CERT_FILE")
    (tmp_path / "build.env").write_text("SSL_CERT_FILE=/gone.pem")
    items = report.items(report.Sight({}, "this shell", tmp_path / "build.env"))
    gone = next(item for item in items if item.name == "certificates")
    assert "/gone.pem does not exist" in gone.detail and gone.problem
    pem.write_text("nothing")
    assert seen(tmp_path, {"PIP_CERT": str(pem)})["certificates"].problem


def test_an_address_on_loopback_is_a_problem_only_when_nothing_listens_there(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}/simple"
        assert not seen(tmp_path, {"PIP_INDEX_URL": address})["pip index-url"].problem
    assert "Nothing listens" in seen(tmp_path, {"PIP_INDEX_URL": address})["pip index-url"].problem


def test_what_the_shell_says_and_the_worker_does_not_is_a_problem(tmp_path: Path) -> None:
    shell = {"HTTPS_PROXY": "http://new", "PATH": "/x", "SSL_CERT_FILE": "/own-wins"}
    found = seen(tmp_path, {"PATH": "/y"}, "SSL_CERT_FILE=/gone", shell)["build environment"]
    assert found.detail.startswith("HTTPS_PROXY: not as in this shell") and "restart" in found.problem


def test_malformed_settings_and_slips_of_the_pen_are_said(tmp_path: Path) -> None:
    assert "line 1" in seen(tmp_path, {}, "no setting")["build settings"].detail
    assert "HTTPS_PROXXY" in seen(tmp_path, {}, "HTTPS_PROXXY=x")["build settings"].problem

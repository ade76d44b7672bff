"""Settings of the machine as a build step sees them."""

from __future__ import annotations

from pathlib import Path

from windlass.worker.images import settings


def read(
    folder: Path, environ: dict[str, str], pip: dict[str, str] | None = None, apt: tuple[str, ...] = ()
) -> settings.Settings:
    return settings.read(folder, environ, pip=pip or {}, apt=apt)


def test_certificates_are_copied_to_a_private_place_and_named_to_every_tool(tmp_path: Path) -> None:
    bundle = tmp_path / "company.pem"
    bundle.write_text("CERT")
    found = read(tmp_path / "x", {"SSL_CERT_FILE": str(bundle)}, apt=('Acquire::https::CAInfo "/etc/x";',))
    assert (tmp_path / "x/ca.pem").read_text() == "CERT"
    assert {found.env[name] for name in ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE")} == {
        "/__windlass/build/ca.pem"
    }
    assert found.apt == ['Acquire::https::CAInfo "/__windlass/build/ca.pem";']


def test_pip_options_of_files_and_environment_also_reach_uv(tmp_path: Path) -> None:
    pip = {
        "index_url": "https://mirror.example/simple",
        "timeout": "30",
        "trusted_host": "mirror.example other.example",
    }
    env = read(tmp_path, {"PIP_EXTRA_INDEX_URL": "https://more.example/simple"}, pip).env
    assert env["PIP_INDEX_URL"] == env["UV_DEFAULT_INDEX"] == "https://mirror.example/simple"
    assert env["PIP_EXTRA_INDEX_URL"] == env["UV_INDEX"] == "https://more.example/simple"
    assert env["PIP_DEFAULT_TIMEOUT"] == env["UV_HTTP_TIMEOUT"] == "30"
    assert env["UV_INSECURE_HOST"] == "mirror.example other.example"


def test_what_uv_is_told_itself_wins(tmp_path: Path) -> None:
    env = read(tmp_path, {"UV_DEFAULT_INDEX": "https://uv.example", "PIP_INDEX_URL": "https://pip.example"}).env
    assert (env["UV_DEFAULT_INDEX"], env["PIP_INDEX_URL"]) == ("https://uv.example", "https://pip.example")


def test_local_folders_are_mounted_where_they_exist_and_left_out_where_not(tmp_path: Path) -> None:
    wheels, index = tmp_path / "wheels", tmp_path / "pypi" / "simple"
    wheels.mkdir()
    index.mkdir(parents=True)
    found = read(
        tmp_path / "x",
        {
            "PIP_FIND_LINKS": f"{wheels} {tmp_path}/gone",
            "PIP_EXTRA_INDEX_URL": f"file://{index} https://more.example",
        },
    )
    targets = {bind.source: bind.target for bind in found.binds}
    assert found.env["PIP_FIND_LINKS"] == found.env["UV_FIND_LINKS"] == targets[wheels]
    assert found.env["PIP_EXTRA_INDEX_URL"] == f"file://{targets[index.parent]}/simple https://more.example"


def test_proxies_pass_in_both_spellings_and_nothing_else_of_the_environment(tmp_path: Path) -> None:
    env = read(
        tmp_path, {"https_proxy": "http://p:1", "NO_PROXY": "localhost", "TOKEN": "secret", "PIP_TARGET": "/x"}
    ).env
    assert env["https_proxy"] == "http://p:1" and env["NO_PROXY"] == "localhost"
    assert "secret" not in env.values() and "PIP_TARGET" not in env


def test_apt_keeps_only_what_says_how_to_reach_mirrors(tmp_path: Path) -> None:
    dump = (
        'Acquire::http::Proxy "http://p:1";',
        'Acquire::Check-Date "false";',
        'DPkg::Post-Invoke "x";',
        'Acquire::http::Proxy-Auto-Detect "/usr/bin/find-proxy";',
        'Acquire::https "";',
    )
    lines = read(tmp_path, {}, apt=dump).apt
    assert lines[:2] == ['Acquire::http::Proxy "http://p:1";', 'Acquire::Check-Date "false";']
    assert not any("find-proxy" in line or "Post-Invoke" in line for line in lines)


def test_configuration_files_of_pip_are_read_in_their_order(tmp_path: Path) -> None:
    conf = tmp_path / ".config/pip/pip.conf"
    conf.parent.mkdir(parents=True)
    conf.write_text("[global]\nindex-url = https://a.example\nfind-links =\n  /one\n  /two\n[install]\nretries = 9\n")
    chosen = tmp_path / "chosen.conf"
    chosen.write_text("[global]\nindex-url = https://b.example\n")
    found = settings.pip_config({"HOME": str(tmp_path), "PIP_CONFIG_FILE": str(chosen)})
    assert found["index_url"] == "https://b.example"
    assert found["find_links"] == "/one /two"
    assert found["retries"] == "9"
    assert settings.pip_config({"HOME": str(tmp_path), "PIP_CONFIG_FILE": "/dev/null"}) == {}

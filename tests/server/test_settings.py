"""The server's knobs, as the environment sets them."""

from __future__ import annotations

import pytest

from windlass import exception
from windlass.server import settings


def test_numbers_of_bytes_may_be_written_as_people_do(tmp_path) -> None:
    found = settings.from_environment(
        tmp_path, {"WINDLASS_SERVER_STORAGE_QUOTA": "200MB", "WINDLASS_SERVER_BLOB_CACHE": "1GiB",
                   "WINDLASS_SERVER_WEB_PORT": "-1", "WINDLASS_SERVER_TICK": "0.5"},
    )  # fmt: skip
    assert (found.storage_quota, found.blob_cache, found.web_port, found.tick) == (200_000_000, 1 << 30, -1, 0.5)


def test_variables_change_the_knobs_that_they_name(tmp_path):
    found = settings.from_environment(
        tmp_path, {"WINDLASS_SERVER_KEEP_AUDIT": "1e3", "WINDLASS_SERVER_WEB_PORT": "-1", "WINDLASS_SERVER_TLS": "none"}
    )
    assert (found.keep_audit, found.web_port, found.tls) == (1000.0, -1, "none")


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("KEEP_AUDIT", "400d"), ("KEEP_AUDIT", ""), ("KEEP_AUDIT", "nan"), ("PRINCIPAL_RATE", "-1"),
        ("VOLUME_QUOTA", "-5"), ("VOLUME_QUOTA", "much"), ("MAX_CONTAINERS", "1.5"),
        ("WEB_PORT", "99999"), ("WEB_PORT", "-2"), ("WEB_PORT", "http"),
    ],
)  # fmt: skip
def test_a_number_that_is_none_is_an_error_that_names_the_variable(tmp_path, name, bad):
    with pytest.raises(exception.InvalidError, match=f"WINDLASS_SERVER_{name} must be .*, not '{bad}'"):
        settings.from_environment(tmp_path, {f"WINDLASS_SERVER_{name}": bad})

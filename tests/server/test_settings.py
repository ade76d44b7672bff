"""Settings of the server: what somebody wrote into the environment, or an error that names it."""

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


@pytest.mark.parametrize(
    ("name", "text", "meant"),
    [
        ("STORAGE_QUOTA", "much", "20GB"), ("VOLUME_QUOTA", "-5", "20GB"), ("VOLUME_QUOTA", "", "20GB"),
        ("MAX_CONTAINERS", "1.5", "whole number"), ("TICK", "often", "a number"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_by_the_name_of_its_setting(tmp_path, name, text, meant) -> None:
    with pytest.raises(exception.InvalidError, match=f"WINDLASS_SERVER_{name} is .*{meant}.*{text}") as caught:
        settings.from_environment(tmp_path, {f"WINDLASS_SERVER_{name}": text})
    assert "server.env" in caught.value.hint

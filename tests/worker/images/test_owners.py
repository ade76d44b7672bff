"""Users by the names that an image gives them."""
from __future__ import annotations

import pytest

from windlass import exception
from windlass.worker.images import owners


class Image:
    """Plays an image."""

    def __init__(self, passwd: str = "", group: str = "") -> None:
        self._files = {"etc/passwd": passwd, "etc/group": group}

    def text(self, path: str) -> str:
        return self._files[path]


FULL = Image(
    "root:x:0:0:root:/root:/bin/bash\nbroken\napp:x:1000:1001::/home/app:/bin/sh\n12:x:7:7::/:\nbig:x:70000:1::/:\n",
    "root:x:0:\nweb:x:50:app,other\napp:x:1001:\nnever:x\n",
)


def test_a_name_has_an_id_groups_and_a_home() -> None:
    assert owners.user("app", FULL) == owners.User(1000, 1001, [50], "/home/app")
    assert owners.user("root", FULL) == owners.User(0, 0, [], "/root")


def test_a_group_that_is_named_is_the_only_one() -> None:
    assert owners.user("app:web", FULL) == owners.User(1000, 50, [], "/home/app")
    assert owners.user("app:60", FULL).gid == 60


def test_numbers_need_no_entry_but_find_theirs() -> None:
    assert owners.user("1000", FULL) == owners.User(1000, 1001, [50], "/home/app")
    assert owners.user("5:6", Image()) == owners.User(5, 6, [], "/")
    assert owners.user("12", FULL).uid == 7, "a name goes before a number"


@pytest.mark.parametrize("name", ["nobody", "app:nobody", "70000", "big", "-1", "", "1.5", "٣", "999999999999999999"])
def test_who_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(exception.InvalidError):
        owners.user(name, FULL)

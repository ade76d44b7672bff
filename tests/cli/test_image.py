"""`windlass image`: what is printed where, and which names are understood."""
from __future__ import annotations

import json

import click.testing
import pytest

from windlass import exception
from windlass.cli import ask, image, listing
from windlass.client import names

ID = "im-3kTMd84yYpZq0vXWb1sRNf"
ROW = {
    "image_id": ID, "command": "echo a &&\n  echo b", "size": 1_234_567, "total": 200_000_000, "shared": 0,
    "built_at": 1.0, "used_at": None, "names": ["main/train:latest"],
}  # fmt: skip
EVENTS = [
    {"kind": "layer", "image_id": "im-base", "command": "debian_slim", "step": 1, "steps": 2, "started_at": None},
    {"kind": "end", "ended_at": 5.0, "error": None, "left_out": 0},
    {"kind": "layer", "image_id": ID, "command": "make", "step": 2, "steps": 2, "started_at": 6.0},
    {"kind": "log", "text": "half a ", "time": 6.5},
    {"kind": "log", "text": "line\n", "time": 6.6},
    {"kind": "end", "ended_at": 7.0, "error": "exit code 2", "left_out": 9},
]


@pytest.fixture
def told(monkeypatch):
    """What the platform is asked; it knows one image and one failed build."""
    asked = []

    def request(method, body):
        asked.append((method, body))
        return {"images": [ROW]} if method == "image.list" else {"image_id": ID}

    def stream(method, body):
        asked.append((method, body))
        return iter([dict(event) for event in EVENTS])

    monkeypatch.setattr(ask, "request", request)
    monkeypatch.setattr(ask, "stream", stream)
    return asked


def run(*words, code=0):
    ran = click.testing.CliRunner().invoke(image.group, words)
    assert ran.exit_code == code, ran.output
    return ran


def test_the_list_is_a_table_for_people_and_numbers_for_programs(told):
    shown = run("list").stdout
    assert "1.2 MB" in shown and "200 MB" in shown and "main/train:latest" in shown and "echo a && echo b" in shown
    (row,) = json.loads(run("list", "--json", "-e", "dev").stdout)
    assert row["size"] == 1_234_567 and row["names"] == ["main/train:latest"] and row["last_used"] is None
    assert row["image_id"] == ID and row["last_step"] == ROW["command"]
    assert [body for _, body in told] == [{"all": False}, {"all": False, "environment": "dev"}]


def test_titles_of_steps_do_not_mix_with_what_the_steps_printed(told):
    ran = run("logs", ID)
    assert ran.stdout == "half a line\n"
    assert "Step 1/2: debian_slim (im-base): no log is kept" in ran.stderr
    assert "Step 2/2: make" in ran.stderr and "Failed: exit code 2" in ran.stderr
    base, last = json.loads(run("logs", ID, "--json", "--layer", "-1").stdout)
    assert base["text"] == "" and last["text"] == "half a line\n" and last["left_out"] == 9 and last["ended_at"]
    assert told[-1] == ("image.logs", {"image_id": ID, "follow": False, "layer": "-1"})
    run("logs", ID, "--json", "--follow", code=2)


def test_names_are_looked_up_and_ids_are_not(told):
    run("logs", "dev/train:v1")
    run("publish", "train", "other", "-e", "dev")
    assert [body for method, body in told if method == "image.get"] == [
        {"name": "train", "tag": "v1", "environment": "dev"}, {"name": "train", "tag": "latest", "environment": "dev"},
    ]  # fmt: skip
    assert told[-1] == (
        "image.publish", {"image_id": ID, "name": "other", "tag": "latest", "environment": "dev"}
    )  # fmt: skip
    before = len(told)
    ran = run("logs", "im-too-short", code=1)
    assert isinstance(ran.exception, exception.InvalidError) and len(told) == before


@pytest.mark.parametrize(
    ("text", "environment", "parts"),
    [
        ("a", None, ("", "a", "latest")),
        ("a:b", None, ("", "a", "b")),
        ("e/a", None, ("e", "a", "latest")),
        ("e/a:1.0", None, ("e", "a", "1.0")),
        ("a", "e", ("e", "a", "latest")),
    ],
)
def test_a_name_has_an_environment_and_a_tag(text, environment, parts):
    assert names.image(text, environment) == parts


@pytest.mark.parametrize(
    "text", ["", ":", "a:", "/a", "a/", "e/f/a", "im-x", "e/im-x:t", "a b", "a:b:c", "ä", "x" * 65, None, 3]
)
def test_what_is_no_name_is_refused(text):
    with pytest.raises(exception.InvalidError):
        names.image(text)


def test_an_environment_given_twice_is_refused():
    with pytest.raises(exception.InvalidError, match="another time"):
        names.image("e/a", "e")


def test_sizes_are_read_at_a_glance():
    assert [listing.size(n) for n in (0, 999, 1_500, 123_456, 5_000_000_000, 7e15)] == [
        "0 B", "999 B", "1.5 KB", "123 KB", "5.0 GB", "7000.0 TB",
    ]  # fmt: skip

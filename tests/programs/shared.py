"""Functions that share dicts and queues."""

from __future__ import annotations

import os

import windlass

app = windlass.App("test-shared")
notes = windlass.Dict.from_name("test-notes", create_if_missing=True)
jobs = windlass.Queue.from_name("test-jobs", create_if_missing=True)


@app.function(max_containers=2)
def write(key: str, value: object) -> str:
    notes[key] = value
    return os.environ["MODAL_TASK_ID"]


@app.function(max_containers=2)
def large(size: int) -> bool:
    data = os.urandom(size)
    notes["large"] = data
    return notes["large"] == data and dict(notes.items())["large"] == data


@app.function(max_containers=2)
def same(key: str, value: bytes) -> bool:
    return bool(notes[key] == value)


@app.function(max_containers=2)
def first(key: str) -> bool:
    return notes.put(key, os.environ["MODAL_TASK_ID"], skip_if_exists=True)


@app.function(max_containers=2)
def through(handle: windlass.Dict, q: windlass.Queue, key: str) -> object:
    q.put(handle.pop(key))
    return handle.name


@app.function(max_containers=2)
def take(partition: str) -> object:
    return jobs.get(partition=partition)


@app.function(max_containers=2)
async def answer(count: int) -> int:
    """Gets numbers, and puts their squares."""
    for _ in range(count):
        number = await jobs.get.aio(partition="questions")
        await jobs.put.aio(number * number, partition="answers")
    return count

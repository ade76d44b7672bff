"""Whoever is killed while a volume is committed: what was acknowledged is there, and no half file is ever seen."""

from __future__ import annotations

import uuid

import windlass

app = windlass.App("promise-volumes")


def count(volume_id, turns, size):
    """Replace a file by a larger number of itself, and commit; what was acknowledged last."""
    import os

    import windlass

    volume = windlass.Volume.from_id(volume_id)
    for n in range(turns):
        with open("/data/.new", "w") as file:
            file.write(f"{n:06}" * size)
        os.replace("/data/.new", "/data/number")
        volume.commit()
    return turns - 1


def number(volume, size):
    text = b"".join(volume.read_file("number")).decode()
    assert text == text[:6] * size
    return int(text[:6])


def test_the_last_acknowledged_commit_survives_kills_of_server_and_worker(stage):
    name = f"test-{uuid.uuid4().hex[:12]}"
    volume = windlass.Volume.from_name(name, create_if_missing=True).hydrate()
    counting = app.function(serialized=True, volumes={"/data": volume}, timeout=120)(count)
    size, turns = 20_000, 60
    with app.run():
        counting.remote(volume.object_id, 1, size)
        call = counting.spawn(volume.object_id, turns, size)
        seen = [number(volume, size)]
        for victim in ("worker", "server", "worker", "server"):
            stage.kill(victim)
            seen.append(number(volume, size))
        assert call.get(timeout=90) == turns - 1
        assert number(volume, size) == turns - 1
    assert number(volume, size) == turns - 1
    assert seen[1:] == sorted(seen[1:]), seen
    windlass.Volume.objects.delete(name)

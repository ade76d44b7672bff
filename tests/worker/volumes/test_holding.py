"""Layers that threads read at the same time are held until the last of them is done."""

from __future__ import annotations

import threading

from windlass.worker.volumes import layers


def test_threads_hold_the_same_layers_without_losing_count(tmp_path):
    store = layers.Layers(tmp_path)
    failed: list[Exception] = []
    over = threading.Event()

    def hold(first: int) -> None:
        try:
            for number in range(15_000):
                with store.hold(f"vl-{(number * 7 + first + more) % 280}" for more in range(3)):
                    pass
        except Exception as exc:
            failed.append(exc)

    def look() -> None:
        try:
            while not over.wait(0.0005):
                assert "kept" in store.held()
        except Exception as exc:
            failed.append(exc)

    with store.hold(["kept"]):
        threads = [threading.Thread(target=hold, args=(number,)) for number in range(4)]
        watcher = threading.Thread(target=look)
        for one in (watcher, *threads):
            one.start()
        for one in threads:
            one.join()
        over.set()
        watcher.join()
        assert not failed and store.held() == {"kept"}
    assert store.held() == set()

"""Which files of tests take longest: with several processes they come first, so that none is left over at the end.

Each file is run by one process (``--dist loadfile``), the next one by whoever is free. Seconds of a quiet machine with
two processors, from 20 on; look anew with ``--durations=0`` when the end of the suite has become long.
"""
from __future__ import annotations

from pathlib import Path

SECONDS = {
    "system/test_python.py": 150,
    "system/test_image_gc.py": 90,
    "system/test_deploy.py": 80,
    "system/test_image_indexes.py": 60,
    "examples/test_examples.py": 60,
    "system/test_interactive.py": 55,
    "system/test_image_settings.py": 50,
    "system/test_image_projects.py": 50,
    "system/test_volumes.py": 50,
    "system/test_snapshots.py": 50,
    "system/test_concurrent.py": 45,
    "system/test_image_store.py": 40,
    "system/test_lock.py": 40,
    "system/test_schedules.py": 40,
    "promises/test_01_exactly_once.py": 40,
    "system/test_start_failures.py": 40,
    "system/test_classes.py": 40,
    "system/test_sandboxes.py": 40,
    "system/test_web.py": 35,
    "system/test_web_fastapi.py": 35,
    "system/test_object_store.py": 35,
    "system/test_registry.py": 30,
    "system/test_interrupt.py": 30,
    "system/test_observability.py": 30,
    "promises/test_06_layers.py": 30,
    "promises/test_04_restart_of_the_server.py": 30,
    "promises/test_14_volumes_stay_whole.py": 30,
    "system/test_serve.py": 30,
    "system/test_environments.py": 25,
    "system/test_scaling.py": 25,
    "system/test_cli.py": 25,
    "system/test_image_disk_full.py": 25,
    "system/test_volume_disk_full.py": 25,
    "system/test_replay.py": 25,
    "system/test_sandbox_walls_of_a_user.py": 25,
    "cli/test_control.py": 25,
    "docs/test_guide.py": 20,
    "promises/test_05_restart_of_the_worker.py": 20,
    "promises/test_04_nothing_acknowledged_is_lost.py": 20,
    "system/test_pins.py": 20,
    "system/test_image_misbehaving.py": 20,
}
_MEANWHILE = (
    "worker/volumes/test_exchange.py", "worker/volumes/test_killed.py", "server/test_schedule_decisions.py",
    "server/test_web.py",
)  # fmt: skip
"""Long files that need no platform, for those who would wait while the first process makes the base of all images."""
_REAL = ("system", "promises", "container", "examples")
_LAST = "system/test_zz_nothing_left.py"


def order(path: Path, tests: Path) -> tuple[float, str]:
    """A key to sort files by: the longest, then those with real platforms, then all others, which fill the gaps."""
    name = path.relative_to(tests).as_posix()
    if name in _MEANWHILE:
        return (-140.0 + _MEANWHILE.index(name), name)  # after the very longest, which begins with the base
    guess = 10.0 if name.startswith(_REAL) else 1.0
    return (1.0 if name == _LAST else -SECONDS.get(name, guess), name)

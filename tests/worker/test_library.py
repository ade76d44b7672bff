"""The library that containers see."""
from __future__ import annotations

import asyncio
import sys

from windlass.worker import library


def test_it_holds_what_the_runner_needs_compiled_and_nothing_of_the_servers(tmp_path):
    async def scene():
        async with library.Library(tmp_path) as staged:
            async with library.Library(tmp_path) as again:
                assert staged.path == again.path
        return staged.path

    path = asyncio.run(scene())
    assert (path / "windlass/wire/codec.py").is_file() and (path / "windlass/wire/pickling/cloudpickle.py").is_file()
    assert not (path / "cloudpickle").exists()
    assert {entry.name for entry in path.iterdir()} == {"windlass", "modal.py", "__pycache__"}
    assert not any((path / "windlass" / room).exists() for room in ("server", "worker", "cli"))
    tag = sys.implementation.cache_tag
    assert (path / f"windlass/wire/__pycache__/codec.{tag}.pyc").is_file()
    assert len(list((tmp_path / "lib").iterdir())) == 1


def test_earlier_versions_go_and_nothing_else(tmp_path):
    for name in ("0123456789abcdef", "stub"):
        (tmp_path / "lib" / name).mkdir(parents=True)

    async def scene():
        async with library.Library(tmp_path) as staged:
            await staged.prune()
            return staged.path.name

    kept = asyncio.run(scene())
    assert {entry.name for entry in (tmp_path / "lib").iterdir()} == {kept, "stub"}


def test_byte_code_of_another_python_is_taken_in_once_and_only_for_known_modules(tmp_path):
    calls = []

    async def compile_with(source, target):
        calls.append(source)
        for name in ("windlass/wire/codec", "windlass/wire/stranger"):
            made = target / f"{name}.cpython-399.pyc"
            made.parent.mkdir(parents=True, exist_ok=True)
            made.write_bytes(b"code")
        return target

    async def scene():
        async with library.Library(tmp_path) as staged:
            await asyncio.gather(*(staged.compiled_for("3.99", compile_with) for _ in range(3)))
        async with library.Library(tmp_path) as staged:
            return await staged.compiled_for("3.99", compile_with)

    path = asyncio.run(scene())
    assert len(calls) == 1
    assert (path / "windlass/wire/__pycache__/codec.cpython-399.pyc").read_bytes() == b"code"
    assert not (path / "windlass/wire/__pycache__/stranger.cpython-399.pyc").exists()


def test_byte_code_of_a_free_threaded_python_is_not_taken_for_that_of_the_other(tmp_path):
    asked = []

    async def compile_with(source, target):
        asked.append(target)
        return target

    async def scene():
        async with library.Library(tmp_path) as staged:
            here = f"{sys.version_info[0]}.{sys.version_info[1]}"
            for python in (here, f"{here}t", f"{here}t", "3.99", "3.99t"):
                await staged.compiled_for(python, compile_with)

    asyncio.run(scene())
    assert len(asked) == 3

"""Whatever versions of packages an image pins, calls, generators and errors work: nothing of ours meets them.

The packages are those that other systems of this kind bring into their containers, in versions too old and too new for
each other. cloudpickle is the one that we need ourselves.
"""

from __future__ import annotations

import uuid

import pytest

import windlass

OLD = {
    "protobuf": "3.19.6", "websockets": "8.1", "aiohttp": "3.8.6", "typing_extensions": "3.7.4.3",
    "cloudpickle": "1.2.2",
}  # fmt: skip
MIDDLE = {"cloudpickle": "2.0.0", "protobuf": "4.21.12", "websockets": "10.4", "typing_extensions": "4.0.1"}
LATEST = dict.fromkeys(OLD, "")

SOURCE = '''
import dataclasses
import modal

pins = {pins!r}
packages = [f"{{name}}=={{version}}" if version else name for name, version in pins.items()]
app = modal.App("test-pins", image=modal.Image.debian_slim("3.11").pip_install(*packages))


class Trouble(Exception):
    def __init__(self, message, value):
        super().__init__(message, value)
        self.value = value


@dataclasses.dataclass
class Point:
    x: int


def versions():
    import importlib.metadata
    import cloudpickle, google.protobuf, typing_extensions
    for name in pins:
        if name in ("aiohttp", "websockets"):
            __import__(name)
    return {{name: importlib.metadata.version(name) for name in pins}}


@app.function()
def imported(point, call):
    return versions(), Point(call(point.x))


@app.function(serialized=True)
def pickled(x, call):
    return versions(), call(x)


@app.function()
def items(n):
    import cloudpickle
    for i in range(n):
        yield lambda x, i=i: x + i


@app.function()
def fails():
    import cloudpickle
    raise Trouble("as asked", (lambda: 7)())


@app.local_entrypoint()
def main():
    for function, given, result in ((imported, Point(20), Point(40)), (pickled, 20, 40)):
        found, value = function.remote(given, lambda x: 2 * x)
        assert value == result, value
        for name, version in found.items():
            assert pins[name] in ("", version), (name, version)
        print("VERSIONS", sorted(found.items()))
    assert [f(1) for f in items.remote_gen(3)] == [1, 2, 3]
    assert list(imported.map([Point(1)], [abs]))[0][1] == Point(1)
    try:
        fails.remote()
    except Trouble as exc:
        assert exc.value == 7
        print("RAISED")
'''


@pytest.mark.timeout(420)
@pytest.mark.parametrize("pins", [OLD, MIDDLE, LATEST], ids=["old", "middle", "latest"])
def test_functions_run_beside_any_version_of(stage, program, pins):
    ran = stage.cli("run", program(f"pins_{uuid.uuid4().hex[:6]}.py", SOURCE.format(pins=pins)), check=0, timeout=400)
    assert ran.out.count("VERSIONS") == 2 and "RAISED" in ran.out


def test_an_image_without_cloudpickle_has_none_of_ours(stage):
    app = windlass.App("test-no-pins", image=windlass.Image.debian_slim("3.11"))

    @app.function(serialized=True)
    def has_it(value):
        import importlib.util

        return importlib.util.find_spec("cloudpickle") is not None, lambda: value

    with app.run():
        found, value = has_it.remote({1})
    assert not found and value() == {1}

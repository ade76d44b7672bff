"""``Image.run_function``: Python as a build step; what it leaves is kept, what it was given is not."""

from __future__ import annotations

import os
import textwrap
import uuid

import pytest

import windlass

SLIM = windlass.Image.debian_slim


def sh(*commands: str):
    import subprocess

    return [subprocess.run(c, shell=True, capture_output=True, text=True).stdout.strip() for c in commands]


def inside(image, *commands: str):
    app = windlass.App("test-image-functions", image=image)
    handle = app.function(serialized=True)(sh)
    with app.run():
        return handle.remote(*commands)


SOURCE = """
import modal, os, time

MODEL = {model!r}
# {comment}

def download(name, *, size=1):
    with open(f"/srv/{{name}}", "w") as file:
        file.write(f"{{MODEL}} {{size}} {{time.time_ns()}} {body}")
    print("downloading", name, os.environ.get("TOKEN"), os.environ.get("PLAIN"), modal.is_local(), flush=True)

async def later():
    import asyncio
    await asyncio.sleep(0)
    open("/srv/later", "w").write("awaited")

image = (
    modal.Image.debian_slim()
    .run_function(
        download, args=({name!r},), kwargs={{"size": 3}}, env={{"PLAIN": "seen"}},
        secrets=[modal.Secret.from_dict({{"TOKEN": "s3cr3t-value"}})], cpu=1.0, memory=(256, 1024),
    )
    .run_function(later)
)
app = modal.App("test-run-function", image=image)

@app.function()
def look():
    return open("/srv/{name}").read(), open("/srv/later").read(), os.environ.get("TOKEN"), os.environ.get("PLAIN")

@app.local_entrypoint()
def main():
    print("GOT", *look.remote(), sep="|")
"""


def got(ran) -> list[str]:
    return next(line for line in ran.lines if line.startswith("GOT")).split("|")[1:]


def test_what_a_function_leaves_is_kept_until_the_function_its_arguments_or_values_change(stage, program, tmp_path):
    mark = uuid.uuid4().hex
    first = {"model": mark, "comment": "one", "body": "", "name": "file"}

    def run(**changes):
        return stage.cli("run", program("downloads.py", SOURCE.format(**{**first, **changes})), check=0)

    ran = run()
    content, later, token, plain = got(ran)
    assert content.startswith(f"{mark} 3 ") and later == "awaited"
    assert (token, plain) == ("None", "None"), "secrets and variables of a step are seen by the step alone"
    assert "downloading file *** seen False" in ran.text
    assert got(run())[0] == content
    assert got(run(comment="another one"))[0] == content, "a comment elsewhere in the file does not count"
    assert got(run(body="edited"))[0].endswith("edited")
    assert got(run(model=mark[::-1]))[0].startswith(mark[::-1])
    assert got(run(name="other"))[0] != content


def test_nothing_of_a_functions_source_arguments_or_secrets_reaches_the_layer(stage, program):
    name, secret = f"source_{uuid.uuid4().hex[:8]}", uuid.uuid4().hex
    text = f"""
    import modal, os
    def leave(text):
        import json, http.client  # compiles nothing beside our own source
        os.makedirs("/root/.cache/kept"); open("/root/.cache/kept/x", "w").write(text[:1])
    image = modal.Image.debian_slim().run_function(
        leave, args=({"abc" + secret!r},), secrets=[modal.Secret.from_dict({{"S": {"x" + secret!r}}})])
    app = modal.App("test-nothing-kept", image=image)
    @app.function()
    def f(): return os.stat("/root").st_mode & 0o777
    @app.local_entrypoint()
    def main(): print("GOT|" + str(f.remote()))
    """
    before = set(os.listdir(stage.home / "layers"))
    [plain] = inside(SLIM(), "stat -c %a /root")
    stage.cli("run", program(f"{name}.py", textwrap.dedent(text)), check=0)
    [layer] = set(os.listdir(stage.home / "layers")) - before
    root = stage.home / "layers" / layer / "files/root"
    assert f"{root.stat().st_mode & 0o777:o}" == plain, "the folder keeps its permissions"
    kept = [p for p in (stage.home / "layers" / layer).rglob("*")]
    files = [p for p in kept if p.is_file()]
    assert sorted(p.name for p in files) == ["meta.json", "x"], kept
    assert not [p for p in files if secret in p.read_text()]
    assert not [p for p in kept if name in p.name or "__windlass" in p.name]


def test_a_package_and_a_closure_may_be_run_too(stage, tmp_path, monkeypatch):
    package = f"pkg_{uuid.uuid4().hex[:8]}"
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("")
    (tmp_path / package / "words.py").write_text("WORD = 'from the package'\n")
    (tmp_path / package / "steps.py").write_text(
        "from . import words\ndef leave():\n    open('/srv/package', 'w').write(words.WORD)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    steps = __import__(f"{package}.steps").steps
    text = uuid.uuid4().hex

    def closure():
        open("/srv/closure", "w").write(text)

    image = SLIM().run_function(steps.leave).run_function(closure)
    assert inside(image, "cat /srv/package", "cat /srv/closure", "ls /root") == [
        "from the package", text, "",
    ]  # fmt: skip


def test_a_failing_function_shows_its_traceback(stage, program):
    text = """
    import modal
    def inner(): raise KeyError("the reason")
    def broken():
        print("about to fail")
        inner()
    app = modal.App("test-broken", image=modal.Image.debian_slim().run_function(broken))
    @app.function()
    def f(): ...
    @app.local_entrypoint()
    def main(): f.remote()
    """
    before = set(os.listdir(stage.home / "layers"))
    ran = stage.cli("run", program("broken.py", textwrap.dedent(text)), check=1)
    assert "about to fail" in ran.text and "run_function broken" in ran.err
    assert "in inner" in ran.err and "KeyError: 'the reason'" in ran.err
    assert "/__windlass/lib" not in ran.text, "frames of ours are not shown"
    assert set(os.listdir(stage.home / "layers")) == before


def test_a_function_that_hangs_or_eats_the_memory_fails_with_the_limit(stage):
    mark = uuid.uuid4().hex

    def hang(mark):
        import time

        time.sleep(600)

    def eat(mark):
        held = []
        while True:
            held.append(bytearray(b"x") * 10_000_000)

    with pytest.raises(windlass.exception.ImageBuildError, match="did not end within 1 s"):
        inside(SLIM().run_function(hang, args=(mark,), timeout=1))
    with pytest.raises(windlass.exception.ImageBuildError, match="out of memory; the step may use 200 MiB"):
        inside(SLIM().run_function(eat, args=(mark,), memory=(100, 200)))


def test_a_function_may_not_use_the_platform_while_it_builds(stage):
    def calls():
        import windlass

        with windlass.App("inner").run():
            pass

    with pytest.raises(windlass.exception.ImageBuildError, match=r"build step cannot|called while"):
        inside(SLIM().run_function(calls))


def test_build_makes_an_image_now_inside_and_outside_of_an_app(stage):
    mark = uuid.uuid4().hex
    image = SLIM().run_commands(f"date +%s%N > /when # {mark}")
    assert image.build() is image and image.is_hydrated and image.object_id.startswith("im-")
    first = image.object_id
    app = windlass.App("test-build")
    with app.run():
        again = SLIM().run_commands(f"date +%s%N > /when # {mark}").build(app)
        assert again.object_id == first
    assert inside(image, "cat /when")[0].isdigit()
    forced = SLIM().run_commands(f"date +%s%N > /when # {mark}", force_build=True)
    assert forced.build().object_id != first
    with pytest.raises(windlass.exception.ImageBuildError):
        SLIM().run_commands(f"exit 3 # {mark}").build()


def test_build_has_an_asynchronous_face(stage):
    import asyncio

    async def run():
        return await SLIM().run_commands(f"true # {uuid.uuid4().hex}").build.aio()

    assert asyncio.run(run()).is_hydrated

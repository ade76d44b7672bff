"""What code in a container starts finds the same modules, and `modal` among them."""

from __future__ import annotations

PROGRAM = r'''
import concurrent.futures, multiprocessing, subprocess, sys
import modal

app = modal.App("test-child-processes")

def square(x):
    return x * x

def whole(x):
    import modal.exception
    return modal.__name__, modal.exception.NotFoundError.__module__, modal.is_local()

def asked(x):
    with modal.Dict.ephemeral() as notes:
        notes["there"] = x
        return notes["there"] + doubled.remote(x)

@app.function()
def doubled(x):
    return 2 * x

@app.function(timeout=60)
def pooled(method: str):
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        return list(pool.map(square, range(4))), pool.submit(whole, 0).result(), pool.submit(asked, 7).result()

@app.function(timeout=60, env={"PYTHONPATH": "/opt/mine"})
def command():
    code = "import sys, children; print(children.square(5), children.modal.__name__, '/opt/mine' in sys.path)"
    ran = subprocess.run([sys.executable, "-c", code], cwd="/", capture_output=True, text=True)
    return ran.stdout, ran.stderr

def step():
    code = """
import children
print("built with", children.modal.__name__)
try:
    children.asked(1)
except children.modal.exception.ExecutionError as exc:
    print(exc)
"""
    subprocess.run([sys.executable, "-c", code], cwd="/", check=True)

@app.function(image=modal.Image.debian_slim().run_function(step, force_build=True))
def built(): ...

@app.local_entrypoint()
def main():
    for method in ("spawn", "forkserver", "fork"):
        print(method, *pooled.remote(method))
    print(*command.remote())
    for method in ("spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
            print("here", method, list(pool.map(square, range(4))), pool.submit(whole, 0).result())
'''


def test_workers_of_pools_and_commands_import_the_program_and_modal(stage, program):
    path = program("children.py", PROGRAM)
    ran = stage.cli("run", path, timeout=280, check=0)
    for method in ("spawn", "forkserver", "fork"):
        assert f"{method} [0, 1, 4, 9] ('windlass', 'windlass.exception', True) 21" in ran.out
    assert "25 windlass True" in ran.out
    for method in ("spawn", "forkserver"):
        assert f"here {method} [0, 1, 4, 9] ('windlass', 'windlass.exception', True)" in ran.out
    assert "built with windlass\na function that runs as a build step cannot use the platform" in ran.text

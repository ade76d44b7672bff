"""Programs made of the blocks of the guide: a frame for each page says where its blocks stand and what they lean on.

A block is part of one of these:

    define   it is executed in a module of its own after ``BEFORE`` of its page, without a platform: names, parameters
             and decorators are right
    top      of the page's program, which `windlass run` runs: at its top level
    main     of the same program: in its local entrypoint
    script   it is a program for plain Python
    deploy   it is a file that `windlass deploy` publishes
    shown    it is not run, for the reason that stands here
"""
from __future__ import annotations

import re
import textwrap
from pathlib import Path

PAGES = Path(__file__).parents[2] / "docs/guide"
_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)

PLACES: dict[str, list[str]] = {
    "buckets.md": ["define"],
    "calls.md": ["main"],
    "classes.md": [
        "top", "main", "main", "shown: the app of the page is not deployed; deployments.md deploys one", "top",
    ],
    "debugging.md": ["top", "top"],
    "deployments.md": ["deploy", "script", "define", "define"],
    "dicts-and-queues.md": ["main", "main", "main", "main", "define"],
    "from-modal.md": ["top"],
    "getting-started.md": ["top", "script"],
    "gpus.md": ["define"],
    "identity.md": ["define"],
    "images.md": ["define", "define"],
    "logs-and-errors.md": ["define"],
    "sandboxes.md": ["main", "main"],
    "usage.md": ["main"],
    "volumes.md": ["define", "main", "define", "main"],
    "web.md": ["define", "define", "define"],
}
"""Of each page with Python in it: where its blocks stand, in their order."""

_PLAIN = 'import windlass as modal\n\napp = modal.App("guide")\n'

BEFORE: dict[str, str] = {
    "buckets.md": _PLAIN + 'vol = modal.Volume.from_name("v")\n',
    "calls.md": """
        import time

        import modal

        app = modal.App("guide-calls")
        xs = [1, 2]

        @app.function(max_containers=1)
        def f(a, b=0):
            return a + b

        @app.function(max_containers=1)
        def g(n):
            yield from range(n)
        """,
    "deployments.md": _PLAIN,
    "dicts-and-queues.md": """
        import os

        import modal

        app = modal.App("guide-shared")

        @app.function()
        def worker(q, d):
            q.put("from a container")
        """,
    "gpus.md": _PLAIN + "def compile_kernels(): ...\n",
    "images.md": _PLAIN + "image = modal.Image.debian_slim()\n",
    "logs-and-errors.md": _PLAIN + "def compute(x): return x\n",
    "sandboxes.md": "",
    "usage.md": "import modal\napp = modal.App('guide-usage')\n@app.function()\ndef f(): ...\n",
    "volumes.md": """
        import io
        from pathlib import Path

        import modal
        import windlass

        app = modal.App("guide-volumes")
        vol = modal.Volume.from_name("guide-models", create_if_missing=True)
        shared = windlass.NetworkFileSystem.from_name("guide-scratch", create_if_missing=True)
        """,
    "web.md": _PLAIN + "import subprocess\n",
}
"""What the blocks of a page may take for granted."""

SETUP: dict[str, str] = {
    "calls.md": "",
    "dicts-and-queues.md": 'modal.Dict.objects.delete("scores", allow_missing=True)',
    "volumes.md": """
        import pathlib
        pathlib.Path("weights.bin").write_bytes(b"weights")
        pathlib.Path("data").mkdir(exist_ok=True)
        pathlib.Path("data/one.txt").write_text("one")
        pathlib.Path("data.csv").write_text("1,2")
        """,
    "usage.md": "f.remote()",
}
"""At the beginning of the entrypoint."""

AFTER: dict[str, str] = {
    "calls.md": "print(list(f.map(range(5))), call.get(timeout=20))",
    "classes.md": "",
    "debugging.md": "explain(call)",
    "dicts-and-queues.md": 'print(sorted(scores.keys()), scores.get("ada"))',
    "from-modal.md": "print(square.remote(12))",
}
"""At its end."""

SAID: dict[str, list[str]] = {
    "calls.md": ["[0, 1, 2, 3, 4] 1"],
    "classes.md": ["3\n", "['vier', 'fünf']", "2\n", "in fr"],
    "debugging.md": ["failed: invalid literal for int()", "windlass call replay --debug fc-", "parse FAILURE"],
    "dicts-and-queues.md": ["bob 5", "['ada', 'bob'] 3"],
    "from-modal.md": ["144"],
    "getting-started.md": ["this is printed in a container", "hello, world"],
    "sandboxes.md": ["42\n 0", "hello"],
    "usage.md": ["guide-usage"],
    "volumes.md": [],
}
"""What the page's program prints."""


def blocks(page: str) -> list[str]:
    return within((PAGES / page).read_text())


def within(text: str) -> list[str]:
    return _BLOCK.findall(text)


def placed(page: str, place: str) -> list[str]:
    return [text for text, where in zip(blocks(page), PLACES[page], strict=True) if where == place]


def program(page: str) -> str | None:
    """The page's program, where it has one."""
    top, main = placed(page, "top"), placed(page, "main")
    if not top and not main:
        return None
    body = [_flat(SETUP.get(page, "")), *map(_without_import, main), _flat(AFTER.get(page, ""))]
    if page == "sandboxes.md":
        return "import windlass\nimport windlass as modal\nwith windlass.enable_output():\n" + _indented(body)
    if not any("@app.local_entrypoint" in block for block in top):
        top.append("@app.local_entrypoint()\ndef run_the_guide():\n    pass\n")
    whole = [block + _indented(body) if "@app.local_entrypoint" in block else block for block in top]
    return "\n".join([_flat(BEFORE.get(page, "")), *whole])


def _without_import(block: str) -> str:
    """Inside a function it would make the name a local one."""
    return re.sub(r"^import modal$", "", block, flags=re.MULTILINE)


def _indented(parts: list[str]) -> str:
    return "".join(textwrap.indent(part.rstrip() + "\n", "    ") for part in parts if part.strip())


def _flat(text: str) -> str:
    return textwrap.dedent(text).strip("\n") + "\n"


def definitions() -> str:
    """One program that executes every block which only defines, each in a module of its own."""
    parts = [
        (page, _flat(BEFORE.get(page, "")), block) for page in PLACES for block in placed(page, "define")
    ]
    return _DEFINING.format(parts=parts)


_DEFINING = """
import sys, types, pathlib, traceback, importlib.util
from windlass import compat
compat.install()
pathlib.Path("data").mkdir(exist_ok=True)
for number, (page, before, block) in enumerate({parts!r}):
    path = pathlib.Path(f"block_{{number}}.py")
    path.write_text(before + block)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        print(page, block, traceback.format_exc())
"""

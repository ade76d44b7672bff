"""Every example of the guide does what it says; what is not run is named with the reason (``guide.PLACES``)."""
from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import stage as stages

sys.path.insert(0, str(Path(__file__).parent))

import guide

PROGRAMS = [page for page in guide.PLACES if guide.program(page) is not None]
ROOT = guide.PAGES.parents[1]


def test_each_block_of_python_has_its_place():
    pages = {path.name: len(guide.blocks(path.name)) for path in sorted(guide.PAGES.glob("*.md"))}
    assert {page: count for page, count in pages.items() if count} == {
        page: len(places) for page, places in guide.PLACES.items()
    }
    known = {"define", "top", "main", "script", "deploy"}
    unknown = {place for places in guide.PLACES.values() for place in places if place not in known}
    assert all(place.startswith("shown: ") for place in unknown), unknown


def test_links_between_pages_lead_somewhere():
    pages = [*guide.PAGES.glob("*.md"), *(ROOT / "docs/reference").glob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
    index = (guide.PAGES / "README.md").read_text()
    assert [page.name for page in guide.PAGES.glob("*.md") if page.name != "README.md" and page.name not in index] == []


def test_the_program_of_the_readme_is_the_example_that_it_tells_to_copy():
    readme = (ROOT / "README.md").read_text()
    (name,) = re.findall(r"windlass examples copy (\w+)", readme)
    rest = iter((ROOT / f"examples/{name}.py").read_text().splitlines())
    missing = [line for line in guide.within(readme)[0].splitlines() if line and line not in rest]
    assert missing == []  # each line in its order; docstrings may stand between


def test_blocks_that_only_define_are_right(tmp_path):
    program = guide.definitions()
    ran = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.stdout == "" and ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("page", PROGRAMS)
def test_the_program_of_a_page_runs_and_prints_what_the_page_says(stage, program, page):
    path = program(f"guide_{page.removesuffix('.md').replace('-', '_')}.py", guide.program(page))
    if page == "sandboxes.md":
        ran = _python(stage, path)
    else:
        ran = stage.cli("run", path, cwd=Path(path).parent, check=0)
    for line in guide.SAID[page]:
        assert line in ran.text, f"{line!r} is missing in:\n{ran.text}"


def test_a_script_for_plain_python_runs(stage, program):
    (script,) = guide.placed("getting-started.md", "script")
    assert "42" in _python(stage, program("script.py", script)).out


def test_an_app_is_deployed_and_called_from_another_program(stage, program):
    (app,) = guide.placed("deployments.md", "deploy")
    (caller,) = guide.placed("deployments.md", "script")
    try:
        assert "double" in stage.cli("deploy", program("report.py", app), check=0).text
        assert _python(stage, program("caller.py", caller)).out.strip() == "42"
    finally:
        stage.cli("app", "stop", "report", "-y")


def _python(stage: stages.Stage, path: str) -> stages.Ran:
    done = subprocess.run(
        [sys.executable, path], env=stage.environment, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return stages.Ran(done.returncode, done.stdout, done.stderr)

"""Lines of containers where no terminal looks."""
from __future__ import annotations

import subprocess
import sys

import pytest

from windlass.cli import plain, render, tables
from windlass.wire.messages import apps


def entry(text: str, source: str = "stdout", container: str = "ta-1", when: float = 0.0) -> apps.LogEntry:
    return {
        "time": when, "source": source, "text": text, "app_id": "ap-1", "function_id": "fu-1",
        "container_id": container, "call_id": None, "input_id": None,
    }  # fmt: skip


def test_partial_lines_of_two_containers_never_mix(capsys: pytest.CaptureFixture[str]) -> None:
    shown = plain.PlainOutput()
    shown.logs([entry("one "), entry("two ", container="ta-2")])
    shown.logs([entry("ends\n"), entry("ends\n", container="ta-2"), entry("rest")])
    assert capsys.readouterr().out == "one ends\ntwo ends\n"
    shown.flush()
    assert capsys.readouterr().out == "rest\n"


def test_streams_stay_apart_and_order_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    shown = plain.PlainOutput()
    shown.logs([entry("a\n"), entry("b\n", "stderr"), entry("c\n"), entry("d\ne\n"), entry("f\n", "system")])
    out, err = capsys.readouterr()
    assert (out, err) == ("a\nc\nd\ne\n", "b\nf\n")


def test_timestamps_stand_before_each_line(capsys: pytest.CaptureFixture[str]) -> None:
    shown = plain.PlainOutput(timestamps=True)
    shown.logs([entry("a\nb\n", when=1.5)])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["a", "b"] and lines[0].split()[0].endswith(".500")


def test_without_progress_only_logs_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with render.open_output(show_progress=False) as shown:
        shown.app_started("ap-1", "x")
        shown.image_step("a", 1, 1, "true")
        shown.logs([entry("a\n")])
    assert capsys.readouterr() == ("a\n", "")


def test_a_line_that_is_written_over_and_over_is_seen_as_it_stands_and_does_not_grow() -> None:
    lines = plain.Assembler(forgets=True)
    for text, stands in (("\r 1%", " 1%"), ("\r 2%\r", " 2%"), (" 3%", " 3%"), ("\r 4", " 4"), ("5%", " 45%")):
        assert [*lines.feed([entry(text, "stderr")])] == []
        assert lines.moving() == [stands]
    for number in range(1000):
        assert [*lines.feed([entry(f"\r{number}", "stderr")])] == []
    assert [line.text for line in lines.feed([entry("\nend", "stderr")])] == ["\r999\n"]
    assert lines.moving() == [] and [line.text for line in lines.flush()] == ["end\n"]


def test_off_the_terminal_all_that_was_written_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    shown = plain.PlainOutput()
    shown.logs([entry("\r 1%"), entry("\r 2%"), entry("\n")])
    assert capsys.readouterr().out == "\r 1%\r 2%\n"


def test_what_the_program_printed_stands_before_the_end_of_its_app_also_in_a_pipe() -> None:
    program = """
from windlass.cli import plain
shown = plain.PlainOutput()
print("result")
shown.app_ended("ap-1", "done")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
    )
    assert done.stdout == "result\nApp completed.\n"


def test_a_reader_that_left_does_not_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed:
        def write(self, text: str) -> None:
            raise BrokenPipeError

    monkeypatch.setattr("sys.stdout", Closed())
    plain.PlainOutput().logs([entry("a\n")])


def test_tables_are_aligned_columns_off_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    tables.show(["App ID", "State"], [["ap-1", "stopped"]])
    assert capsys.readouterr().out == "App ID  State\nap-1    stopped\n"

"""What a step prints becomes text that can be read, and not more than anybody reads."""

from __future__ import annotations

import codecs
import os
import random

import pytest

from windlass.worker.images import output


def said(*texts: str, without: tuple[str, ...] = ()) -> str:
    pieces: list[str] = []
    with output.Lines(pieces.append, without=without) as lines:
        for text in texts:
            lines(text)
    return "".join(pieces)


def test_output_is_passed_on_in_whole_lines() -> None:
    pieces: list[str] = []
    with output.Lines(pieces.append, without=("noise",)) as lines:
        for text in ("one", " two\nthr", "ee\n noise\n", "x" * 5000, "last"):
            lines(text)
    assert pieces == ["one two\n", "three\n", "x" * 5000 + "\n", "last\n"]


@pytest.mark.parametrize(
    "printed, read",
    [
        ("1 %\r50 %\r100 %\r\ndone\n", "100 %\ndone\n"),
        ("1 %\r50 %\r100 %", "100 %\n"),
        ("a\r\nb\r\n", "a\nb\n"),
        ("\x1b[1;32mgreen\x1b[0m \x1b[2K\x1b[1Gtext\n", "green text\n"),
        ("\x1b]0;title\x07shown \x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\\n", "shown link\n"),
        ("a\0b\x07c\x7f\n", "a\ufffdb\ufffdc\ufffd\n"),
        ("lone \ud800 surrogate\n", "lone \ufffd surrogate\n"),
        ("tabs\tstay, umläute 漢字 too\n", "tabs\tstay, umläute 漢字 too\n"),
        ("\n\n", "\n\n"),
    ],
)
def test_what_only_a_terminal_understands_becomes_plain_text(printed: str, read: str) -> None:
    assert said(printed) == read
    assert said(*printed) == read, "however it arrives"


def test_a_progress_bar_without_line_ends_needs_no_memory() -> None:
    pieces: list[str] = []
    with output.Lines(pieces.append) as lines:
        for percent in range(100_000):
            lines(f"\r{percent} of 100000")
        assert pieces == []
    assert "".join(pieces) == "99999 of 100000\n"


def test_binary_output_is_cut_short_and_stays_text() -> None:
    rng = random.Random(1)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = said(*(decoder.decode(rng.randbytes(1000)) for _ in range(100)))
    assert text.endswith("\n") and not set(text) & {"\0", "\x1b", "\r", "\x07"}
    assert said("\0" * 10_000) == "\ufffd" * 8 + "…\n"


@pytest.mark.parametrize("chunk", [1000, 65536, 5_000_000])
def test_of_much_output_the_beginning_and_the_end_are_passed_on(chunk: int) -> None:
    whole = "".join(f"line {number}\n" for number in range(2_000_000))
    text = said(*(whole[begin : begin + chunk] for begin in range(0, len(whole), chunk)))
    lines = text.splitlines()
    assert len(text) < output.LIMIT + output.TAIL + 300
    assert lines[:2] == ["line 0", "line 1"] and lines[-1] == "line 1999999"
    (first,) = [at for at, line in enumerate(lines) if "the rest is left out" in line]
    assert "left out; the end" in lines[first + 1] and "MiB" in lines[first + 1]
    assert all(line.startswith("line ") for line in lines[:first] + lines[first + 2 :])


def test_a_little_more_than_the_limit_is_passed_on_whole_in_the_end() -> None:
    whole = "0123456\n" * (output.LIMIT // 8) + "one more\nand more"
    lines = said(whole).splitlines()
    assert [line for line in lines if "[" not in line] == [*whole.splitlines()]


@pytest.mark.parametrize("size", [8, 64, 1024])
def test_the_cut_is_said_also_where_a_piece_ends_exactly_at_the_limit(size: int) -> None:
    piece = "0" * (size - 1) + "\n"
    text = said(*[piece] * (output.LIMIT // size), *["more\n"] * 50_000)
    assert "the rest is left out" in text and "left out; the end" in text and text.endswith("more\n")
    assert said(*[piece] * (output.LIMIT // size)) == piece * (output.LIMIT // size)


def test_one_endless_line_is_limited_too() -> None:
    text = said(*(["x" * 65536] * 100))
    assert output.LIMIT <= len(text) < output.LIMIT + output.TAIL + os.sysconf("SC_PAGE_SIZE")


def test_hidden_values_are_never_shown_wherever_they_are_cut() -> None:
    said: list[str] = []
    with output.Lines(said.append) as lines:
        lines.hide(["hunter2hunter2", "short"])
        lines("token=hunter2hun")
        lines("ter2 short\n")
        lines("x" * 4090 + "hunter2")
        lines("hunter2" + "y" * 5000 + "\n")
        lines("z" * (output.LIMIT + 1) + "\nhunter2hunter2\n")
    text = "".join(said)
    assert "hunter2" not in text and "token=*** short" in text and text.rstrip().endswith("***")

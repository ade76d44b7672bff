"""The lines of a Dockerfile: what belongs together is joined, with the number of its beginning."""
from __future__ import annotations

import pytest

from windlass import exception
from windlass.client.dockerfile import lines


def texts(text: str) -> list[tuple[int, str]]:
    return [(line.number, line.text) for line in lines.split(text, "Dockerfile")]


def test_comments_and_empty_lines_are_nothing() -> None:
    assert texts("\n# one\n\nFROM a\n  # two\n\tRUN b  \n") == [(4, "FROM a"), (6, "RUN b")]


def test_a_comment_ends_where_its_line_ends_and_begins_only_there() -> None:
    assert texts("# x \\\nFROM a # no comment") == [(2, "FROM a # no comment")]


def test_lines_are_continued_across_comments_and_empty_lines() -> None:
    text = "RUN a && \\\n# comment\n\n  # another\n  b \\  \n && c\nRUN d"
    assert texts(text) == [(1, "RUN a &&   b  && c"), (7, "RUN d")]


def test_two_escapes_at_the_end_are_no_continuation() -> None:
    assert texts("RUN a \\\\\nRUN b") == [(1, "RUN a \\\\"), (2, "RUN b")]


def test_a_continuation_at_the_end_of_the_file_is_an_end() -> None:
    assert texts("RUN a \\\n") == [(1, "RUN a")] == texts("RUN a \\")


def test_lines_may_end_as_on_windows_and_begin_with_a_byte_order_mark() -> None:
    assert texts("\ufeffFROM a\r\nRUN b \\\r\n c\r\n") == [(1, "FROM a"), (2, "RUN b  c")]


def test_the_escape_character_can_be_chosen() -> None:
    found = lines.split("# syntax=docker/dockerfile:1\n# Escape = `\nRUN a `\nb\nRUN c:\\\n", "D")
    assert [line.text for line in found] == ["RUN a b", "RUN c:\\"] and found[0].escape == "`"


def test_a_directive_behind_a_comment_is_a_comment() -> None:
    assert lines.split("# a comment\n# escape=`\nRUN a", "D")[0].escape == "\\"
    with pytest.raises(exception.ImageBuildError, match="line 1"):
        lines.split("# escape=x\nRUN a", "D")


def test_heredocs_are_taken_out_of_run_copy_and_add() -> None:
    [run, more] = lines.split("RUN <<EOF\na\n\n # b\nEOF\nRUN c", "D")
    assert run.heredocs == (lines.Heredoc("EOF", "a\n\n # b\n", True),) and run.text == "RUN <<EOF"
    assert (more.number, more.text) == (6, "RUN c")


def test_heredocs_may_be_quoted_dedented_several_and_have_numbers() -> None:
    [line] = lines.split("COPY <<-'A' 3<<\"B\" /x/\n\t\tone\n\tA\ntwo\nA\nB", "D")
    assert line.heredocs == (lines.Heredoc("A", "one\n", False), lines.Heredoc("B", "two\nA\n", False))


@pytest.mark.parametrize(
    "text", ['RUN echo "<<EOF"', "RUN cat <<< word", "RUN echo $((1<<2))", "RUN echo $(( 1 << 2 ))", "ENV A=<<EOF"]
)
def test_what_only_looks_like_a_heredoc_is_none(text: str) -> None:
    assert lines.split(text, "D")[0].heredocs == ()


def test_a_heredoc_without_end_shows_its_line() -> None:
    with pytest.raises(exception.ImageBuildError, match=r"Dockerfile, line 2: .*<<EOF.*\n    RUN <<EOF") as caught:
        lines.split("FROM a\nRUN <<EOF\nx", "Dockerfile")
    assert "EOF" in caught.value.hint


def test_a_continued_line_may_have_a_heredoc() -> None:
    [line] = lines.split("RUN a \\\n <<EOF\nx\nEOF\n", "D")
    assert line.text == "RUN a  <<EOF" and line.heredocs[0].text == "x\n"


def test_long_lines_are_cut_in_errors() -> None:
    [line] = lines.split("RUN " + "x" * 1000, "D")
    assert len(str(line.fault("no"))) < 300

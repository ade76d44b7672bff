"""Whole Dockerfiles: instructions, stages, and errors that show the line."""
from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies

from windlass import exception
from windlass.client.dockerfile import instructions, lines, stages


def read(text: str, **build_args: str) -> stages.File:
    return stages.read(text, "Dockerfile", build_args)


def one(text: str) -> instructions.Instruction:
    return instructions.read(lines.split(text, "Dockerfile"))[0]


def test_flags_come_before_the_words() -> None:
    found = one("copy --from=a --chown=1:2 --link x --y z")
    assert (found.name, found.flags, found.rest) == ("COPY", {"from": ["a"], "chown": ["1:2"], "link": [""]}, "x --y z")
    assert one("RUN --mount=type=cache,target=/a --mount=target=/b make").flags["mount"] == [
        "type=cache,target=/a", "target=/b",
    ]  # fmt: skip
    assert one("ENTRYPOINT --help").rest == "--help"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('RUN ["a", "b c"]', ["a", "b c"]), ('CMD [ "a" ]', ["a"]), ("RUN [ -f x ]", None), ("RUN ['a']", None),
        ('RUN ["a", 1]', None), ('COPY ["a b", "/c"]', ["a b", "/c"]), ('ENV ["a"] b', None), ("CMD []", []),
        ("RUN " + "[" * 5000, None),
    ],
)  # fmt: skip
def test_a_json_list_of_strings_is_one_and_all_else_is_text(text: str, expected: list[str] | None) -> None:
    assert one(text).words == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ENV A=1 B='2 3'", [("A", "1"), ("B", "'2 3'")]), ("ENV A some  text", [("A", "some  text")]),
        ("ENV A=", [("A", "")]), ("ENV A=b=c", [("A", "b=c")]), ("ENV A = b", [("A", "= b")]),
    ],
)  # fmt: skip
def test_pairs_have_two_forms(text: str, expected: list[tuple[str, str]]) -> None:
    assert one(text).pairs() == expected


@pytest.mark.parametrize("text", ["ENV A", "ENV A=1 B", "ENV =1", "ENV A=1 =2"])
def test_pairs_without_value_or_name_are_refused(text: str) -> None:
    with pytest.raises(exception.ImageBuildError, match="line 1"):
        one(text).pairs()


def test_stages_are_found_by_name_number_and_reference() -> None:
    copies = "COPY --from=BUILD /x /\nCOPY --from=0 /x /\nCOPY --from=c:1 /x /\n"
    file = read(f"FROM a AS Build\nFROM b\n{copies}FROM build AS last\n")
    assert [stage.base for stage in file.stages] == ["a", "b", 0]
    assert file.stages[1].origins == {"BUILD": 0, "0": 0, "c:1": "c:1"}
    assert file.needed() == [0, 2], "what the last stage does not need is not built"


def test_needed_stages_are_found_through_others() -> None:
    file = read("FROM a AS a1\nFROM b AS b1\nCOPY --from=a1 / /\nFROM c AS c1\nFROM scratch\nCOPY --from=b1 / /\n")
    assert file.needed() == [0, 1, 3]


def test_global_variables_are_for_from_and_overridden_by_the_caller() -> None:
    text = "ARG V=1\nARG TAG=x-${V}\nFROM img:${TAG}\nARG V\n"
    assert read(text).stages[0].base == "img:x-1"
    assert read(text, V="2").stages[0].base == "img:x-2"
    assert read(text, TAG="t").stages[0].base == "img:t"


def test_the_platform_is_this_machines() -> None:
    machine = stages.machine()
    text = f"FROM --platform=$BUILDPLATFORM a\nFROM --platform=linux/{machine} a-$TARGETARCH"
    assert read(text).stages[1].base == f"a-{machine}"
    with pytest.raises(exception.ImageBuildError, match="platform linux/s390x"):
        read("FROM --platform=linux/s390x a")


def test_values_that_no_arg_declares_are_known() -> None:
    file = read("ARG A=1\nARG B\nFROM x\nARG C D=2\n")
    assert file.unused({"A": "", "C": "", "D": "", "E": "", "F": ""}) == ["E", "F"]
    assert read("ARG B\nFROM x\n", B="1").unused({"B": "1"}) == []


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("", 1, "no FROM"), ("# nothing\n", 1, "no FROM"), ("ARG A\n", 1, "no FROM"),
        ("RUN x\nFROM a", 1, "before the first FROM"), ("FROM a\n\nRUNN x", 3, "RUNN is no instruction"),
        ("FROM a\nONBUILD RUN x", 2, "ONBUILD is not supported"), ("FROM a\nSTOPSIGNAL 9", 2, "STOPSIGNAL is not"),
        ("FROM a\nVOLUME /x", 2, "VOLUME is not supported"), ("FROM", 1, "needs an argument"),
        ("FROM a b", 1, "AS name"), ("FROM a AS", 1, "AS name"), ("FROM a AS 1x", 1, "no name for a stage"),
        ("FROM a AS x\nFROM b AS X", 2, "already a stage"), ("ARG A\nFROM $A", 2, "names no image"),
        ("FROM ${A", 1, "substitution"), ("FROM a\nCOPY --parents x y", 2, "does not support --parents"),
        ("FROM a\nRUN --security=insecure x", 2, "--security"), ("FROM a AS x\nCOPY --from=x y z", 2, "own stage"),
        ("FROM a\nCOPY --from=0 y z", 2, "own stage"), ("FROM a\nCOPY --from=7 y z", 2, "no earlier stage 7"),
        ("FROM a\nCOPY --from=$x y z", 2, "no variables"), ("FROM a\nCOPY --from=a --from=b y z", 2, "twice"),
        ("ARG 1=2\nFROM a", 1, "ARG takes"), ("FROM a\nRUN", 2, "needs an argument"),
    ],
)  # fmt: skip
def test_an_error_shows_file_number_and_line(text: str, line: int, why: str) -> None:
    with pytest.raises(exception.ImageBuildError, match=why) as caught:
        read(text)
    assert f"Dockerfile, line {line}:" in str(caught.value)
    assert text.split("\n")[line - 1].strip() in str(caught.value)


def test_a_mistyped_instruction_is_guessed() -> None:
    with pytest.raises(exception.ImageBuildError) as caught:
        read("FROM a\nWORKDR /x")
    assert "WORKDIR" in caught.value.hint


def test_from_cannot_continue_an_image() -> None:
    with pytest.raises(exception.ImageBuildError, match="line 2: FROM cannot continue"):
        stages.read_commands("RUN x\nFROM a", "dockerfile_commands")


WORDS = strategies.sampled_from(
    ["FROM", "RUN", "COPY", "ADD", "ENV", "ARG", "AS", "scratch", "--from=0", "--mount=type=cache", "a", "$A",
     "${A:-b}", "<<EOF", "EOF",
     "\\", "\n", "\r\n", "\t", " ", '["x"]', "[", "# escape=`", "#", "'", '"', "=", "A=1", "FROM a\n"]
)  # fmt: skip
PIECES = strategies.one_of(WORDS, strategies.text(max_size=5))


@settings(max_examples=400)
@given(strategies.lists(PIECES, max_size=30).map("".join))
def test_any_text_is_understood_or_refused_with_a_line(text: str) -> None:
    try:
        file = read(text)
    except exception.ImageBuildError as exc:
        assert "Dockerfile, line " in str(exc)
    else:
        assert file.needed()[-1] == len(file.stages) - 1

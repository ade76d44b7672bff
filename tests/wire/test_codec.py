"""Frames survive any cut of the stream, and nothing else passes for a frame."""
from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from windlass import exception
from windlass.wire import codec

headers = st.fixed_dictionaries({"k": st.sampled_from("qsnrizec"), "i": st.integers(0, 2**40)})
frames = st.lists(st.tuples(headers, st.lists(st.binary(max_size=200), max_size=4)), max_size=5)


@given(frames, st.lists(st.integers(1, 50), max_size=30))
def test_frames_survive_any_cut_of_the_stream(sent, cuts):
    wire = b"".join(b"".join(bytes(p) for p in codec.pack(dict(h), a)) for h, a in sent)
    decoder, got, start = codec.Decoder(), [], 0
    for cut in [*cuts, len(wire)]:
        got += decoder.feed(wire[start : start + cut])
        start += cut
    got += decoder.feed(wire[start:])
    assert [(f.header["k"], f.header["i"], f.attachments) for f in got] == [(h["k"], h["i"], a) for h, a in sent]


@given(st.binary(min_size=8, max_size=300))
def test_noise_is_an_invalid_error_or_an_unfinished_frame(noise):
    try:
        for frame in codec.Decoder().feed(noise):
            assert isinstance(frame.header["k"], str)
    except exception.InvalidError:
        pass


@pytest.mark.parametrize("header", [b"[]", b"{}", b'{"k":1}', b"\xff", b"nul"])
def test_a_header_without_a_kind_is_refused(header):
    with pytest.raises(exception.InvalidError, match="malformed"):
        codec.Decoder().feed(codec.PREFIX.pack(len(header), 0) + header)


def test_lengths_beyond_the_limit_are_refused_before_they_are_buffered():
    with pytest.raises(exception.InvalidError, match="too large"):
        codec.Decoder().feed(codec.PREFIX.pack(codec.MAX_HEADER + 1, 0))


def test_attachment_sizes_must_add_up():
    head = json.dumps({"k": "n", "a": [5]}).encode()
    with pytest.raises(exception.InvalidError, match="add up"):
        codec.Decoder().feed(codec.PREFIX.pack(len(head), 3) + head + b"abc")


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 400_000), min_size=1, max_size=4),
    st.lists(st.integers(5_000, 300_000), min_size=1, max_size=9),
)
def test_large_attachments_survive_any_cut_of_the_stream(sizes, cuts):
    sent = [bytes([number + 1]) * size for number, size in enumerate(sizes)]
    frames = [codec.pack({"k": "r", "i": number}, [data, b"tail"]) for number, data in enumerate(sent)]
    stream = b"".join(bytes(piece) for frame in frames for piece in frame)
    decoder, found, start, turn = codec.Decoder(), [], 0, 0
    while start < len(stream):
        size = cuts[turn % len(cuts)]
        found += decoder.feed(stream[start : start + size])
        start, turn = start + size, turn + 1
    assert [frame.header["i"] for frame in found] == list(range(len(sent)))
    assert all(frame.attachments == [data, b"tail"] for frame, data in zip(found, sent, strict=True))


texts = st.text(st.characters(exclude_categories=()), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=12,
)  # fmt: skip


@settings(max_examples=40)
@given(st.dictionaries(texts, values, max_size=4))
def test_headers_are_written_as_the_standard_library_writes_them_and_read_again(header):
    data = codec.dumps(header)
    assert data == json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
    assert codec.loads(data) == codec.loads(b" " + data + b"\n") == header


def test_what_is_within_itself_or_is_no_json_is_refused():
    endless: list = []
    endless.append(endless)
    with pytest.raises(ValueError, match="Circular"):
        codec.dumps({"k": endless})
    for wrong in (b"", b" ", b"{} {}", b"{}x", b"[1,"):
        with pytest.raises(ValueError, match=r"Expecting|Extra"):
            codec.loads(wrong)

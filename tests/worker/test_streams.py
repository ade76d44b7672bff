"""A container's output: parsed, attributed, sent once, read to the end."""
from __future__ import annotations

import asyncio
import os

from windlass.worker import inotify, streams

STAMP = b"2026-11-23T22:12:48.500000000+00:00"


def line(text, *, source=b"stdout", partial=False):
    return b"%s %s %s %s\n" % (STAMP, source, b"P" if partial else b"F", text)


def texts(pieces):
    return [(piece["source"], piece["text"], piece["input_id"]) for piece in pieces]


def test_lines_keep_their_end_and_partial_ones_are_joined():
    pieces = streams.Parser().feed(line(b"one") + line(b"tw", partial=True) + line(b"o") + line(b"three", partial=True))
    assert texts(pieces) == [("stdout", "one\n", None), ("stdout", "two\n", None), ("stdout", "three", None)]
    assert pieces[0]["time"] == 1795471968.5


def test_lines_of_a_flood_share_pieces_and_none_is_lost():
    data = b"".join(line(b"%d" % n) for n in range(5000)) + line(b"other", source=b"stderr")
    pieces = streams.Parser().feed(data, flood=True)
    assert "".join(piece["text"] for piece in pieces[:-1]) == "".join(f"{n}\n" for n in range(5000))
    assert len(pieces) < 10 and texts(pieces)[-1] == ("stderr", "other\n", None)


def test_marks_are_stripped_and_attribute_what_follows_on_their_stream():
    parser = streams.Parser()
    pieces = parser.feed(
        line(b"before\x1ein-1\x1e") + line(b"of one") + line(b"other", source=b"stderr") + line(b"\x1ein-2\x1e")
    )
    assert texts(pieces) == [("stdout", "before", None), ("stdout", "of one\n", "in-1"), ("stderr", "other\n", None)]
    assert texts(parser.feed(line(b"of two"))) == [("stdout", "of two\n", "in-2")]
    assert texts(parser.feed(line(b"\x1e\x1e") + line(b"of none"))) == [("stdout", "of none\n", None)]


def test_both_streams_down_one_pipe_keep_their_order():
    data = b"".join(line(part) for part in (b"one", b"\x1e>2\x1e", b"\x1ein-1\x1e", b"two", b"\x1e>1\x1e", b"three"))
    assert texts(streams.Parser().feed(data)) == [
        ("stdout", "one\n", None), ("stderr", "two\n", "in-1"), ("stdout", "three\n", None),
    ]  # fmt: skip


def test_a_mark_that_arrives_in_pieces_is_still_a_mark():
    parser = streams.Parser()
    assert parser.feed(line(b"\x1ein", partial=True)) == []
    assert texts(parser.feed(line(b"-7\x1e") + line(b"text"))) == [("stdout", "text\n", "in-7")]


def test_the_users_own_control_characters_stay():
    assert texts(streams.Parser().feed(line(b"a\x1eb"))) == [("stdout", "a\x1eb\n", None)]


def test_characters_cut_in_two_are_made_whole_and_broken_lines_skipped():
    parser = streams.Parser()
    data = "ä".encode()
    pieces = parser.feed(line(b"x" + data[:1], partial=True) + line(data[1:] + b"y") + b"\0\0 stdout F z\n" + b"q\n")
    assert texts(pieces) == [("stdout", "xäy\n", None)]


def test_zones_are_minded():
    east = line(b"x").replace(b"+00:00", b"+02:00")
    assert streams.Parser().feed(east)[0]["time"] == 1795471968.5 - 7200


def test_a_tail_sends_all_to_the_end_and_goes_on_where_another_stopped(tmp_path):
    path, sent = tmp_path / "log", []

    async def send(offset, entries):
        sent.append((offset, "".join(entry["text"] for entry in entries)))

    async def scene():
        with inotify.Inotify() as watcher:
            async with streams.Tail(path, offset=0, watcher=watcher, send=send) as tail:
                with path.open("ab") as log:
                    for number in range(5000):
                        log.write(line(b"%d" % number))
                await tail.finish()
            assert "".join(text for _, text in sent) == "".join(f"{number}\n" for number in range(5000))
            assert sent[-1][0] == path.stat().st_size and tail.last.endswith("4999\n")
            with path.open("ab") as log:
                log.write(line(b"more"))
            seen = len(sent)
            async with streams.Tail(path, offset=sent[-1][0], watcher=watcher, send=send) as tail:
                await tail.finish()
            assert [text for _, text in sent[seen:]] == ["more\n"]

    asyncio.run(asyncio.wait_for(scene(), 10))


def test_what_was_sent_takes_no_space_and_a_forgetful_server_gets_what_is_left(tmp_path):
    path, sent = tmp_path / "log", []

    async def send(offset, entries):
        sent.extend(entry["text"] for entry in entries)

    async def scene():
        path.write_bytes(line(b"x" * 100) * 5000)
        with inotify.Inotify() as watcher:
            async with streams.Tail(path, offset=0, watcher=watcher, send=send) as tail:
                await tail.finish()
            if os.stat(path).st_blocks * 512 > 100_000:
                return  # this file system has no holes
            sent.clear()
            with path.open("ab") as log:
                log.write(line(b"last"))
            async with streams.Tail(path, offset=0, watcher=watcher, send=send) as tail:
                await tail.finish()
            assert sent[-1] == "last\n"

    asyncio.run(asyncio.wait_for(scene(), 10))

"""Digests of pieces: one thread that reads all, and several that share the pieces, find the same."""

from __future__ import annotations

import hashlib
import os

import pytest

from windlass.kit import digests


@pytest.mark.parametrize("size", [0, 1, digests.PIECE - 1, digests.PIECE, digests.PIECE + 1, 2 * digests.PIECE])
def test_who_reads_in_order_finds_what_those_find_who_share_the_pieces(size):
    data = os.urandom(size)
    shared = digests.of_pieces(
        hashlib.sha256(data[at : at + digests.PIECE]).digest() for at in range(0, size, digests.PIECE)
    )
    reading = digests.Reading(shared)
    for at in range(0, size, 5_000_011):  # no divisor of a piece
        reading.update(data[at : at + 5_000_011])
    assert reading.digest() == shared


def test_a_digest_of_all_bytes_is_sha256s():
    reading = digests.Reading()
    reading.update(b"one")
    reading.update(b"two")
    assert reading.digest() == f"sha256:{hashlib.sha256(b'onetwo').hexdigest()}"


def test_no_file_of_the_pieces_digests_has_the_name_of_their_file():
    """Else who uploads it first would decide what others find below that name."""
    pieces = [hashlib.sha256(one).digest() for one in (b"one", b"two")]
    for taken in ([], pieces[:1], pieces):
        forged = digests.Reading()
        forged.update(b"".join(taken))
        assert digests.name(forged.digest()) != digests.name(digests.of_pieces(taken))


@pytest.mark.parametrize("text", ["", "sha256:", "md5:" + "a" * 64, "pieces:../" + "a" * 61, "a" * 64, "sha256:a"])
def test_what_is_no_digest_names_nothing(text):
    assert digests.name(text) == ""


def test_both_kinds_have_names():
    assert digests.name("pieces:" + "a" * 64) == digests.name("sha256:" + "a" * 64) == "a" * 64

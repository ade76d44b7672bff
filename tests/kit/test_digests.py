"""Digests of pieces: one thread that reads all, and several that share the pieces, find the same."""

from __future__ import annotations

import hashlib
import os

import blake3
import pytest

from windlass.kit import digests

HASHES = {digests.PIECES: hashlib.sha256, digests.BLAKE3: blake3.blake3}


def reading(like: str = digests.WHOLE) -> digests.Reading:
    return digests.Reading(like, blake3.blake3)


@pytest.mark.parametrize("kind", HASHES)
@pytest.mark.parametrize("size", [0, 1, digests.PIECE - 1, digests.PIECE, digests.PIECE + 1, 2 * digests.PIECE])
def test_who_reads_in_order_finds_what_those_find_who_share_the_pieces(kind, size):
    data = os.urandom(size)
    shared = digests.of_pieces(
        (HASHES[kind](data[at : at + digests.PIECE]).digest() for at in range(0, size, digests.PIECE)), kind
    )
    found = reading(shared)
    for at in range(0, size, 5_000_011):  # no divisor of a piece
        found.update(data[at : at + 5_000_011])
    assert found.digest() == shared


def test_a_digest_of_all_bytes_is_sha256s():
    found = reading()
    found.update(b"one")
    found.update(b"two")
    assert found.digest() == f"sha256:{hashlib.sha256(b'onetwo').hexdigest()}"


def test_digests_that_were_stored_once_are_found_out_for_ever():
    """Written down when there was content with them: layers keep them for as long as a version is kept."""
    for kind, stored in {
        digests.WHOLE: "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        digests.PIECES: "pieces:9086bc4e63ac89d58b0af8d3850536f41d3a850f6101db3a656c22a678a60f5e",
        digests.BLAKE3: "blake3-pieces:fe87f288bd5b2e3ca1615d5fa1d4ca33c3ee96447089e215b71000dcfebe9893",
    }.items():
        found = reading(kind)
        found.update(b"abc")
        assert found.digest() == stored


def test_no_file_of_the_pieces_digests_has_the_name_of_their_file():
    """Else who uploads it first would decide what others find below that name."""
    for kind, begin in HASHES.items():
        pieces = [begin(one).digest() for one in (b"one", b"two")]
        for taken in ([], pieces[:1], pieces):
            forged = reading()
            forged.update(b"".join(taken))
            assert digests.name(forged.digest()) != digests.name(digests.of_pieces(taken, kind))


def test_pieces_of_one_kind_do_not_pass_for_those_of_another():
    names = {digests.name(digests.of_pieces([b"x" * 32], kind)) for kind in HASHES}
    assert len(names) == len(HASHES)


@pytest.mark.parametrize("text", ["", "sha256:", "md5:" + "a" * 64, "pieces:../" + "a" * 61, "a" * 64, "sha256:a"])
def test_what_is_no_digest_names_nothing(text):
    assert digests.name(text) == ""


@pytest.mark.parametrize("kind", [digests.WHOLE, *HASHES])
def test_all_kinds_have_names(kind):
    assert digests.name(kind + "a" * 64) == "a" * 64

"""Conversations in packets."""

from __future__ import annotations

import errno
import json
import socket

import pytest

from windlass.worker import packets


def test_what_is_more_than_a_packet_is_refused_and_the_conversation_goes_on():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * packets.PACKET)
    talk = packets.Conversation(ours, told=lambda body: True, over=lambda: None)
    with theirs, ours:
        with pytest.raises(OSError) as caught:
            talk.say({"id": "ex-1", "environment": "x" * packets.PACKET})
        assert caught.value.errno == errno.EMSGSIZE and talk.open
        talk.say({"id": "ex-2"})
        assert json.loads(theirs.recv(packets.PACKET)) == {"id": "ex-2"}

"""One question without an event loop."""
from __future__ import annotations

import socket
import subprocess
import sys
import threading

import pytest

from windlass import exception, wire
from windlass.cli import ask
from windlass.client import address, direct
from windlass.wire import codec


def test_a_short_question_is_answered_without_an_event_loop(platform):
    served = platform(lambda x: x)
    code = (
        "import sys\nfrom windlass.cli import ask\n"
        "assert ask.request('node.list', {}) == {}\n"
        "heavy = {'asyncio', 'ssl', 'rich', 'subprocess'} & {*sys.modules}\nassert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert served.methods() == ["hello", "node.list"]


def test_what_the_platform_refuses_is_the_same_error_as_in_a_session(platform):
    served = platform(lambda x: x)
    served.on_app_get = lambda incoming, body: incoming.fail(exception.NotFoundError("no such app", hint="look"))
    where = address.of_process()
    with pytest.raises(exception.NotFoundError, match="no such app") as caught:
        direct.request(where.socket, where.hello, "app.get", {})
    assert caught.value.hint == "look"


def test_a_release_too_far_away_is_refused_before_anything_is_asked(tmp_path):
    asked = []

    def serve(listening: socket.socket) -> None:
        end, _ = listening.accept()
        decoder = codec.Decoder()
        with end:
            while data := end.recv(65536):
                for frame in decoder.feed(data):
                    asked.append(frame.header["m"])
                    reply = {"protocol": 99, "version": "9.9.9"}
                    end.sendall(b"".join(codec.pack({"k": codec.REPLY, "i": 1, "b": reply})))

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen()
        serving = threading.Thread(target=serve, args=(listening,))
        serving.start()
        with pytest.raises(exception.VersionError, match="9\\.9\\.9"):
            direct.request(str(tmp_path / "s"), address.greeting(), "app.stop", {})
        serving.join(10)
    assert asked == ["hello"]


def test_only_a_reply_to_the_question_is_its_answer_wherever_in_the_bytes_it_comes(tmp_path):
    def frame(**header: object) -> bytes:
        return b"".join(codec.pack(dict(header)))

    def serve(listening: socket.socket) -> None:
        end, _ = listening.accept()
        decoder, asked = codec.Decoder(), 0
        with end:
            while asked < 2 and (data := end.recv(65536)):
                for hello in decoder.feed(data):
                    asked += 1
                    greeting = {"protocol": wire.PROTOCOL, "version": "1.0.0"}
                    if asked == 1:
                        known = hello.header["i"]
                        begun = frame(k=codec.NOTICE, i=known, m="news", b="no answer")
                        late = frame(k=codec.REPLY, i=known, b="of another")
                        # With the greeting comes the answer, whose number can be known.
                        answer = frame(k=codec.REPLY, i=known + 1, b="the answer")
                        end.sendall(begun + frame(k=codec.REPLY, i=known, b=greeting) + late + answer)

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen()
        serving = threading.Thread(target=serve, args=(listening,))
        serving.start()
        found = direct.request(str(tmp_path / "s"), address.greeting(), "node.list", {}, timeout=5)
        serving.join(10)
    assert found == "the answer"


def test_an_answered_timeout_is_an_answer_and_not_asked_again(platform):
    served = platform(lambda x: x)
    served.on_node_list = lambda incoming, body: incoming.fail(exception.TimeoutError("it took too long"))
    with pytest.raises(exception.TimeoutError, match="it took too long"):
        ask.request("node.list", {})
    assert served.methods() == ["hello", "node.list"]


def test_a_question_whose_connection_is_lost_is_asked_again_in_a_session(platform, monkeypatch):
    served = platform(lambda x: x)

    def lost(*args: object, **options: object) -> None:
        raise ConnectionResetError

    monkeypatch.setattr(direct, "request", lost)
    monkeypatch.setenv("WINDLASS_SERVER_URL", f"unix:{address.of_process().socket}")  # which is not to be started
    assert ask.request("node.list", {}) == {} and "node.list" in served.methods()

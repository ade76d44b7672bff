"""``app.server``: a program in real containers, asked over HTTP."""
from __future__ import annotations

import http.client
import time
from concurrent import futures

import pytest

import windlass
from programs import served
from stage import until


@pytest.fixture(scope="module", autouse=True)
def running(stage):
    with served.app.run():
        yield


def ask(server: windlass.Server, path: str = "/", **headers: str) -> tuple[int, str]:
    host = server.get_url().partition("://")[2]
    connection = http.client.HTTPConnection("127.0.0.1", int(host.rpartition(":")[2]), timeout=30)
    connection.request("GET", path, headers={"Host": host, **{k.replace("_", "-"): v for k, v in headers.items()}})
    response = connection.getresponse()
    found = response.status, response.read().decode()
    connection.close()
    return found


def answered(server: windlass.Server, path: str = "/", **headers: str) -> str:
    """What a container says, once one is ready."""
    return until(lambda: (lambda got: got[1] if got[0] == 200 else "")(ask(server, path, **headers)), 30, "an answer")


def test_requests_do_not_wait_and_more_of_them_get_more_containers(stage):
    status, text = ask(served.Served)
    assert status == 503 and "is being started" in text
    first = answered(served.Served)
    assert first.startswith("ta-")
    with futures.ThreadPoolExecutor(4) as pool:

        def both() -> bool:
            found = pool.map(lambda _: ask(served.Served, "/slow"), range(4))
            return len({name for status, name in found if status == 200}) == 2

        until(both, 30, "two containers")
        statuses = sorted(status for status, _ in pool.map(lambda _: ask(served.Served, "/slow"), range(4)))
        assert statuses == [200] * 4


def test_a_session_stays_at_its_container():
    names = {str(n): {answered(served.Served, Modal_Session_ID=str(n)) for _ in range(3)} for n in range(12)}
    assert all(len(found) == 1 for found in names.values())
    assert len(set.union(*names.values())) == 2


def test_a_program_that_ends_takes_its_container_with_it_and_others_go_on(stage):
    gone = answered(served.Served, Modal_Session_ID="x")
    assert ask(served.Served, "/die", Modal_Session_ID="x")[0] == 502
    begun = time.monotonic()
    until(lambda: answered(served.Served, Modal_Session_ID="x") != gone, 20, "another container")
    assert time.monotonic() - begun < 15
    until(lambda: "takes no connections any more" in stage.cli("app", "logs", served.app.app_id).text, 10, "the log")


def test_it_can_be_looked_at_and_its_target_changed():
    info = served.Served.info()
    assert info.port == 8000 and info.unauthenticated and info.server_url == served.Served.get_url()
    now = served.Served.update_autoscaler(target_concurrency=2, scaleup_window=1)
    assert now["target_concurrency"] == 2 and now["scaleup_window"] == 1
    assert served.app.info().servers.keys() == {"Served", "guarded"}
    assert served.Served.metrics.current().num_total_runners >= 1
    assert served.Served.metrics.fetch().inputs >= 1
    found = windlass.Server.from_id(served.Served.object_id)
    assert found.get_url() == served.Served.get_url()


def test_without_a_token_a_server_answers_nobody():
    assert ask(served.Guarded)[0] == 401

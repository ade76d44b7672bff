"""``@clustered`` says what is wrong where it stands; outside of containers there is no cluster."""

from __future__ import annotations

import pytest

import windlass
from windlass import about, exception, experimental
from windlass.client import here


def work() -> None: ...


class Two:
    @windlass.method()
    def one(self): ...
    @windlass.method()
    def other(self): ...


class Below:
    @windlass.method()
    @windlass.clustered(size=2)
    def one(self): ...


class One:
    @windlass.method()
    def one(self): ...


@pytest.mark.parametrize("size", [0, -1, 257, True, 2.0, "2", None])
def test_a_size_that_is_none_is_refused(size):
    with pytest.raises(exception.InvalidError, match="size must be an integer from 1 to 256"):
        windlass.clustered(size=size)
    with pytest.raises(exception.InvalidError, match="size must be"):
        experimental.clustered(size)


def test_what_the_old_name_had_beside_is_checked():
    with pytest.raises(exception.UnimplementedError, match="broadcast=False"):
        experimental.clustered(2, broadcast=False)
    with pytest.raises(exception.InvalidError, match="rdma must be True or False"):
        windlass.clustered(size=2, rdma="yes")
    function = windlass.App("a").function()(experimental.clustered(3, True, False)(work))
    assert function._asked["cluster"] == {"size": 3, "rdma": False}


def test_a_clustered_function_has_the_private_network_by_itself():
    function = windlass.App("a").function(max_containers=4)(windlass.clustered(size=4)(work))
    assert function._options.i6pn and not windlass.App("b").function()(work)._options.i6pn


@pytest.mark.parametrize(
    ("options", "decorator", "error"),
    [
        ({"block_network": True}, None, "no network between"),
        ({"max_containers": 1}, None, "max_containers=1"),
        ({}, windlass.concurrent(max_inputs=2), "one call at a time"),
        ({}, windlass.asgi_app(), "no web requests"),
        ({}, windlass.clustered(size=2), "twice"),
    ],
)  # fmt: skip
def test_what_cannot_be_clustered_is_refused_where_it_stands(options, decorator, error):
    with pytest.raises(exception.InvalidError, match=error):
        marked = windlass.clustered(size=2)(work)
        windlass.App("a").function(**options)(decorator(marked) if decorator else marked)


def test_a_clustered_class_has_at_most_one_method_and_the_decorator_on_top():
    app = windlass.App("a")
    with pytest.raises(exception.InvalidError, match="at most one method, not 2"):
        app.cls()(windlass.clustered(size=2)(Two))
    with pytest.raises(exception.InvalidError, match=r"(?s)stands on the method 'one'.*on the class"):
        app.cls()(Below)
    app.cls()(windlass.clustered(size=2)(One))
    assert app.registered_functions["One.*"]._options.i6pn
    with pytest.raises(exception.InvalidError, match="@clustered has no place on a server"):
        app.server()(windlass.clustered(size=2)(One))


def test_outside_of_a_cluster_there_is_no_context():
    for ask in (windlass.Cluster.from_context, experimental.get_cluster_info):
        with pytest.raises(exception.InvalidError, match="does not run in a container of a cluster"):
            ask()
    with pytest.raises(exception.InvalidError, match="not an id of a cluster"):
        windlass.Cluster.from_id("fu-0000000000000000000000")


def test_a_container_knows_its_cluster_without_asking(monkeypatch):
    plan = {"cluster_id": "cu-" + "0" * 22, "rank": 1}
    plan |= {"containers": ["ta-0", "ta-1"], "addresses": ["fdaa::1", "fdaa::2"]}
    monkeypatch.setattr(here, "plan", {"container_id": "ta-1", "cluster": plan})
    cluster = windlass.Cluster.from_context()
    assert cluster.object_id == plan["cluster_id"] and cluster.is_hydrated
    assert (cluster.container_rank(), cluster.container_rank("ta-0")) == (1, 0)
    assert cluster.container_ids() == plan["containers"] and cluster.container_ips() == plan["addresses"]
    assert experimental.get_cluster_info() == (1, plan["cluster_id"], plan["addresses"])
    with pytest.raises(exception.InvalidError, match="'ta-7' is none of the containers"):
        cluster.container_rank("ta-7")
    with pytest.raises(exception.UnimplementedError, match="IPv4"):
        cluster.container_ips("ipv4")
    with pytest.raises(exception.InvalidError, match="family"):
        cluster.container_ips("ipx")


def test_sessions_that_clients_begin_are_refused_with_what_there_is_instead():
    with pytest.raises(exception.UnimplementedError, match=r"(?s)@sessioned.*Modal-Session-ID"):
        windlass.sessioned()(type("Site", (), {}))
    with pytest.raises(exception.InvalidError, match="stands on a class"):
        windlass.sessioned()(work)


def test_what_a_function_is_tells_of_its_cluster():
    from server.fakes import SPEC

    spec = {**SPEC, "cluster": {"size": 4, "rdma": False}}
    assert about.function({"spec": spec}).cluster_info == about.FunctionInfo.ClusterInfo(4, False, None)
    assert about.function({"spec": SPEC}).cluster_info is None

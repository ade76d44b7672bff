"""Proxies as the server keeps them, and what workers are told of a container's network."""

from __future__ import annotations

import fakes
import pytest
from test_containers_life import keep, until

from windlass import exception
from windlass.kit import ids


class Gate(fakes.Worker):
    """A worker whose machine has two addresses, or says why it has none."""

    addresses = ("192.0.2.1", "192.0.2.2")
    why = ""

    def _serve(self, incoming) -> None:
        if incoming.method == "network.addresses":
            incoming.reply({"addresses": list(self.addresses), "why": self.why})
        super()._serve(incoming)


async def make(client, name: str = "bank", addresses=("192.0.2.2",), **more) -> dict:
    return await client.request("proxy.create", name=name, addresses=list(addresses), **more)


def test_proxies_have_names_in_environments_and_addresses_of_the_machine(play):
    async def scene(platform):
        client = await platform.client()
        with pytest.raises(exception.UnimplementedError, match="no worker is connected"):
            await make(client)
        gate = await Gate(platform.home, keep).start()
        made = await make(client)
        assert made["addresses"] == ["192.0.2.2"] and ids.is_id(made["proxy_id"], "pr")
        with pytest.raises(exception.AlreadyExistsError):
            await make(client)
        with pytest.raises(exception.InvalidError, match=r"192\.0\.2\.9"):
            await make(client, "other", ["192.0.2.9"])
        for bad in ("", "a/b", "x" * 65, ids.new("pr")):
            with pytest.raises(exception.InvalidError):
                await make(client, bad)
        gate.addresses, gate.why = (), "containers leave through slirp4netns"
        with pytest.raises(exception.UnimplementedError, match="slirp4netns"):
            await make(client, "other")
        await client.request("environment.create", name="dev")
        with pytest.raises(exception.NotFoundError, match="no proxy 'bank'"):
            await client.request("proxy.get", name="bank", environment="dev")
        assert (await client.request("proxy.get", name="bank"))["proxy_id"] == made["proxy_id"]
        await client.request("proxy.delete", proxy_id=made["proxy_id"])
        assert (await client.request("proxy.list"))["proxies"] == []

    play(scene)


def test_a_container_is_planned_with_its_lists_its_address_and_its_group(play):
    async def scene(platform):
        worker = await Gate(platform.home, keep).start()
        client = await platform.client()
        made = await make(client)
        lists = {"outbound_cidrs": ["203.0.113.0/24"], "outbound_domains": []}
        function = await client.app(**lists, proxy=made["proxy_id"], i6pn=True)
        await client.create(function, [1])
        await until(lambda: worker.plans)
        network = worker.plans[0]["network"]
        assert network["cidrs"] == ["203.0.113.0/24"] and network["domains"] == []
        assert network["source"] == "192.0.2.2"
        assert network["address"].startswith("fdaa:") and network["group"] == worker.plans[0]["app_id"]

    play(scene)


def test_a_function_that_names_no_proxy_that_is_or_a_list_that_is_none_is_refused(play):
    async def scene(platform):
        await Gate(platform.home, keep).start()
        client = await platform.client()
        with pytest.raises(exception.NotFoundError, match="proxy"):
            await client.app(proxy=ids.new("pr"))
        with pytest.raises(exception.InvalidError, match="outbound_cidrs"):
            await client.app(outbound_cidrs=["everywhere"])
        with pytest.raises(exception.InvalidError, match="block_network"):
            await client.app(outbound_domains=[], block_network=True)

    play(scene)

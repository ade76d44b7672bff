"""Old versions of deployed apps: which go, what goes with them, and what is answered afterwards."""
from __future__ import annotations

import pytest
from fakes import SPEC
from test_containers_life import until

from windlass import exception
from windlass.kit import ids
from windlass.server.apply import retention
from windlass.server.decide import versions
from windlass.server.store import deployments

ONE, OTHER = ids.new("fu"), ids.new("fu")
IMAGES = [f"im-{n:022d}" for n in range(9)]


def history(*times: float) -> list[versions.Version]:
    """Of versions that were deployed at these times, newest first."""
    return [versions.Version(n, time) for n, time in reversed(list(enumerate(times, 1)))]


@pytest.mark.parametrize(
    ("times", "keep", "before", "used", "gone"),
    [
        ((), 2, 100.0, (), []),
        ((1.0,), 2, 100.0, (), []),
        ((1.0, 2.0, 3.0, 4.0), 2, 100.0, (), [2, 1]),
        ((1.0, 2.0, 3.0, 4.0), 2, 100.0, (1,), [2]),
        ((1.0, 2.0, 3.0, 4.0), 9, 100.0, (), []),
        ((1.0, 2.0, 30.0, 40.0), 2, 20.0, (), [1]),  # the second was current until the third came
        ((1.0, 20.0, 30.0, 40.0), 2, 10.0, (), []),
    ],
)
def test_the_newest_those_of_late_and_those_in_use_stay(times, keep, before, used, gone):
    assert versions.outlived(history(*times), keep=keep, before=before, used=used) == gone


def test_numbers_count_and_not_rows_so_that_a_kept_old_one_takes_no_place():
    sparse = [versions.Version(9, 9.0), versions.Version(8, 8.0), versions.Version(3, 3.0), versions.Version(2, 2.0)]
    assert versions.outlived(sparse, keep=3, before=100.0, used=(3,)) == [2]


def keep(args, kwargs, lease):
    return lease["spec"]["qualname"] if args[0] else NotImplemented


async def deploy(client, app: str, count: int, first: int = 0) -> None:
    for n in range(first, first + count):
        changed = {"qualname": f"v{n + 1}", "image_id": IMAGES[n]}
        await client.deploy(app, f=(ONE, changed), same=(OTHER, {"qualname": "same"}))


async def known(client, app: str) -> list[int]:
    return [one["version"] for one in (await client.request("app.history", app_id=app))["versions"]]


def test_versions_go_with_their_specs_and_images_and_what_is_left_is_whole(play):
    async def scene(platform):
        await platform.worker(keep)
        client, app = await platform.client(), ids.new("ap")
        await deploy(client, app, 5)
        core = platform.core
        retention.forget(core)
        core.turn.flush()
        assert await known(client, app) == [5, 4, 3]
        assert deployments.images(core.db) == {SPEC["image_id"], *IMAGES[2:5]}
        n = core.world.apps[app].n
        assert len(deployments.spec_keys(core.db, n)) == 4, "three of one function, one of the other"
        for version in (1, 2):
            with pytest.raises(exception.NotFoundError, match="too old"):
                await client.request("app.return", app_id=app, deploy_id=ids.new("de"), version=version)
            with pytest.raises(exception.NotFoundError, match="too old"):
                await client.request("function.get", app_name="shop", tag="f", version=version)
        reply = await client.request("app.return", app_id=app, deploy_id=ids.new("de"), version=3)
        assert reply["version"] == 6
        while (await client.run(ONE, [1]))[0]["data"] != "v3":
            pass
        await platform.stop()
        await platform.start()
        client = await platform.client()
        assert await known(client, app) == [6, 5, 4, 3]
        assert (await client.request("function.get", app_name="shop", tag="same"))["function_id"] == OTHER

    play(scene, keep_versions=3, keep_failed=0.0)


def test_what_was_current_a_while_ago_stays_for_replays(play):
    async def scene(platform):
        client, app = await platform.client(), ids.new("ap")
        await deploy(client, app, 5)
        retention.forget(platform.core)
        assert await known(client, app) == [5, 4, 3, 2, 1]

    play(scene, keep_versions=2)


def test_a_version_that_somebody_stays_with_is_kept_as_long_as_it_works(play):
    async def scene(platform):
        worker = await platform.worker(keep)
        client, app = await platform.client(), ids.new("ap")
        await deploy(client, app, 1)
        pinned = (await client.request("function.get", app_name="shop", tag="f", version=1))["function_id"]
        call = await client.create(pinned, [0])
        await until(lambda: any(r.held for r in worker.runners.values()))
        await deploy(client, app, 3, first=1)
        retention.forget(platform.core)
        assert await known(client, app) == [4, 3, 1]
        (runner,) = [r for r in worker.runners.values() if r.held]
        outputs = [{"input_id": i, "attempt": a, "status": "success", "seconds": 1.0} for i, a in runner.held.items()]
        await runner.peer.request("runner.outputs", {"outputs": outputs})
        assert [o["status"] for o in await client.outputs(call)] == ["success"]
        await worker.exit(runner.plan["container_id"], {"reason": "exited", "exit_code": 0})
        retention.forget(platform.core)
        assert await known(client, app) == [4, 3]
        with pytest.raises(exception.NotFoundError, match=r"version 1 .* too old"):
            await client.run(pinned, [1])
        with pytest.raises(exception.NotFoundError, match="too old"):
            await client.request("function.get", app_name="shop", tag="f", version=1)

    play(scene, keep_versions=2, keep_failed=0.0)


def test_an_old_container_that_still_works_is_known_also_after_a_restart(play):
    async def scene(platform):
        worker = await platform.worker(keep)
        client, app = await platform.client(), ids.new("ap")
        await deploy(client, app, 1)
        await client.create(ONE, [0])
        await until(lambda: any(r.held for r in worker.runners.values()))
        await deploy(client, app, 4, first=1)
        retention.forget(platform.core)
        platform.core.turn.flush()
        await platform.stop()
        await platform.start()
        (old,) = [c for c in platform.core.world.functions[ONE].containers.values() if c.held]
        assert old.spec["qualname"] == "v1" and old.outdated

    play(scene, keep_versions=2, keep_failed=0.0)

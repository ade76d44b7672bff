"""What images begin with: a registry's image, a Debian, or nothing."""
from __future__ import annotations

from windlass import exception
from windlass.worker import userns
from windlass.worker.images import archives, base, cache, commands, contents, making, registry, slim

_NOISE = ("mount: ", "dmesg(1) may")  # mmdebstrap does without a mount that a user namespace refuses
_SKOPEO_NOISE = ("Getting image source", "Storing signatures", "Writing manifest")

NOISE = (*_NOISE, *_SKOPEO_NOISE)
"""How lines begin that help nobody."""


async def make(shop: making.Shop, job: making.Job) -> cache.Record:
    """The record of the base. Raises ``ImageBuildError``."""
    kind = job.recipe.get("base")
    if kind == "scratch":
        return contents.described({}, layers=[], size=0)
    if kind == "registry":
        return await registry.pull(
            job.recipe.get("tag", ""), layers=shop.layers, draft=job.draft, access=making.access(shop, job),
            secrets=job.plan["secrets"] or None, log=job.log, timeout=job.timeout,
        )  # fmt: skip
    if kind == "debian_slim":
        return await _slim(shop, job)
    raise exception.ImageBuildError(f"this worker does not know the base {kind!r}")


async def _slim(shop: making.Shop, job: making.Job) -> cache.Record:
    series = job.recipe.get("python", "")
    official = await shop.slim.pulled(
        series, layers=shop.layers, draft=job.draft, access=making.access(shop, job), log=job.log
    )
    if official is not None:
        await commands.run(shop, job, official)
        return making.grown(official, job)
    await _bootstrap(shop, job, series)
    return making.grown(slim.empty(), job)


async def _bootstrap(shop: making.Shop, job: making.Job, series: str) -> None:
    host = job.host
    try:
        release = base.release(series, host.mirrors)
    except exception.ImageBuildError as exc:
        raise slim.impossible(series, shop.slim.why_not(series, host.environ), exc) from exc
    finish, options = job.draft.aside() / "finish", job.draft.aside() / "apt.conf"
    finish.write_text(base.finishing(release, uv=shop.tools / "uv"))
    finish.chmod(0o755)
    options.write_text(base.apt_options(host.settings, folder=shop.tools))
    line = base.command(job.draft.tree(), release, options=options, finish=finish)
    place = archives.open_address(release.mirror.main)
    job.log(f"Making debian_slim with Python {series} from {place}, {release.suite}\n")
    run = userns.run(
        line, namespace=shop.namespace, env=base.environment(host.settings, host.environ), log=job.log,
        timeout=job.timeout,
    )  # fmt: skip
    making.check(await run)

"""What a step that runs something sees beside the image, and whose it is."""
from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from windlass import exception
from windlass.wire.messages import images
from windlass.worker import spec
from windlass.worker.images import cache, copying, owners, projects, rooted, script, stack


def user(recipe: images.Recipe, parent: cache.Record, layers: Sequence[Path]) -> owners.User:
    """Who runs the step: the image's USER for commands, root for whatever installs. Raises ``InvalidError``."""
    name = parent.get("user", "")
    if recipe.get("op") != "run" or not name:
        return owners.ROOT
    return owners.user(name, stack.Texts(layers))


async def binds(
    recipe: images.Recipe, draft: cache.Draft, *, workdir: str, user: owners.User, trees: copying.Trees
) -> list[spec.Bind]:
    """Files that the step sees and the layer does not hold."""
    found: list[spec.Bind] = []
    for place, texts in ((script.REQUIREMENTS, script.files(recipe)), (projects.FILES, projects.files(recipe))):
        for name, text in texts.items():
            (draft.aside(place.rpartition("/")[2]) / name).write_text(text, "utf-8")
        found += [spec.Bind(draft.aside(place.rpartition("/")[2]), place)] if texts else []
    if recipe.get("script"):
        program = draft.aside() / "program"
        program.write_text(recipe["script"])
        program.chmod(0o755)
        found.append(spec.Bind(program, script.PROGRAM))
    for number, path in enumerate(recipe.get("scratch", [])):
        folder = _scratch(draft.aside() / f"scratch-{number}", user)
        found.append(spec.Bind(folder, copying.absolute(path, workdir).rstrip("/"), writable=True))
    for bind in recipe.get("binds", []):
        found.append(spec.Bind(await _source(bind, trees), copying.absolute(bind["path"], workdir).rstrip("/")))
    return found


def _scratch(folder: Path, user: owners.User) -> Path:
    """An empty folder of that user."""
    folder.mkdir()
    folder.chmod(0o755)
    if os.geteuid() == 0:
        os.chown(folder, cache.CONTAINER_ROOT + user.uid, cache.CONTAINER_ROOT + user.gid)
    return folder


async def _source(bind: images.RecipeBind, trees: copying.Trees) -> Path:
    tree = await trees.tree(bind["mount"])
    with rooted.at(tree) as root:
        if root.state(bind["source"]) is None:
            raise exception.ImageBuildError(f"there is no {bind['source']!r} to be shown at {bind['path']}")
        with root.opened(bind["source"], os.O_PATH) as descriptor:
            return Path(f"/proc/self/fd/{descriptor}").readlink()

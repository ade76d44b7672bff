"""Real programs of people with tokens: all that a run needs is theirs to do, and nothing of others is."""
from __future__ import annotations

import json

PROGRAM = """
import modal

app = modal.App("team-work")
volume = modal.Volume.from_name("files", create_if_missing=True)

@app.function(secrets=[modal.Secret.from_dict({"K": "v"})], volumes={"/files": volume})
def work(x):
    import os
    notes = modal.Dict.from_name("notes", create_if_missing=True)
    notes[x] = os.environ["K"]
    open(f"/files/{x}", "w").write("x")
    try:
        modal.Dict.from_name("hidden", environment_name="vault").hydrate()
    except modal.exception.NotFoundError as exc:
        return f"{notes.len()} {exc}"
    return "seen"

@app.local_entrypoint()
def main():
    print("one:", work.remote(1))
    print("two:", *[len(text) for text in work.map([1, 2])])
"""


def test_a_contributor_of_a_closed_environment_works_there_and_a_viewer_looks(stage, program):
    path = program("team.py", PROGRAM)

    def token(name: str, role: str) -> dict[str, str]:
        made = json.loads(stage.cli("token", "create", name, "--role", role, "--json", check=0).out)[0]
        return {"WINDLASS_TOKEN_ID": made["token_id"], "WINDLASS_TOKEN_SECRET": made["secret"]}

    mia, vic = token("mia", "member"), token("vic", "viewer")
    for name in ("team", "vault"):
        stage.cli("environment", "create", name, "--restricted", check=0)
    stage.cli("dict", "create", "hidden", "-e", "vault", check=0)
    stage.cli("environment", "roles", "update", "team", "mia", "--role", "contributor", check=0)
    stage.cli("environment", "roles", "update", "team", "vic", "--role", "viewer", check=0)
    ran = stage.cli("run", "-e", "team", path, check=0, **mia)
    assert "one: 1 no environment 'vault'" in ran.out and "two: " in ran.out
    deployed = stage.cli("deploy", "-e", "team", path, check=0, **mia)
    assert "team-work" in deployed.text
    assert "team-work" in stage.cli("app", "list", "-e", "team", "--json", check=0, **vic).out
    assert "team-work" in stage.cli("app", "info", "team-work", "-e", "team", check=0, **vic).text
    stop = ("app", "stop", "team-work", "-e", "team", "-y")
    for words in (("run", "-e", "team", path), ("deploy", "-e", "team", path), stop):
        refused = stage.cli(*words, **vic)
        assert refused.code == 1 and "needs the role contributor in environment 'team'" in refused.err
        assert "Traceback" not in refused.err
    missing = stage.cli("run", "-e", "vault", path, **mia)
    assert missing.code == 1 and "no environment 'vault'" in missing.err
    stage.cli("environment", "delete", "team", "-y", check=0)
    stage.cli("environment", "delete", "vault", "-y")

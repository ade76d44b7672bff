"""``python -m windlass.cli.backups make|restore|finish HOME PLACE [--with-images]``: for `windlass server backup` of an
ordinary user, inside a user namespace where the files of containers can be read. Prints one JSON object.
"""
from __future__ import annotations

import json
import sys
from pathlib import Path

from windlass import exception
from windlass.cli.backups import making, restoring
from windlass.wire import status


def main(argv: list[str]) -> int:
    verb, home, place, *more = argv
    try:
        if verb == "make":
            said: object = making.make(Path(home), Path(place), images="--with-images" in more)._asdict()
        elif verb == "restore":
            said = restoring.restore(Path(place), Path(home))._asdict()
        else:
            said = restoring.finish(Path(home))
    except exception.Error as exc:
        print(json.dumps({"error": status.to_wire(exc)}))
        return 1
    print(json.dumps({"done": said}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Which releases understand each other.

A release that changes what a message means, or needs what older ones do not say, raises ``wire.PROTOCOL`` by one.
Clients and servers whose numbers differ by one at most work together, in the words of the older one: each adds fields
only as optional ones, ignores those that it does not know, and answers a method that it lacks with
``UnimplementedError``. What runs beside the server as a part of it, worker and runners, is always of the same number.
"""
from __future__ import annotations

from windlass import exception

REACH = {"user": 1, "container": 1}
"""How far the numbers of the two ends may differ, by the role of the one that connects; others: not at all."""


def spoken(own: int, theirs: object, role: str = "user") -> int | None:
    """The number that both ends use; None where they cannot understand each other."""
    if not isinstance(theirs, int) or abs(own - theirs) > REACH.get(role, 0):
        return None
    return min(own, theirs)


def refused(server: tuple[str, int], client: tuple[str, object]) -> exception.VersionError:
    """Why two ends do not work together, and which of them to upgrade. Each: release and protocol."""
    text = (
        f"the server (Windlass {server[0] or '?'}) speaks protocol {server[1]}, "
        f"this program (Windlass {client[0] or '?'}) protocol {client[1]}: they are too far apart"
    )
    if isinstance(client[1], int) and client[1] > server[1]:
        hint = "Upgrade Windlass on the machine of the server, then run `windlass server restart` there."
    else:
        hint = f"Upgrade Windlass in this environment to release {server[0] or 'of the server'}."
    return exception.VersionError(text, hint=hint)

"""``SchedulerPlacement``: wishes about where in a cloud a function runs."""
from __future__ import annotations

from windlass import exception

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class SchedulerPlacement:
    """Accepted, checked, and without effect: machines of your own have no regions, zones or prices that change.
    `windlass node list` says what exists; ``cpu``, ``memory`` and ``gpu`` say what a function needs of a machine.

    Args:
        region: a name or several.
        zone: a name.
        spot: whether a machine that may be taken away is acceptable.
        instance_type: a name or several.

    Raises:
        InvalidError: one of them is not what it should be.
    """

    def __init__(
        self,
        region: str | Sequence[str] | None = None,
        zone: str | None = None,
        spot: bool | None = None,
        instance_type: str | Sequence[str] | None = None,
    ) -> None:
        for name, given in (("region", region), ("zone", zone), ("instance_type", instance_type)):
            if not all(isinstance(one, (str, type(None))) for one in _several(given)):
                raise exception.InvalidError(f"{name} must be a string or a list of strings, not {given!r}")
        if not isinstance(spot, (bool, type(None))):
            raise exception.InvalidError(f"spot must be True or False, not {spot!r}")
        self.region, self.zone, self.spot, self.instance_type = region, zone, spot, instance_type


def _several(given: object) -> Sequence[object]:
    return given if isinstance(given, (list, tuple)) else [given]

"""Figures as text that Prometheus reads (format 0.0.4): written by hand, because it is a few lines of text."""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Page:
    """Families of figures, one after the other."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def family(self, name: str, kind: str, help: str, rows: Iterable[tuple[Mapping[str, str], float]]) -> None:
        """``kind``: "counter" or "gauge"; ``rows``: labels and value."""
        self._head(name, kind, help)
        self._lines += [f"{name}{_labels(labels)} {_number(value)}" for labels, value in rows]

    def histogram(
        self, name: str, help: str, rows: Iterable[tuple[Mapping[str, str], Sequence[float], Sequence[int], float]]
    ) -> None:
        """``rows``: labels, bounds, counts of each bucket and of what is beyond the last bound, sum."""
        self._head(name, "histogram", help)
        for labels, bounds, counts, total in rows:
            seen = 0
            for bound, count in zip((*(_number(one) for one in bounds), "+Inf"), counts, strict=True):
                seen += count
                self._lines.append(f"{name}_bucket{_labels({**labels, 'le': bound})} {seen}")
            self._lines.append(f"{name}_sum{_labels(labels)} {_number(total)}")
            self._lines.append(f"{name}_count{_labels(labels)} {seen}")

    def _head(self, name: str, kind: str, help: str) -> None:
        self._lines += [f"# HELP {name} {help}", f"# TYPE {name} {kind}"]

    def text(self) -> str:
        return "".join(f"{line}\n" for line in self._lines)


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(text: str) -> str:
    clean = text.encode("utf-8", "replace").decode()
    return clean.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) < 2**53 else repr(float(value))

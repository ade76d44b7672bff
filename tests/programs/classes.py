"""Classes of each form."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import windlass

app = windlass.App("test-classes")


def me() -> str:
    return os.environ["MODAL_TASK_ID"]


class Base:
    name: str = windlass.parameter(default="base")

    @windlass.enter()
    def base_enter(self) -> None:
        self.order = ["base"]

    @windlass.exit()
    def base_exit(self) -> None:
        print(f"exit base {self.name}")

    @windlass.method()
    def whoami(self) -> tuple[str, str]:
        return me(), self.name


@app.cls(scaledown_window=60)
class Model(Base):
    size: int = windlass.parameter(default=1)

    @windlass.enter()
    async def prepare(self) -> None:
        await asyncio.sleep(0)
        self.order.append("model")
        self.calls = 0

    @windlass.method()
    def seen(self) -> tuple[list[str], int, int]:
        self.calls += 1
        return self.order, self.size, self.calls

    @windlass.method()
    def add(self, x: int, y: int = 0) -> int:
        return x + y + self.size

    @windlass.method()
    def count(self, n: int) -> Iterator[int]:
        yield from range(n)

    @windlass.method()
    async def later(self, x: int) -> int:
        await asyncio.sleep(0.001)
        return x * self.size

    @windlass.method()
    async def acount(self, n: int) -> AsyncIterator[int]:
        for i in range(n):
            yield i * self.size

    @windlass.method()
    def elsewhere(self) -> tuple[str, str, str, int]:
        """Here, what another container says, and what this process says."""
        other, name = self.whoami.remote()
        assert name == self.name
        return me(), other, self.whoami.local()[0], self.add.remote(1)

    @windlass.method()
    def visit(self, method: Any, obj: Any) -> tuple[int, int]:
        return method.remote(1), obj.add.remote(2)

    @windlass.exit()
    async def leave(self) -> None:
        await asyncio.sleep(0.01)
        print(f"exit model {self.name} after {self.calls}")


@app.function()
def uses_model(size: int) -> int:
    return Model(size=size).add.remote(10)


@app.function()
def limits() -> tuple[str, str, float]:
    return me(), os.environ.get("MODE", ""), 0.0


@app.cls(scaledown_window=2)
class Brief:
    @windlass.method()
    def get(self) -> str:
        return me()

    @windlass.exit()
    def leave(self) -> None:
        time.sleep(0.5)
        print(f"left {me()}")


@app.cls()
class Raising:
    @windlass.enter()
    def prepare(self) -> None:
        raise FileNotFoundError("no weights here")

    @windlass.method()
    def get(self) -> None: ...


@app.cls(startup_timeout=2)
class Slow:
    @windlass.enter()
    def prepare(self) -> None:
        time.sleep(60)

    @windlass.method()
    def get(self) -> None: ...


@app.cls(min_containers=1)
class Warm:
    n: int = windlass.parameter()

    @windlass.method()
    def get(self) -> int:
        return self.n


@app.cls()
class Caller:
    @windlass.enter()
    def prepare(self) -> None:
        self.answer = Model(size=2).add.remote(40)
        self.doubled = self.double.local()

    @windlass.method()
    def double(self) -> int:
        return 2 * self.answer

    @windlass.method()
    def pass_on(self) -> int:
        return apply.remote(self.double)


@app.function()
def apply(method: Any) -> int:
    return int(method.remote())


def closure(base: int) -> Any:
    """A class that only exists in this process."""

    @app.cls(serialized=True)
    class Inner:
        x: int = windlass.parameter(default=2)

        @windlass.method()
        def get(self) -> int:
            return base + self.x

    return Inner


inner = closure(40)

"""A remote generator: values arrive while the function is still producing.

    windlass run examples/generator.py
"""
import time

import modal

app = modal.App("example-generator")


@app.function()
def collatz(n: int):
    """The steps from ``n`` down to 1."""
    while n != 1:
        yield n
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        time.sleep(0.01)
    yield 1


@app.function()
async def lines(text: str):
    """Async generators stream alike."""
    for number, line in enumerate(text.splitlines(), 1):
        yield f"{number}: {line}"


@app.local_entrypoint()
def main(n: int = 27):
    began, first, count = time.time(), 0.0, 0
    value = 0
    for value in collatz.remote_gen(n):  # noqa: B007 - the last one is looked at
        first = first or time.time() - began
        count += 1
    print(f"collatz({n}): {count} values, the first after {first:.2f} s, the last after {time.time() - began:.2f} s")
    for line in lines.remote_gen("to be\nor not to be"):
        print(line)
    assert value == 1

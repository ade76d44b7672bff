"""Squares, computed in containers: what is printed there appears here.

    windlass run examples/get_started.py
    windlass run examples/get_started.py --count 1000
"""
import sys

import modal

app = modal.App("example-get-started")


@app.function()
def square(x: int) -> int:
    if x % 2 == 0:
        print("hello", x)
    else:
        print("world", x, file=sys.stderr)
    return x * x


@app.local_entrypoint()
def main(count: int = 20):
    print("the square of 42 in this process:", square.local(42))
    print("the square of 42 in a container: ", square.remote(42))
    total = sum(square.map(range(count)))
    print(f"sum of the squares below {count}: {total}")
    assert total == sum(x * x for x in range(count))

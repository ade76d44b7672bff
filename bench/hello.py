"""The smallest program, for timing ``windlass run``."""
import modal

app = modal.App("bench-hello")


@app.function()
def hello() -> None:
    print("hello, world")

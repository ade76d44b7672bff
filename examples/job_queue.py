"""A job queue: spawn now, come back for the results later, by id.

    windlass run examples/job_queue.py
"""
import time

import modal

app = modal.App("example-job-queue")


@app.function(retries=modal.Retries(max_retries=2, initial_delay=1.0))
def render(frame: int) -> str:
    if frame == 3:
        raise ValueError(f"frame {frame} is damaged")
    time.sleep(0.3)
    return f"frame-{frame:04}.png"


def poll(call_id: str):
    """What a web server would do on each request: look, do not wait."""
    call = modal.FunctionCall.from_id(call_id)
    try:
        return call.get(timeout=0)
    except TimeoutError:
        return None


@app.local_entrypoint()
def main(frames: int = 6):
    jobs = {frame: render.spawn(frame).object_id for frame in range(frames)}
    print(f"submitted {len(jobs)} jobs")
    done: dict[int, str] = {}
    while len(done) < len(jobs):
        for frame, call_id in jobs.items():
            if frame in done:
                continue
            try:
                if (name := poll(call_id)) is not None:
                    done[frame] = name
                    print("done:", name)
            except ValueError as exc:
                done[frame] = f"failed: {exc}"
                print(f"frame {frame} failed after its retries: {exc}")
        time.sleep(0.1)
    assert sum(name.startswith("failed") for name in done.values()) == (1 if frames > 3 else 0)

"""Ray Serve's hello on a port of loopback, for ``bench/web.py``: ``python ray_serve_peer.py PORT``."""

from __future__ import annotations

import sys
import time

import fastapi
import ray
from ray import serve

site = fastapi.FastAPI()


@serve.deployment
@serve.ingress(site)
class Hello:
    @site.get("/")
    async def root(self):
        return {"hello": "world"}


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, logging_level="error", log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Hello.bind())
    while True:
        time.sleep(60)

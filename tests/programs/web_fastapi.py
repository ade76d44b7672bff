"""Web functions with FastAPI in their image, one without, and a function that forwards a port."""

import socket
import threading

import windlass

app = windlass.App("test-web-fastapi")
image = windlass.Image.debian_slim().pip_install("fastapi")


@app.function(image=image)
@windlass.fastapi_endpoint(docs=True, label="square")
def square(x: int) -> dict[str, int]:
    return {"square": x * x}


@app.function(image=image)
@windlass.fastapi_endpoint(method="POST", label="total")
async def total(item: dict[str, float]) -> float:
    return sum(item.values())


@app.function(image=image)
@windlass.concurrent(max_inputs=20)
@windlass.asgi_app(label="api")
def api():
    import fastapi
    from fastapi import responses

    site = fastapi.FastAPI()

    @site.get("/items/{name}")
    async def items(name: str, request: fastapi.Request, tasks: fastapi.BackgroundTasks):
        tasks.add_task(print, f"afterwards {name}", flush=True)
        return {"name": name, "root": request.scope["root_path"]}

    @site.get("/stream")
    async def stream():
        def pieces():
            for number in range(3):
                yield f"{number}\n"

        return responses.StreamingResponse(pieces(), media_type="text/plain")

    @site.websocket("/ws")
    async def echo(ws: fastapi.WebSocket):
        await ws.accept()
        await ws.send_json({"got": await ws.receive_json()})
        await ws.close()

    return site


@app.function()
@windlass.fastapi_endpoint(label="without")
def without() -> int:
    return 1


@app.function(timeout=60)
def forwards(over: windlass.Queue):
    listener = socket.create_server(("0.0.0.0", 9100))

    def serve() -> None:
        while True:
            client, _ = listener.accept()
            client.sendall(client.recv(1000).upper())
            client.close()

    threading.Thread(target=serve, daemon=True).start()
    with windlass.forward(9100, unencrypted=True) as tunnel, windlass.forward(9101, unencrypted=True) as silent:
        yield tunnel.tcp_socket, silent.tcp_socket, tunnel.url
        over.get(timeout=50)
    yield "closed", "closed", ""

"""A platform that answers calls in its own thread by running the functions right there: for tests of the client."""
from __future__ import annotations

import asyncio
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from windlass import paths, wire
from windlass.wire import peer


class Platform:
    """Listens where the client looks. ``run`` computes ``(status, value)`` for the arguments of each input."""

    def __init__(self, home: Path, run: Callable[[Any, Any], Any]) -> None:
        self.socket = paths.server_socket(home)
        self.socket.parent.mkdir(parents=True, exist_ok=True)
        self.run = run
        self.protocol = wire.PROTOCOL
        self.calls: dict[str, dict[int, bytes]] = {}
        self.closed: dict[str, int] = {}
        self.watchers: dict[str, list[tuple[peer.Incoming, dict[int, bool]]]] = {}
        self.seen: list[tuple[str, Any]] = []
        self.connections: list[peer.Peer] = []
        self.drop_after = 0
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._main, daemon=True)

    def __enter__(self) -> Platform:
        self.thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self.loop).result()
        return self

    def __exit__(self, *exc: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def methods(self) -> list[str]:
        return [method for method, _ in self.seen]

    def drop(self) -> None:
        """Lose all connections."""
        for link in self.connections:
            if link._transport is not None:
                link._transport.abort()
        self.connections.clear()

    # -- inside --

    def _main(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    async def _listen(self) -> None:
        self.server = await self.loop.create_unix_server(
            lambda: peer.Peer(self._serve, made=self.connections.append), str(self.socket)
        )

    async def _close(self) -> None:
        self.server.close()
        self.drop()
        await asyncio.sleep(0)

    def _serve(self, incoming: peer.Incoming) -> None:
        self.seen.append((incoming.method, incoming.body))
        handler = getattr(self, "on_" + incoming.method.replace(".", "_"), None)
        if handler is None:
            incoming.reply({})
        else:
            handler(incoming, incoming.body)

    def on_hello(self, incoming: peer.Incoming, body: Any) -> None:
        incoming.reply(
            {"version": "0", "protocol": self.protocol, "server_id": "s", "workspace": "w", "environment": "main"}
        )

    def on_call_create(self, incoming: peer.Incoming, body: Any) -> None:
        self._put(incoming, body)
        incoming.reply({})

    on_call_put = on_call_create

    def on_call_run(self, incoming: peer.Incoming, body: Any) -> None:
        self._put(incoming, body)
        self.on_call_outputs(incoming, body)

    def on_call_outputs(self, incoming: peer.Incoming, body: Any) -> None:
        self.watchers.setdefault(body["call_id"], []).append((incoming, {}))
        self._tell(body["call_id"])

    def on_call_get(self, incoming: peer.Incoming, body: Any) -> None:
        incoming.reply({"num_inputs": len(self.calls[body["call_id"]])})

    def _put(self, incoming: peer.Incoming, body: Any) -> None:
        inputs = self.calls.setdefault(body["call_id"], {})
        for item in body["inputs"]:
            inputs.setdefault(item["index"], incoming.attachments[item["payload"]["at"]])
        if body["closed"]:
            self.closed[body["call_id"]] = len(inputs)
        self._tell(body["call_id"])

    def _tell(self, call_id: str) -> None:
        inputs = self.calls.get(call_id, {})
        for incoming, sent in self.watchers.get(call_id, []):
            outputs, attachments = [], []
            for index, data in list(inputs.items()):
                if index in sent or not incoming.open:
                    continue
                sent[index] = True
                status, value = self._result(data)
                attachments.append(pickle.dumps(value))
                where = {"at": len(attachments) - 1, "size": len(attachments[-1])}
                output: dict[str, Any] = {"index": index, "seq": index + 1, "status": status, "retries": 0}
                if status == "success":
                    output["value"] = where
                else:
                    output["failure"] = {"error": where, "kind": type(value).__name__, "frames": [], "traceback": ""}
                outputs.append(output)
            done = self.closed.get(call_id) == len(sent)
            if (outputs or done) and incoming.open:
                incoming.item({"outputs": outputs, "done": done}, attachments)
                if done:
                    incoming.end()
            if self.drop_after and len(sent) >= self.drop_after:
                self.drop_after = 0
                self.loop.call_soon(self.drop)

    def _result(self, data: bytes) -> tuple[str, Any]:
        args, kwargs = pickle.loads(data)
        try:
            return "success", self.run(*args, **kwargs)
        except Exception as exc:
            return "failure", exc

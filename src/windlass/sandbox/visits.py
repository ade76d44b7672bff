"""How others come to its ports."""
from __future__ import annotations

from windlass import exception
from windlass.client import faces
from windlass.sandbox import handle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from windlass import tunnel
    from windlass.sandbox import ConnectToken



class Visits(handle.Handle):
    """The members of ``Sandbox`` about its ports."""

    @faces.method
    async def tunnels(self, timeout: int = 50) -> dict[int, tunnel.Tunnel]:
        """Where its ports are reached, by port. Waits until it runs. A tunnel ends with the sandbox.

        Args:
            timeout: seconds to wait.

        Raises:
            InvalidError: ``timeout`` is not positive.
            SandboxTimeoutError: it did not run in time.
            ConflictError: it has ended.

        Example:
            >>> sandbox = windlass.Sandbox.create("python", "-m", "http.server", app=app, encrypted_ports=[8000])
            >>> sandbox.tunnels()[8000].url
            'http://127.0.0.1:40213'
        """
        from windlass import tunnel
        from windlass.client import sandboxes

        body = {"sandbox_id": self._usable(), "seconds": handle.seconds("timeout", timeout)}
        try:
            told = await handle.request("sandbox.tunnels", body)
        except exception.TimeoutError:
            line = handle.in_line(await sandboxes.about(self.object_id))
            raise exception.SandboxTimeoutError(f"the sandbox did not run within {timeout:g} s{line}") from None
        return {
            one["port"]: tunnel.Tunnel(
                one["host"], one["number"], one["host"] if one["raw"] else "", one["raw"], one.get("plain", False)
            )
            for one in told["tunnels"]
        }

    @faces.method
    async def create_connect_token(self, user_metadata: object = None, port: int = 8080) -> ConnectToken:
        """A token for HTTP requests and WebSockets to one of its ports. It is worth nothing once the sandbox has ended.

        Show it as ``Authorization: Bearer``, or as the query parameter ``_modal_connect_token``, which sets a cookie.

        Args:
            user_metadata: what the program is told of whoever shows the token, in the header ``X-Verified-User-Data``,
                which nobody else can set: JSON, less than 512 characters, no secret.
            port: where the program listens.

        Raises:
            InvalidError: an argument is wrong.
            ConflictError: the sandbox has ended.

        Example:
            >>> url, token = sandbox.create_connect_token(user_metadata={"user": "ada"})
            >>> request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
            >>> urllib.request.urlopen(request).read()
        """
        from windlass import sandbox_options as checks
        from windlass.sandbox import ConnectToken

        body = {"sandbox_id": self._usable(), **checks.visitor(user_metadata, port)}
        told = await handle.request("sandbox.token", body)
        return ConnectToken(told["url"], told["token"])

"""``Client``: the public face of a session, for programs that hold one explicitly."""
from __future__ import annotations

from types import TracebackType

from windlass import exception
from windlass.client import faces, session


class Client:
    """A connection to the platform. Most programs never need one: the SDK makes and shares its own.

    Example:
        >>> client = windlass.Client.from_env()
        >>> client.hello()
    """

    def __init__(self, *args: object, **kwargs: object) -> None:
        raise exception.InvalidError("Client cannot be constructed directly", hint="Use Client.from_env().")

    _session: session.Session

    @faces.function
    async def from_env() -> Client:
        """The client that the SDK uses in this process."""
        client = object.__new__(Client)
        client._session = session.current()
        return client

    @faces.function
    async def from_credentials(token_id: str, token_secret: str) -> Client:
        """A client with a token. A local platform knows its users by their socket and takes none."""
        raise exception.UnimplementedError("tokens are not supported by this version of Windlass")

    @faces.function
    async def from_oauth_credentials(
        refresh_token: str,
        *,
        oauth_client_id: str,
        oauth_client_secret: str | None = None,
        oauth_jwt_key: str | None = None,
    ) -> Client:
        """There is no OAuth provider in front of a platform of your own: it gives tokens itself.

        Raises:
            UnimplementedError: always.
        """
        raise exception.UnimplementedError(
            "a Windlass platform does not take OAuth credentials", hint="Use a token with Client.from_credentials()."
        )

    @faces.function
    async def anonymous(server_url: str) -> Client:
        """A client without credentials."""
        raise exception.UnimplementedError("remote platforms are not supported by this version of Windlass")

    @faces.function
    async def verify(server_url: str, credentials: tuple[str, str]) -> None:
        """Check a token against a platform."""
        raise exception.UnimplementedError("remote platforms are not supported by this version of Windlass")

    @faces.method
    async def hello(self) -> None:
        """Reach the platform (it is started where need be) and compare versions.

        Raises:
            ConnectionError: it cannot be reached.
            VersionError: its version does not fit.
        """
        await self._session.connect()

    @faces.method
    async def close(self) -> None:
        """Close the connection; the SDK makes a new one when it needs one."""
        await self._session.close()

    def is_closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._session.closed

    @faces.method
    async def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close.aio()

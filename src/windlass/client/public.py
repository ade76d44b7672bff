"""``Client``: the public face of a session, for programs that hold one explicitly."""
from __future__ import annotations

from types import TracebackType

from windlass import config, exception
from windlass.client import address, faces, session
from windlass.client import credentials as credentials_module


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
        """A client with a token, of the platform that is configured.

        Raises:
            AuthError: the platform does not know it.
        """
        settings = {**config.config.to_dict(), "token_id": token_id, "token_secret": token_secret}
        client = object.__new__(Client)
        client._session = session.Session(address.of_process(settings))
        await client._session.connect()
        return client

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
        """A client without credentials. No platform answers one.

        Raises:
            AuthError: in any case.
        """
        raise exception.AuthError(
            f"the platform at {server_url} answers nobody without a token", hint="Use Client.from_credentials()."
        )

    @faces.function
    async def verify(server_url: str, credentials: tuple[str, str]) -> None:
        """Check a token against a platform.

        Args:
            server_url: where it is; "": that of this machine.
            credentials: id and secret.

        Raises:
            AuthError: the platform does not know this token.
        """
        await credentials_module.whoami(server_url, credentials)

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

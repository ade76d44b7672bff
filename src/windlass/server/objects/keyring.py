"""The server's own key: encrypts secrets at rest and derives the tokens of containers."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import stat
from pathlib import Path

from cryptography import fernet

from windlass import exception

_log = logging.getLogger(__name__)


class Keyring:
    """The key in ``path``, made on first use, readable only by the owner.

    Raises:
        DataLossError: what is in the file is no key.
    """

    def __init__(self, path: Path) -> None:
        self._key = _load(path)
        try:
            self._fernet = fernet.Fernet(self._key)
        except ValueError:
            raise exception.DataLossError(
                f"the key that secrets are encrypted with, {path}, is damaged",
                hint="Restore it from a backup. Without one move it away: a new key is made, and secrets that are "
                "stored must be stored again.",
            ) from None

    def encrypt(self, env: dict[str, str]) -> bytes:
        return self._fernet.encrypt(json.dumps(env).encode("utf-8"))

    def decrypt(self, data: bytes) -> dict[str, str]:
        try:
            env: dict[str, str] = json.loads(self._fernet.decrypt(data))
        except fernet.InvalidToken:
            raise exception.DataLossError(
                "a secret cannot be decrypted with this server's key", hint="Create the secret again."
            ) from None
        return env

    def token(self, container_id: str) -> str:
        """What a container proves its identity with; the same after a restart, stored nowhere."""
        return hmac.new(self._key, f"container {container_id}".encode(), hashlib.sha256).hexdigest()

    def sign(self, purpose: str, text: str) -> str:
        """What only this server can have said; the same after a restart, stored nowhere."""
        return hmac.new(self._key, f"{purpose} {text}".encode(), hashlib.sha256).hexdigest()

    def signed(self, purpose: str, text: str, signature: str) -> bool:
        """Whether ``sign`` gave that."""
        return hmac.compare_digest(self.sign(purpose, text).encode(), signature.encode("utf-8", "replace"))

    def owns(self, container_id: str, token: str) -> bool:
        return hmac.compare_digest(self.token(container_id).encode(), token.encode("utf-8", "replace"))


def _load(path: Path) -> bytes:
    try:
        _close_to_others(path)
        return path.read_bytes()
    except FileNotFoundError:
        pass
    fresh = path.with_name(path.name + ".new")
    fresh.touch(0o600)
    with fresh.open("wb") as file:
        file.write(fernet.Fernet.generate_key())
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    return path.read_bytes()


def _close_to_others(path: Path) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        path.chmod(0o600)
        _log.warning("%s was open to others (mode %03o) and is not any more; renew your secrets", path, mode)

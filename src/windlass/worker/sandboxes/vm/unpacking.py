"""What kernels and their modules are packed with, told by how they begin: distributions differ, and no machine shall
depend on what the kernel of a guest can unpack itself."""
from __future__ import annotations

import bz2
import lzma
import shutil
import subprocess
import zlib
from collections.abc import Callable

ELF = b"\x7fELF"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TIME = 60


class Packed(Exception):
    """Why something stays packed."""


def unpacked(data: bytes) -> bytes:
    """``data`` itself where it is packed with nothing that is known. Raises ``Packed``."""
    unpack = next((how for magic, how in _HOW.items() if data.startswith(magic)), None)
    if unpack is None:
        return data
    try:
        return unpack(data)
    except (OSError, ValueError, EOFError, zlib.error, lzma.LZMAError, subprocess.SubprocessError) as exc:
        raise Packed(f"it cannot be unpacked: {exc}") from None


def _piped(program: str, data: bytes) -> bytes:
    found = shutil.which(program, path=_PATH)
    if found is None:
        raise Packed(f"it is packed with {program}, which is not installed")
    line = [found, "-d", "-c"]
    done = subprocess.run(line, input=data, capture_output=True, env={"PATH": _PATH}, timeout=_TIME, check=False)
    return done.stdout  # what follows the data of a kernel is an error to them


_HOW: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": lambda data: zlib.decompressobj(31).decompress(data),
    b"\xfd7zXZ": lambda data: lzma.LZMADecompressor().decompress(data),
    b"BZh": lambda data: bz2.BZ2Decompressor().decompress(data),
    b"\x02\x21\x4c\x18": lambda data: _piped("lz4", data),
    b"\x28\xb5\x2f\xfd": lambda data: _piped("zstd", data),
}

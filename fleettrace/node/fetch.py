"""Reading a node's memcached binary to the controller: compressed where the node can, and bounded."""

from __future__ import annotations

import zlib

from fleettrace.errors import HostError, HostState
from fleettrace.node.model import Instance
from fleettrace.transport.interface import Connection, Limits, Stream

__all__ = ["MAX_BINARY", "fetch_binary"]

MAX_BINARY = 64 << 20
"""Bytes of the largest binary taken: twenty times a statically linked memcached with debug information."""

_LIMITS = Limits(seconds=60, max_bytes=MAX_BINARY)
_SCRIPT = """
exe=/proc/{pid}/exe
if command -v gzip >/dev/null 2>&1; then printf 'gzip\\n'; gzip -1 -c <"$exe"; else printf 'plain\\n'; cat <"$exe"; fi
"""


def fetch_binary(connection: Connection, instance: Instance) -> bytes:
    """The bytes of the binary that `instance` runs, as the kernel has it, deleted or not. Raises `HostError`."""
    execution = connection.start(_SCRIPT.format(pid=int(instance.pid)).encode(), _LIMITS, keep_shell=True)
    try:
        out, err = bytearray(), bytearray()
        for chunk in execution:
            (out if chunk.stream is Stream.OUT else err).extend(chunk.data)
    finally:
        execution.close()
    form, _, body = bytes(out).partition(b"\n")
    data = _unpacked(body) if form == b"gzip" else body
    if execution.exit_status != 0 or len(data) != instance.binary.size:
        raise HostError(
            HostState.TRACE_FAILED,
            "binary-unreadable",
            f"/proc/{instance.pid}/exe could not be read whole ({len(data)} of {instance.binary.size} bytes): "
            f"did the process end? {err.decode('utf-8', 'replace').strip()[:200]!r}",
        )
    return data


def _unpacked(body: bytes) -> bytes:
    inflater = zlib.decompressobj(wbits=31)
    try:
        return inflater.decompress(body, MAX_BINARY)
    except zlib.error:
        return b""

"""The port of one memcached, as the controller reaches it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["PortTarget", "Tls"]


@dataclass(frozen=True, slots=True)
class Tls:
    """How to speak TLS with a port. The files are in PEM."""

    ca: Path | None = None
    """The accepted certificate authorities; None: those of the system."""
    certificate: Path | None = None
    """The client's certificate, with its chain."""
    key: Path | None = None
    """Its private key; None: the key is in the certificate's file."""
    server_name: str | None = None
    """The name that the server's certificate must have; None: the address."""
    verify: bool = True


@dataclass(frozen=True, slots=True)
class PortTarget:
    """The port of one memcached, as the controller reaches it."""

    address: str
    """A name or a numeric address."""
    port: int
    tls: Tls | None = None
    """None: no TLS."""

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"

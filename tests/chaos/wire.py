"""A slow, lossy network to a host of the lab.

Two tap devices replace the host's veth, with its MAC and IP address, and a thread copies the frames from one to the
other. tc-netem(8) would do the same, but not every kernel has it.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import random
import select
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from fleettrace.lab.host import Host
from fleettrace.lab.system import run

__all__ = ["Wire", "bad_wire"]

_TUNSETIFF = 0x400454CA  # linux/if_tun.h
_IFF_TAP, _IFF_NO_PI = 0x0002, 0x1000
_FRAME = 65536


class Wire:
    """Copies frames between two taps with a delay of `delay_s`, and drops the share `loss` of them."""

    def __init__(self, ends: tuple[int, int], delay_s: float, loss: float, seed: int = 1) -> None:
        self._ends = ends
        self._delay_s = delay_s
        self._loss = loss
        self._draw = random.Random(seed)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._carry, name="wire", daemon=True)
        self.carried = 0
        self.lost = 0
        self._thread.start()

    def _carry(self) -> None:
        other = dict(zip(self._ends, reversed(self._ends), strict=True))
        under_way: list[tuple[float, int, int, bytes]] = []
        numbers = count()
        while not self._over.is_set():
            wait = min(0.1, max(0.0, under_way[0][0] - time.monotonic())) if under_way else 0.1
            for end in select.select(self._ends, [], [], wait)[0]:
                frame = os.read(end, _FRAME)
                if self._draw.random() < self._loss:
                    self.lost += 1
                else:
                    heapq.heappush(under_way, (time.monotonic() + self._delay_s, next(numbers), other[end], frame))
            while under_way and under_way[0][0] <= time.monotonic():
                _, _, end, frame = heapq.heappop(under_way)
                os.write(end, frame)
                self.carried += 1

    def close(self) -> None:
        """Stop copying and remove the taps."""
        self._over.set()
        self._thread.join()
        for end in self._ends:
            os.close(end)


@contextmanager
def bad_wire(host: Host, *, delay_s: float, loss: float) -> Iterator[Wire]:
    """Delay packets to and from the host by `delay_s` each way, and drop the share `loss`, while the block runs."""
    network, inside = host.network, f"{host.network.id}w{host.index}"
    outside = f"{host.network.id}x{host.index}"
    address = f"{host.address}/24"
    ends = _tap(outside), _tap(inside)
    try:
        mac = _mac(host)
        _ip(f"link set {inside} netns {host.namespace}", f"link set {network.link(host.index)} nomaster")
        _ip(f"addr del {address} dev eth0", "link set eth0 down", namespace=host.namespace)
        _ip(
            f"link set {inside} address {mac} up",
            f"addr add {address} dev {inside}",
            namespace=host.namespace,
        )
        _ip(f"link set {outside} master {network.bridge} up")
    except BaseException:
        for end in ends:
            os.close(end)
        raise
    wire = Wire(ends, delay_s, loss)
    try:
        yield wire
    finally:
        wire.close()
        _ip(f"addr add {address} dev eth0", "link set eth0 up", namespace=host.namespace)
        _ip(f"link set {network.link(host.index)} master {network.bridge} up")


def _tap(name: str) -> int:
    end = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(end, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI))
    except OSError:
        os.close(end)
        raise
    return end


def _mac(host: Host) -> str:
    return host.exec(["ip", "-br", "link", "show", "eth0"]).split()[2]


def _ip(*lines: str, namespace: str | None = None) -> None:
    run(["ip", *(["-n", namespace] if namespace else []), "-batch", "-"], input="".join(f"{line}\n" for line in lines))

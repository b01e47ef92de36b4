"""Which memcached command each call of `do_item_get` stands for, told by where the call comes from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["CallSite", "Operation", "OuterSite"]


class Operation(StrEnum):
    """What a request did, in the words of the report."""

    GET = "get"
    SET = "set"
    DELETE = "delete"
    ARITH = "arith"
    TOUCH = "touch"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class OuterSite:
    """A call of the function that holds a call site: told by its own return address, a virtual address."""

    return_address: int
    caller: str | None
    operation: Operation | None


@dataclass(frozen=True, slots=True)
class CallSite:
    """One direct call of the probed function. Addresses are virtual; add the mapping's base for a running process.

    `operation` is what a call from here is, or None where that is not known. Where `fetch` is set, it is what a call is
    whose do_update argument (the fifth, `& 0xff`) is 1, and `operation` the rest. Where `outer` has entries, the return
    address `outer_offset` bytes above the slot of this one tells more; None there means this site's own answer holds.
    """

    return_address: int
    caller: str | None
    caller_address: int
    operation: Operation | None
    fetch: Operation | None = None
    outer_offset: int | None = None
    outer: tuple[OuterSite, ...] = ()

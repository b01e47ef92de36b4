"""The registry of error codes: what each means and what to do.

A code is a stable word for scripts. It stands in the report's `error` and `warnings`, in the events of `--log` and in
front of messages. `error_codes.toml` holds the texts, and `docs/reference/errors.md` is generated from it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files

__all__ = ["BASTION_PREFIX", "Area", "ErrorCode", "error_codes"]

BASTION_PREFIX = "bastion-"
"""A failure to log in to a jump host has the code of the same failure of a host, with this in front."""


class Area(StrEnum):
    """What a code is about; the value is its table in `error_codes.toml`."""

    REACH = "reach"
    LOGIN = "login"
    HOST_KEY = "host-key"
    BASTION = "bastion"
    ENDPOINT = "endpoint"
    SHELL = "shell"
    NODE = "node"
    BINARY = "binary"
    TRACE = "trace"
    DETACH = "detach"
    NUMBERS = "numbers"
    RUN = "run"


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """One code."""

    code: str
    area: Area
    meaning: str
    cure: str


@cache
def error_codes() -> Mapping[str, ErrorCode]:
    """Return every code in the registry's order."""
    tables = tomllib.loads(files("fleettrace").joinpath("error_codes.toml").read_text("utf-8"))
    return {
        code: ErrorCode(code, Area(area), entry["meaning"], entry["cure"])
        for area, entries in tables.items()
        for code, entry in entries.items()
    }

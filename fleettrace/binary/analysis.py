"""Everything the tool wants to know of one memcached binary, in one value that is kept by build id.

`analyse` is the only entry point other packages need: the bytes of a binary in, a `BinaryAnalysis` out, which turns
to a JSON-ready dict and back.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from fleettrace.binary import elf as elf_file
from fleettrace.binary.callsites import CallSite, Operation, call_sites
from fleettrace.binary.cheapest import Instruction, InstructionCost, cheapest_instruction, entry_instruction
from fleettrace.binary.elf import BinaryError, Elf, Machine
from fleettrace.binary.functions import Function, Functions, read_functions
from fleettrace.binary.locate import (
    Located,
    Miss,
    has_words,
    inlined_copies,
    locate_do_item_get,
    locate_item_alloc,
    users_of_words,
)
from fleettrace.binary.references import References
from fleettrace.binary.repeats import Caller
from fleettrace.binary.symbols import Symbol, Variant, covered, function_symbols, named, variant
from fleettrace.binary.usdt import Operand, UsdtProbe, usdt_probes

__all__ = ["ANALYSIS", "WANTED", "BinaryAnalysis", "Found", "ProbedFunction", "analyse"]

ANALYSIS = 9
"""The version of what `analyse` finds: raise it with every change of its answers, and caches forget the old ones."""

WANTED = {
    "do_item_get": 5,
    "item_alloc": 5,
    "do_item_alloc": 5,
    "process_command_ascii": 3,
    "process_command": 2,
    "item_get": 4,
}
"""The functions looked for, and how many of their arguments must be whole where the probe sits.

do_item_get(key, nkey, hv, thread, do_update), item_alloc(key, nkey, flags, exptime, nbytes), item_get(key, nkey,
thread, do_update): items.h and thread.c of memcached 1.4.35 to 1.6.45.
process_command*(conn, line[, length]): proto_text.c.
"""

WANTED_USDT = ("assoc__find", "item__link")
"""The static probes kept. assoc__find(key, nkey, depth) fires at the end of every look-up, and item__link(key, nkey,
nbytes) when an item comes to be found: of those with a key, the ones that fire in all of 1.4.36 to 1.6.45 (assoc.c,
items.c).
"""
MAX_USDT = 64
"""Places of them; inlining makes a few of each."""


class Found(StrEnum):
    """How a function was found: by a symbol from one of four places, or located without any."""

    SYMTAB = "symtab"
    DYNSYM = "dynsym"
    DEBUGDATA = "debugdata"
    DEBUG_FILE = "debug-file"
    LOCATED = "located"


@dataclass(frozen=True, slots=True)
class ProbedFunction:
    """One function a probe can sit in: by its name in the source (`function`) and in the binary (`symbol`, if any).

    `address` is virtual, `file_offset` in the file, `size` in bytes. `cheapest` is `entry` where nothing beats it.
    `signs` says what a located function was told by.
    """

    function: str
    symbol: str | None
    found: Found
    address: int
    file_offset: int
    size: int
    entry: Instruction
    cheapest: Instruction
    signs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BinaryAnalysis:
    """What one binary offers. `missing` says of each wanted function that has no point, why, in a few words.

    `covered` holds the file offsets of spots that bpftrace, given them as bare numbers, takes for virtual addresses.
    `headers` are those of `elf.code_headers`.
    """

    analysis: int
    machine: Machine
    build_id: str | None
    version: str | None
    debug_link: str | None
    points: tuple[ProbedFunction, ...]
    call_sites: tuple[CallSite, ...]
    missing: dict[str, str]
    usdt: tuple[UsdtProbe, ...] = ()
    covered: tuple[int, ...] = ()
    headers: tuple[tuple[int, str], ...] = ()

    def point(self, function: str) -> ProbedFunction | None:
        """The point of the source's `function`, or None: `missing[function]` then says why."""
        return next((point for point in self.points if point.function == function), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, strings and numbers, fit for `json.dumps`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> BinaryAnalysis:
        """The inverse of `to_dict`. Raises `BinaryError` when `value` is of another ANALYSIS or is damaged."""
        try:
            if value["analysis"] != ANALYSIS:
                raise BinaryError(f"the kept analysis has version {value['analysis']}, this is {ANALYSIS}")
            return cls(
                **value
                | {
                    "machine": Machine(value["machine"]),
                    "points": tuple(_point(point) for point in value["points"]),
                    "call_sites": tuple(_call_site(site) for site in value["call_sites"]),
                    "usdt": tuple(_usdt(probe) for probe in value["usdt"]),
                    "covered": tuple(value["covered"]),
                    "headers": tuple((offset, code) for offset, code in value["headers"]),
                }
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BinaryError(f"the kept analysis is damaged: {type(error).__name__} {error}") from None


def analyse(data: bytes, debug: bytes | None = None) -> BinaryAnalysis:
    """Analyse a whole memcached binary; `debug` is its separate debug file, if there is one.

    Takes well under a second for the binaries that exist.
    Raises `BinaryError` when either is not an ELF file that is understood, or they do not belong together.
    """
    elf = elf_file.parse(data)
    symbols = function_symbols(elf, debug)
    functions = read_functions(elf, symbols)
    outcomes: dict[str, ProbedFunction | str] = {
        name: _by_symbol(elf, functions, symbols, name, arguments) for name, arguments in WANTED.items()
    }
    sites: tuple[CallSite, ...] = ()
    if isinstance(outcomes["do_item_get"], ProbedFunction) or has_words(elf):
        references = References(elf, functions)
        target = _use_code(references, outcomes)
        sites = () if target is None else call_sites(references, target, _allocators(outcomes))
    else:
        outcomes["do_item_get"] = f"{outcomes['do_item_get']}; none of the phrases it prints are in the file"
    points = tuple(outcome for outcome in outcomes.values() if isinstance(outcome, ProbedFunction))
    return BinaryAnalysis(
        analysis=ANALYSIS,
        machine=elf.machine,
        build_id=elf_file.build_id(elf),
        version=elf_file.memcached_version(elf),
        debug_link=elf_file.debug_link(elf),
        points=points,
        call_sites=sites,
        missing={name: outcome for name, outcome in outcomes.items() if isinstance(outcome, str)},
        usdt=tuple(probe for probe in usdt_probes(elf) if probe.name in WANTED_USDT)[:MAX_USDT],
        covered=covered(elf, [spot.file_offset for point in points for spot in (point.entry, point.cheapest)]),
        headers=elf_file.code_headers(elf),
    )


def _allocators(outcomes: dict[str, ProbedFunction | str]) -> set[int]:
    return {
        point.address for name in ("item_alloc", "do_item_alloc") if isinstance(point := outcomes[name], ProbedFunction)
    }


def _use_code(references: References, outcomes: dict[str, ProbedFunction | str]) -> Function | None:
    """Find what the symbols did not give, and doubt `do_item_get` where it is inlined elsewhere too.

    A failed search adds its reason to the missing symbol's. The answer is `do_item_get`, however it was found.
    """
    users = users_of_words(references)
    found: dict[str, Located | Miss] = {}
    get = outcomes["do_item_get"]
    if isinstance(get, ProbedFunction):
        known = references.functions.starting(get.address)
        copies = 0 if known is None else inlined_copies(users, known)
        if copies:
            outcomes["do_item_get"] = f"{copies} functions hold an inlined copy of it, which a probe would not see"
            known = None
    else:
        located = locate_do_item_get(references, users)
        known = located.function if isinstance(located, Located) else None
        found["do_item_get"] = located
    found["item_alloc"], found["do_item_alloc"] = locate_item_alloc(references, users, known)
    for name, result in found.items():
        why = outcomes[name]
        if isinstance(why, ProbedFunction):
            continue
        if isinstance(result, Miss):
            outcomes[name] = f"{why}; {result.reason}"
            continue
        point = _point_at(references.elf, result.function, name, None, Found.LOCATED, WANTED[name])
        outcomes[name] = point if isinstance(point, str) else replace(point, signs=result.signs)
    return known if isinstance(outcomes["do_item_get"], ProbedFunction) else None


def _by_symbol(
    elf: Elf, functions: Functions, symbols: tuple[Symbol, ...], name: str, arguments: int
) -> ProbedFunction | str:
    """The point of function `name`, or why there is none."""
    found = named(symbols, name)
    if not found:
        return "no symbol" if symbols else "the binary is stripped"
    addresses = {symbol.address for symbol in found}
    if len(addresses) > 1:
        return f"{len(addresses)} copies of the function: {', '.join(sorted({s.name for s in found}))}"
    symbol = found[0]
    if variant(symbol.name) is not Variant.WHOLE:
        return f"only the specialised copy {symbol.name}, whose arguments may lie elsewhere"
    function = functions.starting(symbol.address)
    if function is None:
        return f"the symbol at {symbol.address:#x} is no function of the unwind table"
    return _point_at(elf, function, name, symbol.name, Found(symbol.origin.value), arguments)


def _point_at(
    elf: Elf, function: Function, name: str, symbol: str | None, found: Found, arguments: int
) -> ProbedFunction | str:
    entry = entry_instruction(elf, function)
    cheapest = cheapest_instruction(elf, function, arguments)
    offset = elf.offset_of(function.start)
    if entry is None or cheapest is None or offset is None:
        return f"what lies at {function.start:#x} is no code"
    return ProbedFunction(name, symbol, found, function.start, offset, function.end - function.start, entry, cheapest)


def _spot(value: dict[str, Any]) -> Instruction:
    return Instruction(**value | {"cost": InstructionCost(value["cost"])})


def _point(value: dict[str, Any]) -> ProbedFunction:
    return ProbedFunction(
        **value
        | {
            "found": Found(value["found"]),
            "entry": _spot(value["entry"]),
            "cheapest": _spot(value["cheapest"]),
            "signs": tuple(value["signs"]),
        }
    )


def _usdt(value: dict[str, Any]) -> UsdtProbe:
    operands = tuple(None if operand is None else Operand(**operand) for operand in value["arguments"])
    return UsdtProbe(**value | {"spot": _spot(value["spot"]), "arguments": operands})


def _operation(value: str | None) -> Operation | None:
    return None if value is None else Operation(value)


def _call_site(value: dict[str, Any]) -> CallSite:
    return CallSite(
        **value
        | {
            "operation": _operation(value["operation"]),
            "fetch": _operation(value["fetch"]),
            "repeats": tuple(tuple(Caller(**caller) for caller in chain) for chain in value["repeats"]),
        }
    )

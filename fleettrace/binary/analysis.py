"""Analyse a memcached binary: one value with everything that the selection of probes needs.

`analyse` is the only entry point that other packages need: the bytes of a binary in, a `BinaryAnalysis` out, which
converts to a JSON-ready dict and back.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from fleettrace.binary import elf as elf_file
from fleettrace.binary.callsites import CallSite, Operation, call_sites
from fleettrace.binary.cheapest import Instruction, InstructionCost, cheapest_instruction, entry_instruction
from fleettrace.binary.descriptors import MAX_OFFSET, descriptor_offset
from fleettrace.binary.elf import BinaryError, Elf, Machine
from fleettrace.binary.exits import Exit, find_exit, stored_exit
from fleettrace.binary.functions import Function, Functions, read_functions
from fleettrace.binary.locate import (
    Located,
    Miss,
    has_phrases,
    inlined_copies,
    locate_do_item_get,
    locate_item_alloc,
    users_of_phrases,
)
from fleettrace.binary.references import References
from fleettrace.binary.repeats import Caller
from fleettrace.binary.symbols import Symbol, SymbolForm, covered, function_symbols, named, symbol_form
from fleettrace.binary.usdt import Operand, UsdtProbe, usdt_probes

__all__ = ["ANALYSIS", "PROBED_FUNCTIONS", "BinaryAnalysis", "Found", "ProbedFunction", "analyse"]

ANALYSIS = 12
"""The version of `analyse`'s results. Increase it with every change of these, so that caches drop old results."""

PROBED_FUNCTIONS = {
    "do_item_get": 5,
    "item_alloc": 5,
    "do_item_alloc": 5,
    "process_command_ascii": 3,
    "process_command": 2,
    "item_get": 4,
}
"""The functions to find, and how many of their arguments must be unchanged at the probed instruction.

do_item_get(key, nkey, hv, thread, do_update), item_alloc(key, nkey, flags, exptime, nbytes), item_get(key, nkey,
thread, do_update): items.h and thread.c of memcached 1.4.35 to 1.6.45.
process_command*(conn, line[, length]): proto_text.c.
"""

STATIC_PROBES = ("assoc__find", "item__link")
"""The static probes in an analysis: those with a key that fire in all of 1.4.36 to 1.6.45 (assoc.c, items.c).

assoc__find(key, nkey, depth) fires at the end of every look-up, and item__link(key, nkey, nbytes) when an item is
added to the hash table.
"""
MAX_USDT = 64
"""The most copies of them; inlining makes a few of each."""


class Found(StrEnum):
    """How a function was found: by a symbol from one of four sources, or located by signs in the code."""

    SYMTAB = "symtab"
    DYNSYM = "dynsym"
    DEBUGDATA = "debugdata"
    DEBUG_FILE = "debug-file"
    LOCATED = "located"


@dataclass(frozen=True, slots=True)
class ProbedFunction:
    """A function to probe, with its `name` in the source and its `symbol` in the binary, if it has one.

    `address` is virtual, `file_offset` is in the file, `size` in bytes. `cheapest` equals `entry` if no instruction is
    cheaper. `signs` are the signs by which a function without a symbol was located.
    """

    name: str
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
    """The analysis of one binary. `missing` has the reason, in a few words, for each function that was not found.

    `covered` has the file offsets of instructions that bpftrace, given them as bare numbers, reads as virtual
    addresses.
    `headers` are those of `elf.code_headers`. `descriptor` is the offset of the client's descriptor behind the fourth
    argument of do_item_get (`descriptors.py`), None if unknown. `exit` is where one probe sees a request and its result
    (`exits.py`), None if unknown.
    """

    analysis: int
    machine: Machine
    build_id: str | None
    version: str | None
    debug_link: str | None
    functions: tuple[ProbedFunction, ...]
    call_sites: tuple[CallSite, ...]
    missing: dict[str, str]
    usdt: tuple[UsdtProbe, ...] = ()
    covered: tuple[int, ...] = ()
    headers: tuple[tuple[int, str], ...] = ()
    descriptor: int | None = None
    exit: Exit | None = None

    def function(self, name: str) -> ProbedFunction | None:
        """Return the function with this name in the source, or None: `missing[name]` then has the reason."""
        return next((function for function in self.functions if function.name == name), None)

    def to_dict(self) -> dict[str, Any]:
        """Return plain dicts, lists, strings and numbers for `json.dumps`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> BinaryAnalysis:
        """Return the analysis that `to_dict` turned into `value`.

        Raises `BinaryError` for a damaged `value` or one of another version (ANALYSIS).
        """
        try:
            if value["analysis"] != ANALYSIS:
                raise BinaryError(f"the stored analysis has version {value['analysis']}, this is {ANALYSIS}")
            return cls(
                **value
                | {
                    "machine": Machine(value["machine"]),
                    "functions": tuple(_function(each) for each in value["functions"]),
                    "call_sites": tuple(_call_site(each) for each in value["call_sites"]),
                    "usdt": tuple(_usdt(probe) for probe in value["usdt"]),
                    "covered": tuple(value["covered"]),
                    "headers": tuple((offset, code) for offset, code in value["headers"]),
                    "descriptor": _offset(value["descriptor"]),
                    "exit": None if value["exit"] is None else stored_exit(value["exit"]),
                }
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BinaryError(f"the stored analysis is damaged: {type(error).__name__} {error}") from None


def analyse(data: bytes, debug: bytes | None = None) -> BinaryAnalysis:
    """Analyse a complete memcached binary; `debug` is its separate debug file, if there is one.

    This takes well under a second for real binaries.
    Raises `BinaryError` for a file that is not a supported ELF file, and for a debug file of another binary.
    """
    elf = elf_file.parse(data)
    symbols = function_symbols(elf, debug)
    functions = read_functions(elf, symbols)
    outcomes: dict[str, ProbedFunction | Miss] = {
        name: _by_symbol(elf, functions, symbols, name, arguments) for name, arguments in PROBED_FUNCTIONS.items()
    }
    found_sites: tuple[CallSite, ...] = ()
    descriptor: int | None = None
    leaving: Exit | None = None
    get = outcomes["do_item_get"]
    if isinstance(get, ProbedFunction) or has_phrases(elf):
        references = References(elf, functions)
        target = _use_code(references, outcomes)
        if target is not None:
            found_sites = call_sites(references, target, _allocators(outcomes))
            descriptor = descriptor_offset(references, target)
            leaving = find_exit(references, target)
    else:
        outcomes["do_item_get"] = Miss(f"{get.reason}; none of the phrases it prints are in the file")
    found = tuple(outcome for outcome in outcomes.values() if isinstance(outcome, ProbedFunction))
    probed = [each for function in found for each in (function.entry, function.cheapest)]
    return BinaryAnalysis(
        analysis=ANALYSIS,
        machine=elf.machine,
        build_id=elf_file.build_id(elf),
        version=elf_file.memcached_version(elf),
        debug_link=elf_file.debug_link(elf),
        functions=found,
        call_sites=found_sites,
        missing={name: outcome.reason for name, outcome in outcomes.items() if isinstance(outcome, Miss)},
        usdt=tuple(probe for probe in usdt_probes(elf) if probe.name in STATIC_PROBES)[:MAX_USDT],
        covered=covered(elf, [each.file_offset for each in probed]),
        headers=elf_file.code_headers(elf),
        descriptor=descriptor,
        exit=leaving,
    )


def _allocators(outcomes: dict[str, ProbedFunction | Miss]) -> set[int]:
    found = (outcomes[name] for name in ("item_alloc", "do_item_alloc"))
    return {function.address for function in found if isinstance(function, ProbedFunction)}


def _use_code(references: References, outcomes: dict[str, ProbedFunction | Miss]) -> Function | None:
    """Search the code for functions without a symbol, and give up `do_item_get` if it is inlined elsewhere too.

    Changes `outcomes`; a failed search adds its reason to that of the missing symbol. Returns `do_item_get`, by symbol
    or by search, or None.
    """
    users = users_of_phrases(references)
    located: dict[str, Located | Miss] = {}
    get = outcomes["do_item_get"]
    if isinstance(get, ProbedFunction):
        known = references.functions.starting(get.address)
        copies = 0 if known is None else inlined_copies(users, known)
        if copies:
            outcomes["do_item_get"] = Miss(
                f"{copies} functions hold an inlined copy of it, in which a probe does not fire"
            )
            known = None
    else:
        result = locate_do_item_get(references, users)
        known = result.function if isinstance(result, Located) else None
        located["do_item_get"] = result
    located["item_alloc"], located["do_item_alloc"] = locate_item_alloc(references, users, known)
    for name, result in located.items():
        outcome = outcomes[name]
        if isinstance(outcome, ProbedFunction):
            continue
        if isinstance(result, Miss):
            outcomes[name] = Miss(f"{outcome.reason}; {result.reason}")
            continue
        probed = _probed(references.elf, result.function, name, None, Found.LOCATED, PROBED_FUNCTIONS[name])
        outcomes[name] = probed if isinstance(probed, Miss) else replace(probed, signs=result.signs)
    return known if isinstance(outcomes["do_item_get"], ProbedFunction) else None


def _by_symbol(
    elf: Elf, functions: Functions, symbols: tuple[Symbol, ...], name: str, arguments: int
) -> ProbedFunction | Miss:
    """Return the function `name` by its symbol, or why it cannot be probed."""
    found = named(symbols, name)
    if not found:
        return Miss("no symbol" if symbols else "the binary is stripped")
    addresses = {symbol.address for symbol in found}
    if len(addresses) > 1:
        return Miss(f"{len(addresses)} copies of the function: {', '.join(sorted({s.name for s in found}))}")
    symbol = found[0]
    if symbol_form(symbol.name) is not SymbolForm.ORIGINAL:
        return Miss(f"only the specialised copy {symbol.name}, with arguments that may lie elsewhere")
    function = functions.starting(symbol.address)
    if function is None:
        return Miss(f"the symbol at {symbol.address:#x} is not a function of the unwind table")
    return _probed(elf, function, name, symbol.name, Found(symbol.origin.value), arguments)


def _probed(
    elf: Elf, function: Function, name: str, symbol: str | None, found: Found, arguments: int
) -> ProbedFunction | Miss:
    entry = entry_instruction(elf, function)
    cheapest = cheapest_instruction(elf, function, arguments)
    offset = elf.offset_of(function.start)
    if entry is None or cheapest is None or offset is None:
        return Miss(f"there is no code at {function.start:#x}")
    return ProbedFunction(name, symbol, found, function.start, offset, function.end - function.start, entry, cheapest)


def _instruction(value: dict[str, Any]) -> Instruction:
    return Instruction(**value | {"cost": InstructionCost(value["cost"])})


def _function(value: dict[str, Any]) -> ProbedFunction:
    return ProbedFunction(
        **value
        | {
            "found": Found(value["found"]),
            "entry": _instruction(value["entry"]),
            "cheapest": _instruction(value["cheapest"]),
            "signs": tuple(value["signs"]),
        }
    )


def _usdt(value: dict[str, Any]) -> UsdtProbe:
    operands = tuple(None if operand is None else Operand(**operand) for operand in value["arguments"])
    return UsdtProbe(**value | {"instruction": _instruction(value["instruction"]), "arguments": operands})


def _offset(value: int | None) -> int | None:
    if value is not None and not (type(value) is int and 0 <= value < MAX_OFFSET):
        raise ValueError(f"a descriptor at {value!r}")
    return value


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

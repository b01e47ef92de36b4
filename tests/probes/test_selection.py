"""The selection of a probe kind, by what the binary shows of requests."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from fleettrace.binary.analysis import BinaryAnalysis, analyse
from fleettrace.probes.layout import key_layout
from fleettrace.probes.model import Asked, ProbeKind, ProbeOptions, TraceSettings, UnsupportedError
from fleettrace.probes.program import ProbeTarget, program, uprobe_count
from fleettrace.probes.selection import choose
from tests.binary.builds import build, stripped


@pytest.fixture(scope="module")
def unstripped() -> BinaryAnalysis:
    return analyse(build("plain").read_bytes())


def without_fetches(analysis: BinaryAnalysis) -> BinaryAnalysis:
    """Return the analysis of a binary without do_update, such as 1.4.15: no fetch is recognized."""
    others = (each for each in analysis.call_sites if each.operation is not None and each.operation.value != "get")
    return replace(analysis, call_sites=tuple(replace(each, fetch=None) for each in others))


def test_choose_takes_item_for_recognized_kinds(unstripped: BinaryAnalysis) -> None:
    assert choose(unstripped, ProbeOptions(ops=frozenset({"get", "set"}))).probe_kind is ProbeKind.ITEM


@pytest.mark.parametrize("op", ["get", "other"])
def test_choose_takes_command_for_unrecognized_kinds(unstripped: BinaryAnalysis, op: str) -> None:
    assert choose(without_fetches(unstripped), ProbeOptions(ops=frozenset({op}))).probe_kind is ProbeKind.COMMAND


@pytest.mark.parametrize("op", ["get", "other"])
def test_choose_refuses_unrecognized_kind_with_forced_item(unstripped: BinaryAnalysis, op: str) -> None:
    with pytest.raises(UnsupportedError, match=f"requests of kind {op} "):
        choose(without_fetches(unstripped), ProbeOptions(ProbeKind.ITEM, ops=frozenset({op})))


def test_plan_is_certain_only_for_named_functions(unstripped: BinaryAnalysis) -> None:
    assert choose(unstripped).certain
    assert not choose(analyse(stripped("plain").read_bytes())).certain


def test_call_sites_of_mixed_kind_have_a_tag(unstripped: BinaryAnalysis) -> None:
    [first, *others] = unstripped.call_sites
    tagging = choose(replace(unstripped, call_sites=(replace(first, operation=None, fetch=None), *others))).tagging
    assert tagging.ops is not None
    assert tagging.ops[:2] == (None, None)
    assert None not in tagging.ops[2:]
    assert re.search(rf"\$caller == {first.return_address & 0xFFF:#x}\b[^{{]*\{{ \$tag = 1; \}}", tagging.statements)


def test_verdict_reports_unrecognized_second_lookups(unstripped: BinaryAnalysis) -> None:
    plan = choose(unstripped)
    assert plan.tagging.repeats == 2
    assert "counts twice" not in plan.verdict.why
    call_sites = tuple(replace(each, repeats=each.repeats[:1]) for each in unstripped.call_sites)
    assert "counts twice" in choose(replace(unstripped, call_sites=call_sites)).verdict.why


def test_one_repeat_suffices_before_meta_commands(unstripped: BinaryAnalysis) -> None:
    call_sites = tuple(replace(each, repeats=each.repeats[:1]) for each in unstripped.call_sites)
    new = replace(unstripped, call_sites=call_sites)
    assert "counts twice" in choose(new).verdict.why
    assert "counts twice" not in choose(replace(new, version="1.5.6")).verdict.why


def test_ambiguous_second_lookup_is_not_recognized(unstripped: BinaryAnalysis) -> None:
    [store] = [each for each in unstripped.call_sites if each.repeats]
    double = replace(store, return_address=store.return_address + 0x1000, operation=None, repeats=())
    assert choose(replace(unstripped, call_sites=(*unstripped.call_sites, double))).tagging.repeats == 0


def test_asked_keys_need_the_item_probe(unstripped: BinaryAnalysis) -> None:
    plan = choose(unstripped, ProbeOptions(asked=(b"k",)))
    assert (plan.probe_kind, plan.asked) == (ProbeKind.ITEM, Asked((b"k",), 8))
    unfound = replace(unstripped, functions=())
    with pytest.raises(UnsupportedError, match="does not show the client"):
        choose(unfound, ProbeOptions(asked=(b"k",)))


def test_missing_descriptor_is_reported_and_not_read(unstripped: BinaryAnalysis) -> None:
    plan = choose(replace(unstripped, descriptor=None), ProbeOptions(asked=(b"k",)))
    assert "no clients, because" in plan.verdict.why
    text = program([ProbeTarget(plan, (7,))], key_layout((0, 17, 0)), TraceSettings(1.0))
    assert "arg3" not in text


@pytest.mark.parametrize("version", [(0, 17, 0), (0, 23, 2)])
def test_program_for_clients_has_every_probe(unstripped: BinaryAnalysis, version: tuple[int, int, int]) -> None:
    target = ProbeTarget(choose(unstripped, ProbeOptions(asked=(b"k", b"x" * 250))), (7, 8))
    text = program([target], key_layout(version), TraceSettings(1.0))
    assert "(uint64)*(uint32*)(arg3 + 8)" in text
    assert uprobe_count([target]) == len(re.findall(r"^(?:uprobe|tracepoint|interval):", text, re.MULTILINE))
    assert text.count("{") == text.count("}")


def test_clients_add_to_the_predicted_cost(unstripped: BinaryAnalysis) -> None:
    plain, clients = choose(unstripped), choose(unstripped, ProbeOptions(clients=True))
    assert plain.verdict.cost is not None
    assert clients.verdict.cost == pytest.approx(plain.verdict.cost + 0.8)

"""The commands and their options, and the environment variables that stand in for options.

Every option `--some-flag` of a command can also be given as FLEETTRACE_SOME_FLAG; the command line wins.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from fleettrace import __version__
from fleettrace.cli.options import Choice, Options, ParserOptions
from fleettrace.cli.values import cores, count, duration, ops, regex, retries, share
from fleettrace.errors import ConfigError
from fleettrace.store.history.retention import DEFAULT as DEFAULT_KEEP
from fleettrace.store.history.retention import parse_retention
from fleettrace.sweep.waves import serial

__all__ = ["COMMANDS", "FORMATS", "HOST_KEYS", "REDACTIONS", "add_options", "parse"]

_DESCRIPTION = "The hot keys of a whole memcached fleet, counted exactly with bpftrace over SSH."
_EPILOG = """\
exit codes: 0 all traced, 1 a rule found something, 2 usage or configuration, 3 some hosts failed, 4 too many did or
there is nothing to report, 5 deadline reached, 75 another run holds the lock, 130/143 interrupted"""

# The names of `report.interface.Output`, `report.redact.Redact`, `transport.interface.HostKeyPolicy` and
# `playbook.findings.Severity`, which it would take time to import for `--help`.
FORMATS = ("table", "json", "csv", "prometheus", "markdown", "html")
REDACTIONS = ("hash", "template", "drop")
HOST_KEYS = ("strict", "accept-new")
_SEVERITIES = ("low", "medium", "high")

_RUN = "a run of the history (its id, the beginning of it, last, last~2), or what `fleettrace run --save` wrote"


class _Parser(argparse.ArgumentParser):
    """Reports a wrong command line like any other configuration error."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message} (see `{self.prog} --help`)")


def _inventory_options(options: Options) -> None:
    options.value(
        "--inventory",
        str,
        None,
        "FILE|DIR|SCRIPT|-",
        "the hosts, in Ansible's layout (else ./inventory.yaml, ~/.config/fleettrace/inventory.yaml, "
        "/etc/fleettrace/inventory.yaml)",
        short="-i",
    )
    options.value("--hosts", str, "all", "PATTERN", "which hosts: Ansible's host patterns")
    options.value("--limit", str, None, "PATTERN|@FILE", "of those, only these; @RUN/failed: what failed in a run")
    options.value("--shard", str, None, "K/N", "of those, part K of N by their names: one part for each controller")


def _connection_options(options: Options) -> None:
    options.value("--forks", count, "64", "N", "hosts at once")
    options.value(
        "--serial",
        serial,
        None,
        "SIZES",
        "hosts of each wave, in numbers or percentages, such as 1,10%,100%: the rest is left alone if one of the first "
        "wave fails",
    )
    options.value("--max-fail", share, None, "SHARE", "of the hosts begun, that may fail before the rest is left alone")
    options.value("--retries", retries, "2", "N", "new tries of a login that failed in a way that may pass")
    options.value(
        "--host-key",
        Choice(*HOST_KEYS),
        HOST_KEYS[0],
        "POLICY",
        "strict, or accept-new: write an unknown host's key to known_hosts; one that changed is refused either way",
    )
    options.value(
        "--transport",
        Choice("ssh", "openssh"),
        None,
        "CLIENT",
        "ssh (the default): a client of our own; openssh: the system's `ssh`, as the site set it up",
    )
    options.value("--ssh-config", str, None, "FILE", "read instead of ~/.ssh/config")
    options.value("--connect-timeout", duration, "10s", "TIME", "for a login, all of it")
    options.value("--deadline", duration, "5m", "TIME", "for the whole run; what is collected by then is reported")
    _min_ok_option(options)


def _trace_options(options: Options, *, window: str = "10s") -> None:
    options.value("--duration", duration, window, "TIME", "how long to trace")
    options.value(
        "--probe",
        Choice("auto", "item", "usdt", "command", "syscall", "watch"),
        "auto",
        "RUNG",
        "auto, or the rung to use: item, usdt, command, syscall, watch",
    )
    options.value("--ops", ops, None, "OP,...", "count only get, set (all stores), delete, arith, touch or other")
    options.switch("--misses", "count misses by key too; a return probe, which about doubles the cost")
    options.switch("--sizes", "add up the bytes of the values written, by key; a second probe, on writes only")
    options.value("--script", str, None, "FILE.bt", "run this bpftrace program instead (see docs/scripts.md)")
    options.value(
        "--max-cost",
        cores,
        "50%",
        "SHARE",
        "of a core, that tracing may take from a memcached; where it would take more, the window is shortened",
    )
    options.switch(
        "--allow-preemptible",
        "trace on preemptible kernels from 6.13 on too; counts there certify nothing (see docs/machines.md)",
    )


def _output_options(options: Options) -> None:
    options.value("--top", count, "20", "N", "keys to report")
    shown = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
    options.value("--output", Choice(*FORMATS), "table", "FORMAT", shown)
    options.value("--out", str, None, "FILE", "write the report there, in one step, instead of to stdout", short="-o")
    options.value("--html", str, None, "FILE", "write the report there as a page too, beside the other output")
    options.switch("--prometheus-keys", "the keys as labels too, with --output prometheus")
    options.switch("--no-color", "no colour, also with NO_COLOR set")


def _name_options(options: Options) -> None:
    options.values(
        "--template",
        regex,
        "REGEX",
        "a family of keys of your own, before those that are found: its groups vary. May be repeated",
    )
    options.choice(
        "--redact",
        REDACTIONS,
        "pseudonyms for keys (hash), for their parts that vary (template), or no keys at all (drop)",
    )
    options.value(
        "--redact-key-file", str, None, "FILE", "the secret behind the pseudonyms, else in FLEETTRACE_REDACT_KEY"
    )


def _live_trace_options(options: Options) -> None:
    _trace_options(options, window="60s")


def _check_output_options(options: Options) -> None:
    options.value("--top", count, "20", "N", "keys to report")
    options.value("--output", Choice("table", "json"), "table", "FORMAT", "table or json")
    options.value("--out", str, None, "FILE", "write the report there instead of stdout", short="-o")
    options.switch("--no-color", "no colour, also with NO_COLOR set")


def _save_options(options: Options) -> None:
    options.value("--save", str, None, "FILE", "keep the run there, for `fleettrace report` and `fleettrace merge`")


def _store_option(options: Options) -> None:
    options.value("--store", str, None, "FILE", "the history of runs (else below /var/lib or ~/.local/share)")


def _keep_options(options: Options) -> None:
    _store_option(options)
    options.value("--keep", parse_retention, DEFAULT_KEEP, "LIMITS", "of the history: an age, a number, a size, or all")
    options.switch("--no-store", "do not keep the run in the history")


def _history_options(options: Options) -> None:
    options.value("--key", str, None, "KEY", "its timeline over the runs, as reports show the key")
    options.value("--host", str, None, "HOST", "its timeline over the runs")
    options.value("--playbook", str, None, "NAME", "only the runs of this playbook")
    options.value("--last", count, "20", "N", "the newest runs")
    options.value("--output", Choice("table", "json"), "table", "FORMAT", "table or json")


def _diff_options(options: Options) -> None:
    options.value("--min-change", share, "25%", "SHARE", "of what was, below which a change is none")
    options.value("--top", count, "20", "N", "changes to show of keys, of families, of hosts")
    options.value("--output", Choice("table", "json"), "table", "FORMAT", "table or json")
    options.switch("--exit-code", "exit 1 when something changed")


def _session_options(options: Options) -> None:
    options.switch("--ask-become-pass", "ask once for sudo's password, for hosts whose inventory has none", short="-K")
    options.value("--log", str, None, "FILE", "add a line of JSON there for everything that happens")


def _schedule_options(options: Options) -> None:
    options.value("--resume", str, None, "RUN", "sweep what failed in a run that was saved, and complete it")
    options.value("--name", str, None, "NAME", "one run of a name at a time (default: the hosts that are asked for)")
    options.value("--splay", duration, None, "TIME", "wait up to that long first, on one machine always the same time")


def _play_options(options: Options) -> None:
    options.values("--extra-vars", str, "NAME=VALUE|@FILE", "variables, over those of the playbook", short="-e")
    options.value("--tags", str, None, "TAG,...", "only the plays with one of these tags")
    options.value("--skip-tags", str, None, "TAG,...", "not the plays with one of these tags")
    options.value(
        "--fail-on", Choice(*_SEVERITIES), _SEVERITIES[0], "SEVERITY", "exit 1 for findings of low, medium or high on"
    )
    options.switch("--check", "log in everywhere, find instances, plan probes, trace nothing")
    options.switch("--list-hosts", "the hosts of each play; no connection")
    options.switch("--syntax-check", "read the playbooks and nothing else")
    options.switch("--schema", "print the JSON Schema of playbooks, for editors")


def _play_overrides(options: Options) -> None:
    options.value("--inventory", str, None, "FILE|DIR|SCRIPT|-", "the hosts, whatever the playbook says", short="-i")
    options.value("--limit", str, None, "PATTERN|@FILE", "of each play's hosts, only these")
    options.value("--ssh-config", str, None, "FILE", "read instead of ~/.ssh/config")
    options.switch("--no-color", "no colour, also with NO_COLOR set")
    options.switch("--no-store", "do not keep the runs in the history")
    _store_option(options)
    _word_options(options)


def _explain_options(options: Options) -> None:
    options.switch("--explain", "show each program to try, and why a host's newest check or run took its own")


def _detach_options(options: Options) -> None:
    options.switch("--detach", "one window for all: leave a trace on each host for one moment, collect it later")
    options.value("--detach-ttl", duration, "15m", "TIME", "how long a host keeps what nobody collects")


def _min_ok_option(options: Options) -> None:
    options.value("--min-ok", share, "50%", "SHARE", "hosts that must succeed for exit code 3 instead of 4")


def _word_options(options: Options) -> None:
    options.switch("--quiet", "on stderr only what went wrong", short="-q")
    options.switch("--verbose", "more on stderr", short="-v")


_COMMANDS: dict[str, tuple[str, Sequence[Callable[[Options], None]]]] = {
    "run": (
        "sweep now and report",
        (
            *(_inventory_options, _trace_options, _output_options, _name_options),
            *(_save_options, _keep_options, _connection_options),
            *(_detach_options, _session_options, _schedule_options, _word_options),
        ),
    ),
    "play": ("run playbooks", (_play_options, _play_overrides)),
    "top": (
        "the same as run, live",
        (
            *(_inventory_options, _live_trace_options, _output_options, _name_options),
            *(_save_options, _keep_options, _connection_options, _session_options, _word_options),
        ),
    ),
    "check": (
        "log in everywhere, find instances, plan probes, trace nothing",
        (
            *(_inventory_options, _trace_options, _check_output_options),
            *(_connection_options, _session_options, _word_options),
        ),
    ),
    "plan": (
        "which hosts, which program, what command line; no connection",
        (_inventory_options, _trace_options, _connection_options, _explain_options, _word_options),
    ),
    "hosts": ("what a pattern selects, with its variables", (_inventory_options, _word_options)),
    "report": ("render a kept run again", (_output_options, _name_options, _store_option, _word_options)),
    "diff": ("what changed from one run to another", (_diff_options, _store_option, _word_options)),
    "history": ("what is kept", (_history_options, _store_option, _word_options)),
    "merge": (
        "one report of many run files",
        (_output_options, _name_options, _save_options, _min_ok_option, _word_options),
    ),
    "demo": (
        "a fleet on this machine, traced for real",
        (_trace_options, _output_options, _name_options, _connection_options, _session_options, _word_options),
    ),
}

COMMANDS = tuple(_COMMANDS)


def add_options(command: str, options: Options) -> None:
    """Add all options of the command, by their long names."""
    for group in _COMMANDS[command][1]:
        group(options)


def parse(argv: Sequence[str], environ: Mapping[str, str] = os.environ) -> argparse.Namespace:
    """The command and its options. Raises `ConfigError` for a wrong command line or variable."""
    parser = _Parser(
        prog="fleettrace",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"fleettrace {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (text, _) in _COMMANDS.items():
        command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        add_options(name, ParserOptions(command, environ))
        if name == "play":
            command.add_argument("files", nargs="*", metavar="FILE", help="a playbook, or the name of one that ships")
            # Variables are for what a playbook leaves open: each play's own command line reads them.
            command.set_defaults(**dict.fromkeys(("inventory", "limit", "ssh_config", "store")))
            command.set_defaults(**dict.fromkeys(("no_color", "no_store", "quiet", "verbose"), False))
        if name == "report":
            command.add_argument("run", metavar="RUN", help=_RUN)
        if name == "diff":
            default = "default: the newest run before the other one that has its pattern and options"
            command.add_argument("before", nargs="?", default=None, metavar="RUN", help=f"{_RUN}; {default}")
            command.add_argument("after", nargs="?", default="last", metavar="RUN", help="the same; default last")
        if name == "merge":
            command.add_argument("files", nargs="+", metavar="FILE", help="what `fleettrace run --save FILE` wrote")
        if name == "hosts":
            command.add_argument("pattern", nargs="?", default=None, metavar="PATTERN", help="the same as --hosts")
    return parser.parse_args(argv)

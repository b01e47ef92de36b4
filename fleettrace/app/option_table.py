"""Every option of every command, as data: the parser, playbooks, `RunOptions` and the documentation are made from it.

Each option `--some-flag` can also be given as the environment variable FLEETTRACE_SOME_FLAG; the command line wins.
"""

from __future__ import annotations

from dataclasses import replace

from fleettrace.app.option_exporter import EXPORTER
from fleettrace.app.option_model import Command, Form, Group, Option, Positional, switch
from fleettrace.app.option_report import NAMES, NO_COLOR, OUT, OUTPUT, REPORT, RESOLVE, TABLE_OR_JSON, TOP
from fleettrace.app.option_site import SITE
from fleettrace.app.option_trace import DETACH, EXPLAIN, LIVE_TRACE, OF_WHO, TRACE
from fleettrace.app.option_values import Choice, count, duration, retries, share
from fleettrace.store.history.retention import DEFAULT as DEFAULT_KEEP
from fleettrace.store.history.retention import parse_retention
from fleettrace.sweep.waves import serial

__all__ = ["COMMANDS", "HOST_KEYS", "SEVERITIES"]

# The names of `transport.interface.HostKeyPolicy` and `playbook.findings.Severity`: to import those would double the
# time of `--help` (tests/cli/test_main.py).
HOST_KEYS = ("strict", "accept-new")
SEVERITIES = ("low", "medium", "high")


_INVENTORY = Option(
    "--inventory",
    Group.HOSTS,
    "Inventory, in any form that Ansible reads; repeatable (else ANSIBLE_INVENTORY, ansible.cfg, ./inventory.yaml, "
    "~/.config/fleettrace/inventory.yaml, /etc/fleettrace/inventory.yaml, /etc/ansible/hosts).",
    metavar="FILE|DIR|SCRIPT|-|HOST,...",
    short="-i",
    form=Form.LIST,
)
_ENDPOINT = Option(
    "--endpoint",
    Group.HOSTS,
    "Ask this memcached over its port, without a login (see docs/how-to/endpoint.md). Repeatable.",
    metavar="HOST:PORT",
    form=Form.LIST,
)
_LIMIT = Option(
    "--limit",
    Group.HOSTS,
    "Restrict --hosts to this pattern; @FILE reads it from a file, @FILE/failed selects the hosts that failed in the "
    "run of that file of --save or JSON report. Repeatable: the union.",
    metavar="PATTERN|@FILE",
    short="-l",
    form=Form.UNION,
)
_HOSTS = (
    _INVENTORY,
    Option(
        "--hosts",
        Group.HOSTS,
        "Hosts to select, as an Ansible host pattern. Repeatable: the union.",
        str,
        "all",
        "PATTERN",
        form=Form.UNION,
    ),
    _LIMIT,
    Option(
        "--shard",
        Group.HOSTS,
        "Trace part K of N of the selected hosts, split by a hash of their names, one part for each controller.",
        metavar="K/N",
    ),
)
_LIST_HOSTS = switch("--list-hosts", Group.HOSTS, "List the selected hosts; connect to none.")
_PATTERN = Positional("pattern", "PATTERN", "The same as --hosts.", nargs="*")
_MIN_OK = Option(
    "--min-ok", Group.SAFETY, "Share of hosts that must succeed for exit code 3 instead of 4.", share, "50%", "SHARE"
)
_SSH_CONFIG = Option("--ssh-config", Group.CONNECTION, "Read this instead of ~/.ssh/config.", metavar="FILE")
_FORKS = Option(
    "--forks", Group.CONNECTION, "Number of hosts to trace at a time.", count, "64", "N", "-f", from_ansible=True
)
_CONNECTION = (
    _FORKS,
    Option(
        "--serial",
        Group.SAFETY,
        "Sizes of the waves, as numbers or percentages, such as 1,10%,100%; a failure in the first wave ends the run.",
        serial,
        None,
        "SIZES",
    ),
    Option(
        "--max-fail", Group.SAFETY, "Abort when more than SHARE of the started hosts have failed.", share, None, "SHARE"
    ),
    Option("--retries", Group.CONNECTION, "Retries after a transient login failure.", retries, "2", "N"),
    Option(
        "--host-key",
        Group.CONNECTION,
        "strict, or accept-new: add an unknown host's key to known_hosts. A changed key is refused either way.",
        Choice(*HOST_KEYS),
        HOST_KEYS[0],
        "POLICY",
        from_ansible=True,
    ),
    Option(
        "--transport",
        Group.CONNECTION,
        "SSH client: ssh (the default) is built in, openssh runs the system's `ssh` with the site's configuration.",
        Choice("ssh", "openssh"),
        None,
        "CLIENT",
    ),
    _SSH_CONFIG,
    Option(
        "--connect-timeout",
        Group.CONNECTION,
        "Time limit of a whole login.",
        duration,
        "10s",
        "TIME",
        from_ansible=True,
    ),
    Option(
        "--deadline",
        Group.SAFETY,
        "Time limit of the whole run; what is collected by then is reported.",
        duration,
        "5m",
        "TIME",
    ),
    _MIN_OK,
)
_SAVE = Option(
    "--save", Group.RUNS, "Write a run file, for `fleettrace report` and `fleettrace merge`.", metavar="FILE"
)
_STORE = Option("--store", Group.RUNS, "History database (else below /var/lib or ~/.local/share).", metavar="FILE")
_NO_STORE = switch("--no-store", Group.RUNS, "Do not add the run to the history.")
_STORED = (
    _SAVE,
    _STORE,
    Option(
        "--keep",
        Group.RUNS,
        "History retention: maximum age, number of runs, size, or `all`.",
        parse_retention,
        DEFAULT_KEEP,
        "LIMITS",
    ),
    _NO_STORE,
)
_LOG = Option("--log", Group.MESSAGES, "Append every event to FILE, one JSON object a line.", metavar="FILE")
_SESSION = (*SITE, _LOG)
_NAME = Option(
    "--name",
    Group.SCHEDULE,
    "Name of the lock: one run of a name at a time (default: the selected hosts).",
    metavar="NAME",
)
_SCHEDULE = (
    Option(
        "--resume",
        Group.RUNS,
        "Sweep the hosts that failed in the run of a file of --save, and complete the file.",
        metavar="FILE",
    ),
    _NAME,
    Option(
        "--splay",
        Group.SCHEDULE,
        "Delay the start by a fixed, per-machine offset of at most TIME.",
        duration,
        None,
        "TIME",
    ),
)
_MESSAGES = (
    switch("--quiet", Group.MESSAGES, "Print only failures on stderr.", short="-q"),
    Option(
        "--verbose",
        Group.MESSAGES,
        "Print each step on stderr; -vv: also how each host is reached, and which setting comes from where.",
        short="-v",
        form=Form.COUNT,
    ),
)
_PLAYS = (
    Option(
        "--extra-vars",
        Group.PLAYS,
        "Variables; they take precedence over the playbook's. Repeatable.",
        metavar="NAME=VALUE|@FILE",
        short="-e",
        form=Form.LIST,
    ),
    Option("--tags", Group.PLAYS, "Run only plays with one of these tags.", metavar="TAG,..."),
    Option("--skip-tags", Group.PLAYS, "Leave out plays with one of these tags.", metavar="TAG,..."),
    Option(
        "--fail-on",
        Group.PLAYS,
        "Exit with 1 for findings of at least this severity: low, medium or high.",
        Choice(*SEVERITIES),
        SEVERITIES[0],
        "SEVERITY",
    ),
    switch("--check", Group.PLAYS, "Log in to each host, find instances and plan probes; trace nothing."),
    replace(_LIST_HOSTS, group=Group.PLAYS, help="List the hosts of each play; connect to none."),
    switch("--syntax-check", Group.PLAYS, "Check the playbooks and stop."),
    switch("--schema", Group.PLAYS, "Print the JSON Schema of playbooks, for editors."),
    replace(_INVENTORY, help="Inventory, instead of the playbook's."),
    replace(_LIMIT, help="Restrict each play's hosts to this pattern."),
    _FORKS,
    *SITE[1:],
    _SSH_CONFIG,
    NO_COLOR,
    _NO_STORE,
    _STORE,
    *_MESSAGES,
)
_HISTORY = (
    Option("--key", Group.RUNS, "Show this key over the runs, written as reports show it.", metavar="KEY"),
    Option("--host", Group.RUNS, "Show this host over the runs.", metavar="HOST"),
    Option("--playbook", Group.RUNS, "Only the runs of this play.", metavar="PLAYBOOK/PLAY"),
    Option("--last", Group.RUNS, "Number of runs, the newest ones.", count, "20", "N"),
    TABLE_OR_JSON,
    _STORE,
    *_MESSAGES,
)
_DIFF = (
    Option("--min-change", Group.REPORT, "Smallest relative change to report.", share, "25%", "SHARE"),
    replace(TOP, help="Number of changes to report, of keys, families and hosts each."),
    TABLE_OR_JSON,
    switch("--exit-code", Group.REPORT, "Exit with 1 when something changed."),
    _STORE,
    *_MESSAGES,
)
_RUN = "a run of the history (its id or the beginning of it, last, last~2), or a file of `fleettrace run --save`"
_RUN_FILES = Positional("files", "FILE", "A file of `fleettrace run --save FILE`.", nargs="+")

COMMANDS: dict[str, Command] = {
    "run": Command(
        "sweep the fleet once and report",
        (
            *(*_HOSTS, _ENDPOINT, *TRACE, *REPORT, *NAMES, *_STORED, *_CONNECTION),
            *(_LIST_HOSTS, *DETACH, *_SESSION, *_SCHEDULE, *_MESSAGES),
        ),
        (_PATTERN,),
    ),
    "play": Command(
        "run playbooks",
        _PLAYS,
        (Positional("files", "FILE", "A playbook, or the name of one that ships with fleettrace.", nargs="*"),),
    ),
    "top": Command(
        "sweep the fleet with a live screen",
        (*_HOSTS, _ENDPOINT, _LIST_HOSTS, *LIVE_TRACE, *REPORT, *NAMES, *_STORED, *_CONNECTION, *_SESSION, *_MESSAGES),
        (_PATTERN,),
    ),
    "check": Command(
        "log in to each host, find instances and plan probes; trace nothing",
        (
            *_HOSTS,
            _ENDPOINT,
            _LIST_HOSTS,
            *TRACE,
            TOP,
            TABLE_OR_JSON,
            OUT,
            NO_COLOR,
            *_CONNECTION,
            *_SESSION,
            *_MESSAGES,
        ),
        (_PATTERN,),
    ),
    "who": Command(
        "show which clients ask for some keys",
        (
            *(*_HOSTS, *(option for option in TRACE if option.flag in OF_WHO), *_CONNECTION, *SITE),
            *(replace(TOP, help="Number of clients to show of each key."), TABLE_OR_JSON, OUT, RESOLVE, *_MESSAGES),
        ),
        (Positional("keys", "KEY", "A key, written as reports show it.", nargs="+"),),
    ),
    "exporter": Command(
        "sweep at intervals and serve metrics for Prometheus",
        (*_HOSTS, *EXPORTER, *_CONNECTION, _NAME, _LOG, *_MESSAGES),
        (_PATTERN,),
    ),
    "plan": Command(
        "show hosts, program and command line; connect to none",
        (*_HOSTS, _ENDPOINT, _LIST_HOSTS, *TRACE, *_CONNECTION, *SITE, TABLE_OR_JSON, EXPLAIN, *_MESSAGES),
        (_PATTERN,),
    ),
    "hosts": Command(
        "list the hosts that a pattern selects, with their variables",
        (
            *(*_HOSTS, _ENDPOINT, _LIST_HOSTS, *SITE),
            replace(OUTPUT, read=Choice("table", "json", "yaml"), help="table, or an inventory in json or yaml."),
            *_MESSAGES,
        ),
        (_PATTERN,),
    ),
    "report": Command(
        "report a stored run again",
        (*REPORT, *NAMES, _STORE, *_MESSAGES),
        (Positional("run", "RUN", f"{_RUN[0].upper()}{_RUN[1:]}."),),
    ),
    "diff": Command(
        "compare two runs",
        _DIFF,
        (
            Positional(
                "before",
                "RUN",
                f"{_RUN[0].upper()}{_RUN[1:]} (default: the newest run before the other one that has its pattern and "
                "options).",
                nargs="?",
            ),
            Positional("after", "RUN", "The run to compare with it (default last).", nargs="?", default="last"),
        ),
    ),
    "history": Command("list stored runs", _HISTORY),
    "merge": Command("merge run files into one report", (*REPORT, *NAMES, _SAVE, _MIN_OK, *_MESSAGES), (_RUN_FILES,)),
    "demo": Command(
        "trace a fleet of seven hosts made on this machine",
        (*TRACE, *REPORT, *NAMES, *_CONNECTION, *_SESSION, *_MESSAGES),
    ),
}

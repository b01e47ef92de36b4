"""The options that only `fleettrace exporter` has, and those that it takes from a run."""

from __future__ import annotations

from dataclasses import replace

from fleettrace.app.option_model import Group, Option
from fleettrace.app.option_report import NAMES, PROMETHEUS_KEYS, TOP
from fleettrace.app.option_site import SITE
from fleettrace.app.option_trace import LIVE_TRACE
from fleettrace.app.option_values import address, duration

__all__ = ["EXPORTER"]

EXPORTER = (
    replace(LIVE_TRACE[0], default="5s"),
    *LIVE_TRACE[1:],
    Option("--interval", Group.SCHEDULE, "Time from the start of a sweep to the next one.", duration, "5m", "TIME"),
    Option(
        "--listen",
        Group.REPORT,
        "IP address and port to serve /metrics on; port 0 takes a free one.",
        address,
        "127.0.0.1:9497",
        "ADDR:PORT",
    ),
    replace(PROMETHEUS_KEYS, help="Include the hottest keys as labels: every new hot key is a new series."),
    replace(TOP, help="Number of keys with --prometheus-keys."),
    *NAMES,
    # It asks for no password.
    *(option for option in SITE if not option.flag.startswith("--ask-")),
)

"""Build the target of an entry of a playbook's `notify:`.

- command: [/usr/local/bin/page, --team, cache]
- webhook: https://chat.example/hooks/cache
  secret_file: /etc/fleettrace/webhook.key
- mail: [oncall@example.com]
- textfile: /var/lib/prometheus/node-exporter/fleettrace.prom
- stamp: /var/lib/fleettrace/nightly.stamp
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fleettrace.playbook.notify.command import CommandTarget
from fleettrace.playbook.notify.interface import NotifyTarget, NotifyWhen
from fleettrace.playbook.notify.mail import MailTarget
from fleettrace.playbook.notify.secret import Secret
from fleettrace.playbook.notify.stamp import StampTarget
from fleettrace.playbook.notify.textfile import TextfileTarget
from fleettrace.playbook.notify.webhook import WebhookTarget

__all__ = ["OPTIONS", "target_of"]

OPTIONS: Mapping[str, tuple[str, ...]] = {
    "command": ("on", "timeout"),
    "webhook": ("on", "timeout", "retries", "secret_file", "secret_variable"),
    "mail": ("on", "timeout", "from", "sendmail"),
    "textfile": (),
    "stamp": (),
}
"""The kinds of target, each with its options."""

_FIELDS = {"on": "on", "timeout": "timeout_s", "retries": "retries", "from": "sender", "sendmail": "sendmail"}
_CONVERT: Mapping[str, Callable[[Any], Any]] = {
    "on": NotifyWhen,
    "timeout": float,
    "retries": int,
    "from": str,
    "sendmail": str,
}


def target_of(entry: Mapping[str, Any]) -> NotifyTarget:
    """Return the target of an entry: one of the kinds, with its options.

    `command` is a list of strings, `mail` a list of addresses, `webhook` a URL, `textfile` and `stamp` are paths;
    `timeout` is in seconds, `on` is `change` or `every`. Raise `ValueError` with a message for the user.
    """
    kinds = [kind for kind in OPTIONS if kind in entry]
    if len(kinds) != 1:
        raise ValueError(f"expected exactly one of {', '.join(OPTIONS)}")
    kind = kinds[0]
    beside = set(entry) - {kind, *OPTIONS[kind]}
    if beside:
        raise ValueError(f"{min(beside)} is not an option of {kind}: expected {', '.join(OPTIONS[kind]) or 'nothing'}")
    options: dict[str, Any] = {_FIELDS[name]: _CONVERT[name](entry[name]) for name in _FIELDS if name in entry}
    match kind:
        case "command":
            return CommandTarget(tuple(entry[kind]), **options)
        case "webhook":
            return WebhookTarget(entry[kind], _secret(entry), **options)
        case "mail":
            return MailTarget(tuple(entry[kind]), **options)
        case "textfile":
            return TextfileTarget(Path(entry[kind]))
    return StampTarget(Path(entry[kind]))


def _secret(entry: Mapping[str, Any]) -> Secret | None:
    file, variable = entry.get("secret_file"), entry.get("secret_variable")
    return None if file is None and variable is None else Secret(None if file is None else Path(file), variable)

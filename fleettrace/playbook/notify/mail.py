"""Send a notice by mail through the system's sendmail, which knows the mail relay of this machine."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTPUTF8
from email.utils import formatdate
from pathlib import Path

from fleettrace.playbook.notify.interface import FindingChanges, Notice, NotifyError, NotifyWhen
from fleettrace.playbook.notify.process import feed
from fleettrace.report.escape import escape_text
from fleettrace.yaml_reader.tree import Location

__all__ = ["SENDMAIL", "MailTarget"]

SENDMAIL = "/usr/sbin/sendmail"
"""The path in the Linux Standard Base, where the mail servers of all distributions install it."""

_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+(@[A-Za-z0-9.-]+)?")
"""Addresses that need no quoting (RFC 5322's dot-atoms), and local names: none can begin a header."""

_LINES = 200
"""Lines of the longest mail; `fleettrace report` shows the rest."""


@dataclass(frozen=True, slots=True)
class MailTarget:
    """One or several mailboxes."""

    to: tuple[str, ...]
    sender: str | None = None
    """None: sendmail sets the sender."""
    sendmail: str = SENDMAIL
    timeout_s: float = 30.0
    on: NotifyWhen = NotifyWhen.CHANGE
    repeat_s: float | None = None
    origin: Location | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.to:
            raise ValueError("mail has no address: expected one such as oncall@example.com")
        for address in (*self.to, *(() if self.sender is None else (self.sender,))):
            if not _ADDRESS.fullmatch(address) or address.startswith("-"):
                raise ValueError(f"{address!r} is not a mail address: expected one such as oncall@example.com")

    @property
    def name(self) -> str:
        """Return the recipients."""
        return f"mail to {', '.join(self.to)}"

    @property
    def address(self) -> str:
        """Return the recipients."""
        return "\0".join(("mail", *self.to))

    def check(self) -> None:
        """Raise `NotifyError` when sendmail is missing."""
        if not Path(self.sendmail).exists():
            raise NotifyError(f"{self.sendmail} does not exist: install a mail server, or a relay such as msmtp-mta")

    def send(self, notice: Notice, changes: FindingChanges) -> None:
        """Hand the mail to sendmail. Raise `NotifyError`."""
        # -t: sendmail takes the addresses from the headers. -i: a line of a single dot does not end the mail.
        feed((self.sendmail, "-t", "-i"), self._mail(notice, changes), self.timeout_s)

    def _mail(self, notice: Notice, changes: FindingChanges) -> bytes:
        """Return the mail. Its headers hold only texts of the playbook, escaped so that they cannot end a line."""
        mail = EmailMessage(SMTPUTF8.clone(linesep="\n"))
        mail["To"] = ", ".join(self.to)
        if self.sender is not None:
            mail["From"] = self.sender
        mail["Subject"] = escape_text(f"[fleettrace] {notice.headline(changes)}")
        mail["Date"] = formatdate(notice.at)
        mail["Auto-Submitted"] = "auto-generated"
        lines = notice.lines(changes)
        if len(lines) > _LINES:
            lines = [*lines[:_LINES], f"  and {len(lines) - _LINES:,} more lines, left out of this mail"]
        mail.set_content("".join(f"{line}\n" for line in lines), cte="quoted-printable")
        return mail.as_bytes()

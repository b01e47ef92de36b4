"""Telling people by mail, through the system's own sendmail, which knows how mail leaves this machine."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTPUTF8
from email.utils import formatdate
from pathlib import Path

from fleettrace.playbook.notify.interface import FindingChanges, Notice, NotifyError, NotifyWhen
from fleettrace.playbook.notify.process import feed
from fleettrace.report.escape import escape_text

__all__ = ["SENDMAIL", "MailTarget"]

SENDMAIL = "/usr/sbin/sendmail"
"""Where every mail server of every distribution puts it (the Linux Standard Base has /usr/sbin/sendmail)."""

_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+(@[A-Za-z0-9.-]+)?")
"""The addresses that need no quoting (RFC 5322's dot-atoms), and local names: nothing that could begin a header."""

_LINES = 200
"""Lines in the longest mail: nobody reads more, and the report has the rest."""


@dataclass(frozen=True, slots=True)
class MailTarget:
    """Some people's mailboxes."""

    to: tuple[str, ...]
    sender: str | None = None
    """None: as sendmail has it."""
    sendmail: str = SENDMAIL
    timeout_s: float = 30.0
    on: NotifyWhen = NotifyWhen.CHANGE

    def __post_init__(self) -> None:
        if not self.to:
            raise ValueError("mail needs an address")
        for address in (*self.to, *(() if self.sender is None else (self.sender,))):
            if not _ADDRESS.fullmatch(address) or address.startswith("-"):
                raise ValueError(f"{address!r} is no address for mail: expected such as oncall@example.com")

    @property
    def name(self) -> str:
        """Whom it is for."""
        return f"mail to {', '.join(self.to)}"

    @property
    def address(self) -> str:
        """Whom it is for."""
        return "\0".join(("mail", *self.to))

    def check(self) -> None:
        """Raise `NotifyError` when there is no sendmail."""
        if not Path(self.sendmail).exists():
            raise NotifyError(f"there is no {self.sendmail}: install a mail server, or a relay such as msmtp-mta")

    def tell(self, notice: Notice, news: FindingChanges) -> None:
        """Hand the mail to sendmail. Raises `NotifyError`."""
        # Addresses come from the headers (-t), and a line with a dot alone ends nothing (-i).
        feed((self.sendmail, "-t", "-i"), self._mail(notice, news), self.timeout_s)

    def _mail(self, notice: Notice, news: FindingChanges) -> bytes:
        """Headers hold only the playbook's own words, and those with nothing that could end a line."""
        mail = EmailMessage(SMTPUTF8.clone(linesep="\n"))
        mail["To"] = ", ".join(self.to)
        if self.sender is not None:
            mail["From"] = self.sender
        mail["Subject"] = escape_text(f"[fleettrace] {notice.title}: {notice.verdict}")
        mail["Date"] = formatdate(notice.at)
        mail["Auto-Submitted"] = "auto-generated"
        lines = notice.lines(news)
        if len(lines) > _LINES:
            lines = [*lines[:_LINES], f"  and {len(lines) - _LINES:,} lines more, which are not in this mail"]
        mail.set_content("".join(f"{line}\n" for line in lines), cte="quoted-printable")
        return mail.as_bytes()

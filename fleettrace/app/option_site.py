"""The options that fleettrace shares with Ansible's own commands: how to log in, become root and open the vault."""

from __future__ import annotations

from fleettrace.app.option_model import Form, Group, Option, switch
from fleettrace.app.option_values import Choice

__all__ = ["SITE"]

SITE = (
    Option(
        "--extra-vars",
        Group.HOSTS,
        "Variables of all hosts; they take precedence over the inventory's. Repeatable.",
        metavar="NAME=VALUE|@FILE",
        short="-e",
        form=Form.LIST,
    ),
    Option(
        "--user", Group.CONNECTION, "User to log in as, where the inventory names none.", metavar="USER", short="-u"
    ),
    switch("--ask-pass", Group.CONNECTION, "Ask once for the password of the login.", short="-k"),
    Option("--private-key", Group.CONNECTION, "Key to log in with, where the inventory names none.", metavar="FILE"),
    Option(
        "--ssh-common-args",
        Group.CONNECTION,
        "Options for ssh, as in Ansible, where the inventory sets none.",
        metavar="OPTIONS",
    ),
    Option("--ssh-extra-args", Group.CONNECTION, "More options for ssh, as in Ansible.", metavar="OPTIONS"),
    switch(
        "--become",
        Group.CONNECTION,
        "Become root: the default, unless the inventory sets ansible_become to false.",
        short="-b",
    ),
    Option(
        "--become-method",
        Group.CONNECTION,
        "Where the inventory does not set it: sudo (the default), su, doas, dzdo, pbrun, run0 or none.",
        Choice("sudo", "su", "doas", "dzdo", "pbrun", "run0", "none"),
        metavar="METHOD",
    ),
    Option("--become-user", Group.CONNECTION, "User to become instead of root.", metavar="USER"),
    switch(
        "--ask-become-pass",
        Group.CONNECTION,
        "Ask once for the password of sudo or su, for hosts without one in the inventory.",
        short="-K",
    ),
    Option(
        "--vault-password-file",
        Group.CONNECTION,
        "File with the password of ansible-vault, or a program that prints it. Repeatable.",
        metavar="FILE",
        form=Form.LIST,
    ),
    Option(
        "--vault-id",
        Group.CONNECTION,
        "Password of ansible-vault, with its label: LABEL@FILE or LABEL@prompt. Repeatable.",
        metavar="LABEL@SOURCE",
        form=Form.LIST,
    ),
    switch("--ask-vault-pass", Group.CONNECTION, "Ask for the password of ansible-vault when one is needed.", "-J"),
    switch("--no-ansible-cfg", Group.CONNECTION, "Read neither ansible.cfg nor Ansible's variables (ANSIBLE_*)."),
)

"""Trace the memcached instances of a host over Ansible's connection, with the controller's fleettrace."""

from __future__ import annotations

import shlex
import sys
from contextlib import suppress
from pathlib import Path

from ansible import constants
from ansible.errors import AnsibleActionFail, AnsibleAuthenticationFailure, AnsibleConnectionFailure, AnsibleError
from ansible.module_utils.common.text.converters import to_bytes
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

try:
    from fleettrace.app.ansible.one_shot import OneShotTransport
    from fleettrace.app.ansible.tracing import (
        UNREACHABLE,
        TaskOptions,
        run_directory,
        summary,
        trace,
        write_run_file,
    )
    from fleettrace.errors import ConfigError, HostError, HostState
except ImportError as error:
    MISSING = error
else:
    MISSING = None

_display = Display()

OPTIONS = {
    "duration": {"type": "str", "default": "10s"},
    "probe": {
        "type": "str",
        "default": "auto",
        "choices": ["auto", "item", "usdt", "command", "syscall", "watch"],
    },
    "ops": {"type": "list", "elements": "str", "default": []},
    "misses": {"type": "bool", "default": False},
    "sizes": {"type": "bool", "default": False},
    "max_cost": {"type": "str", "default": "50%"},
    "allow_preemptible": {"type": "bool", "default": False},
    "top": {"type": "int", "default": 10},
    "dest": {"type": "path"},
    "run": {"type": "str"},
    # A task that omits these takes the variables of the same meaning in fleettrace's inventories.
    "bpftrace": {"type": "raw"},
    "scope": {"type": "str", "choices": ["host", "netns"]},
    "instances": {"type": "list", "elements": "raw"},
}


class ActionModule(ActionBase):
    """The task. It copies nothing to the host, and needs no Python there."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp=None, task_vars=None):
        """Run the task on one host."""
        task_vars = task_vars or {}
        result = super().run(tmp, task_vars)
        if MISSING is not None:
            raise AnsibleActionFail(
                f"fleettrace is missing ({MISSING}): install it for the Python that runs Ansible, {sys.executable}, "
                "for example in the execution environment"
            )
        options = self.validate_argument_spec(argument_spec=OPTIONS)[1]
        check = self._task.check_mode
        with suppress(AnsibleError, KeyError):
            # Without this, Ansible would reconnect after an interruption and silently trace a second time.
            self._connection.set_option("reconnection_retries", 0)
        host = task_vars["inventory_hostname"]
        try:
            task_options = TaskOptions.of(
                self._with_variables(options, task_vars),
                hosts=len(task_vars.get("ansible_play_hosts_all") or [host]),
                trace=not check,
            )
            if options["dest"] and not check:
                run_directory(Path(options["dest"]))
            outcome = trace(host, OneShotTransport(self._run, become=self._becomes), task_options)
            result.update(changed=False, run_file=None, controller_directory=str(Path.cwd()))
            result.update(summary(outcome, task_options))
            if options["dest"] and not check:
                play = task_vars.get("ansible_play_name") or "all"
                path = write_run_file(Path(options["dest"]), options["run"], play, host, outcome, task_options)
                result["run_file"] = str(path)
        except (ConfigError, ValueError) as error:
            raise AnsibleActionFail(str(error)) from error
        for warning in outcome.warnings:
            _display.warning(f"{host}: {warning.message}")
        return self._judged(result, outcome.result)

    def _with_variables(self, options, task_vars):
        """Return the options, completed by `fleettrace_bpftrace`, `fleettrace_scope` and `fleettrace_instances`."""
        given = {
            name: self._templar.template(task_vars.get(f"fleettrace_{name}"))
            if options[name] is None
            else options[name]
            for name in ("bpftrace", "scope", "instances")
        }
        words = given["bpftrace"] or []
        instances = given["instances"] or []
        if not isinstance(words, (str, list)):
            raise ValueError(f"bpftrace: expected a command as a string or a list of words, not {words!r}")
        try:
            words = shlex.split(words) if isinstance(words, str) else words
        except ValueError as error:
            raise ValueError(f"bpftrace: {error} in {words!r}") from None
        return {
            **options,
            "bpftrace": [str(word) for word in words],
            "scope": given["scope"] or "host",
            "instances": instances if isinstance(instances, list) else [instances],
        }

    def _judged(self, result, host):
        """Return the result, marked failed or unreachable (in Ansible's sense) unless the host is complete."""
        if host.complete:
            return result
        result["msg"] = host.error.message if host.error else f"the host is {host.state}"
        result["unreachable" if host.state in UNREACHABLE else "failed"] = True
        return result

    @property
    def _becomes(self):
        user, remote = self.get_become_option("become_user"), self._get_remote_user()
        same = user == remote and any((user, remote)) and not constants.BECOME_ALLOW_SAME_USER
        return bool(self._connection.become) and not same

    def _run(self, command, data):
        """Run one command over Ansible's connection, like `ActionBase._low_level_execute_command`, but in bytes."""
        if self._becomes:
            command = self._connection.become.build_become_command(command, self._connection._shell)
        if self._connection.allow_executable and self._play_context.executable:
            command = f"{self._play_context.executable} -c {shlex.quote(command)}"
        if self._connection.transport == "local":
            self._connection.cwd = to_bytes(self._loader.get_basedir(), errors="surrogate_or_strict")
        try:
            status, out, err = self._connection.exec_command(command, in_data=data, sudoable=True)
        except AnsibleAuthenticationFailure as error:
            raise HostError(HostState.AUTH_FAILED, "auth-failed", _line(error)) from error
        except AnsibleConnectionFailure as error:
            raise _unreachable(_line(error)) from error
        except AnsibleError as error:
            words = _line(error)
            code = "become-wrong-password" if "Incorrect" in words else "become-password-required"
            if "password" in words:
                raise HostError(HostState.BECOME_FAILED, code, f"{words}: check `ansible_become_password`") from error
            raise _unreachable(words) from error
        return (status or 0), out, err


def _unreachable(words):
    if "privilege escalation" in words:
        return HostError(HostState.BECOME_FAILED, "become-timeout", words)
    if "ost key verification failed" in words:
        return HostError(HostState.HOST_KEY, "host-key", words)
    if "Permission denied" in words:
        return HostError(HostState.AUTH_FAILED, "auth-failed", words)
    return HostError(HostState.UNREACHABLE, "connection-failed", words)


def _line(error):
    return " ".join(str(error).split())

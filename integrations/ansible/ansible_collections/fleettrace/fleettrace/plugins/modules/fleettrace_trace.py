#!/usr/bin/python
"""The documentation of the action of the same name, which does the work on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fleettrace_trace
short_description: Count the keys that the memcacheds of a host are asked for
version_added: 0.1.0
author: The fleettrace authors
description:
  - Finds every memcached of the host, in containers or not, traces them with bpftrace for a bounded time, and returns
    the counts by key. The memcacheds are neither restarted nor changed.
  - It is an action, run on the controller by the fleettrace that is installed there (or in the execution environment),
    over the connection and with the privilege escalation that Ansible has. The host needs bpftrace and root, and no
    Python.
  - Ansible's connections give a command's output when the command has ended. So a host's counts are here when its
    window is over, and a trace that Ansible gives up on ends on the host by its own bounds.
  - In check mode it finds the memcacheds and plans their probes, and traces nothing.
options:
  duration:
    description: How long to trace, such as V(10s) or V(1m30s).
    type: str
    default: 10s
  probe:
    description: The rung of fleettrace's ladder of probes.
    type: str
    choices: [auto, item, usdt, command, syscall, watch]
    default: auto
  ops:
    description: Count only these kinds of request (get, set, delete, arith, touch, other).
    type: list
    elements: str
    default: []
  misses:
    description: Count misses by key too. A return probe, which about doubles the cost.
    type: bool
    default: false
  sizes:
    description: Add up the bytes of the values written, by key.
    type: bool
    default: false
  max_cost:
    description: The share of a core that tracing may take from a memcached. Where it would take more, the window is
      shortened.
    type: str
    default: 50%
  allow_preemptible:
    description: Trace on preemptible kernels from 6.13 on too, where a trace was seen to mix up keys. Counts there
      certify nothing.
    type: bool
    default: false
  top:
    description: How many of the host's hottest keys to return. Key names may be private; V(0) returns none.
    type: int
    default: 10
  dest:
    description: A folder on the controller, made if need be, where the host's run file is written for C(fleettrace
      merge). Hosts that failed get one, too.
    type: path
  run:
    description: The id of the run that this host is a part of. Files of one id are merged as one run.
    type: str
  bpftrace:
    description: The command that runs bpftrace on the host, as a string or a list of words. Else the variable
      C(fleettrace_bpftrace), else V(bpftrace).
    type: raw
  scope:
    description: V(netns) takes only the memcacheds in the network namespace that one logs in to. Else the variable
      C(fleettrace_scope), else V(host).
    type: str
    choices: [host, netns]
  instances:
    description: Which memcacheds, by port (V(11211)), container (V(container:mc-*)) or user (V(user:memcache)). Else
      the variable C(fleettrace_instances), else all.
    type: list
    elements: raw
attributes:
  check_mode:
    support: full
    description: Finds the memcacheds and plans their probes; the result has no counts and there is no run file.
  async:
    support: none
    description: The task lasts as long as its window and some seconds.
"""

EXAMPLES = r"""
- name: Trace the caches for half a minute
  fleettrace.fleettrace.fleettrace_trace:
    duration: 30s
    dest: /var/lib/fleettrace/runs
  become: true
  register: traced

- name: Show what a host was asked for most
  ansible.builtin.debug:
    msg: "{{ traced['keys'] | map(attribute='key') | list }}"
"""

RETURN = r"""
state:
  description: What became of the host, in fleettrace's words. The task fails unless it is V(ok) or V(no-instances).
  returned: always
  type: str
  sample: ok
error:
  description: The C(code) and the C(message) of what went wrong.
  returned: always
  type: dict
requests:
  description: Requests counted, null where nothing was traced.
  returned: always
  type: int
rate:
  description: Requests a second.
  returned: always
  type: float
keys:
  description: The host's hottest keys, each with C(key) (bytes that are not visible are escaped) and C(requests).
  returned: always
  type: list
  elements: dict
instances:
  description: Each memcached, with its C(pid), C(ports), C(version), C(state), C(rung), C(exact), C(why), C(window_s),
    C(requests) and C(absent).
  returned: always
  type: list
  elements: dict
run_file:
  description: The run file on the controller.
  returned: always
  type: str
"""


def main():
    """Only reached where the action was passed over."""
    from ansible.module_utils.basic import AnsibleModule

    AnsibleModule({}, supports_check_mode=True).fail_json("fleettrace_trace is an action: call it by its full name")


if __name__ == "__main__":
    main()

#!/usr/bin/python
"""The documentation of the action of the same name, which runs on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: fleettrace_trace
short_description: Count the requests by key of a host's memcached instances
version_added: 0.1.0
author: The fleettrace authors (!UNKNOWN)
description:
  - Finds every memcached of the host, in containers or not, traces them with bpftrace for a bounded time, and returns
    the counts by key. The instances are neither restarted nor changed.
  - It is an action that runs on the controller with the fleettrace installed there (or in the execution environment),
    over Ansible's connection and with its privilege escalation. The host needs bpftrace and root, and no Python.
  - Ansible's connections return a command's output when the command has ended, so a host's counts arrive after its
    window. A trace that Ansible abandons ends on the host by its own time limit.
  - In check mode it finds the instances and plans their probes, and traces nothing.
options:
  duration:
    description: Duration of the trace, such as V(10s) or V(1m30s).
    type: str
    default: 10s
  probe:
    description: The probe kind; V(auto) selects the best one for each instance.
    type: str
    choices: [auto, item, usdt, command, syscall, watch]
    default: auto
  ops:
    description: Count only these operations (get, set, delete, arith, touch, other).
    type: list
    elements: str
    default: []
  misses:
    description: Count misses by key too. Some binaries need a return probe for it, which about doubles the cost.
    type: bool
    default: false
  sizes:
    description: Add up the bytes of the values written, by key.
    type: bool
    default: false
  max_cost:
    description: Maximum share of one CPU core that tracing may cost an instance. The window is shortened to stay below
      it.
    type: str
    default: 50%
  allow_preemptible:
    description: Trace on preemptible kernels from 6.13 on too, where traces have been seen to mix up keys. Counts from
      such kernels certify nothing.
    type: bool
    default: false
  top:
    description: Number of the host's hottest keys to return, 0 to 100000. Key names can be private; V(0) returns none.
    type: int
    default: 10
  dest:
    description: A directory on the controller for the host's run file, which C(fleettrace merge) reads. It is created
      if needed; failed hosts have a run file too. A relative path starts where Ansible was started.
    type: path
  run:
    description: The id of the run that this host belongs to. Files with one id merge into one run.
    type: str
  bpftrace:
    description: The command that runs bpftrace on the host, as a string or a list of arguments. The default is the
      variable C(fleettrace_bpftrace), then V(bpftrace).
    type: raw
  scope:
    description: V(netns) selects only the instances in the network namespace of the login. The default is the variable
      C(fleettrace_scope), then V(host).
    type: str
    choices: [host, netns]
  instances:
    description: The instances to trace, by port (V(11211)), container (V(container:mc-*)) or user (V(user:memcache)).
      The default is the variable C(fleettrace_instances), then all.
    type: list
    elements: raw
attributes:
  check_mode:
    support: full
    description: Finds the instances and plans their probes; the result has no counts, and no run file is written.
  async:
    support: none
    description: The task takes some seconds longer than its window.
"""

EXAMPLES = r"""
- name: Trace the caches for half a minute
  fleettrace.fleettrace.fleettrace_trace:
    duration: 30s
    dest: /var/lib/fleettrace/runs
  become: true
  register: traced

- name: Show the hottest keys of a host
  ansible.builtin.debug:
    msg: "{{ traced['top_keys'] | map(attribute='key') | list }}"
"""

RETURN = r"""
state:
  description: The state of the host in fleettrace's report. The task fails unless it is V(ok) or V(no-instances).
  returned: always
  type: str
  sample: ok
error:
  description: The C(code) and the C(message) of the error; null without one.
  returned: always
  type: dict
requests:
  description: Number of requests; null where nothing was traced.
  returned: always
  type: int
rate:
  description: Requests per second.
  returned: always
  type: float
top_keys:
  description: The host's hottest keys, each with C(key) (bytes that are not printable are escaped) and C(requests).
  returned: always
  type: list
  elements: dict
instances:
  description: Each memcached, with its C(pid), C(ports), C(version), C(state), C(kind) (of the probe), C(exact),
    C(why), C(window_s), C(requests) and C(absent).
  returned: always
  type: list
  elements: dict
run_file:
  description: The absolute path of the run file on the controller; null where none was requested.
  returned: always
  type: str
controller_directory:
  description: The working directory on the controller, where relative paths start.
  returned: always
  type: str
"""

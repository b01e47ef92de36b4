"""Shards divide the fleet: each host is in exactly one shard, always the same one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleettrace.errors import ConfigError
from fleettrace.inventory import Host, stable_shard

_HOSTS = st.lists(st.text(min_size=1), unique=True).map(lambda names: [Host(name, {}) for name in names])


@given(_HOSTS, st.integers(1, 20))
def test_each_host_is_in_one_shard(hosts: list[Host], parts: int) -> None:
    shards = [stable_shard(hosts, f"{part}/{parts}") for part in range(1, parts + 1)]
    assert sorted(host.name for shard in shards for host in shard) == sorted(host.name for host in hosts)


@given(_HOSTS, _HOSTS)
def test_other_hosts_move_no_host(some: list[Host], more: list[Host]) -> None:
    names = {host.name for host in stable_shard(some, "2/3")}
    assert names == {host.name for host in stable_shard(some + more, "2/3")} & {host.name for host in some}


def test_hash_is_fixed() -> None:
    hosts = [Host(f"cache-{number:03}", {}) for number in range(1, 13)]
    assert [host.name for host in stable_shard(hosts, "1/4")] == ["cache-001", "cache-002", "cache-003", "cache-006"]


@pytest.mark.parametrize("shard", ["0/4", "5/4", "4", "a/b", "1/0", "-1/4", "1/4/2", ""])
def test_malformed_shard_is_refused(shard: str) -> None:
    with pytest.raises(ConfigError, match="expected K/N"):
        stable_shard([], shard)

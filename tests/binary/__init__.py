"""Tests of `fleettrace.binary`, against real builds of memcached."""

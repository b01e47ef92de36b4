"""Every kind of memcached under every bpftrace, in every protocol: exact or not at all."""

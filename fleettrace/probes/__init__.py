"""Which bpftrace program suits which memcached binary, at what cost, and the program's text. Pure."""

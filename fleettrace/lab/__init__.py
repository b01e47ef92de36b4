"""A real fleet on one machine, for demo and tests: hosts as network namespaces, each with sshd and memcached."""

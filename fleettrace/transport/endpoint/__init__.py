"""Ask a memcached over its own port, from the controller."""

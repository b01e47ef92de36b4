"""fleettrace: the hot keys of a whole memcached fleet, counted exactly with bpftrace over SSH."""

__version__ = "0.1.0"
__all__ = ["__version__"]

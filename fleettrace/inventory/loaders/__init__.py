"""The forms of an inventory, one module each. Each module adds what it reads to a `Tree`."""

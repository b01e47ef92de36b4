"""The forms in which an inventory comes, one module each. Each of them adds what it reads to a `Tree`."""

"""Generated examples have no deadline of their own: on a busy machine time says nothing about the code."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("fleettrace", deadline=None)
settings.load_profile("fleettrace")

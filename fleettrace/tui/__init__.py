"""The live screen of `fleettrace top`, and progress lines."""

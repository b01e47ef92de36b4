"""What an ELF file says about itself: symbols, functions, cheap instructions. Pure: bytes in, values out.

Every byte here comes from a node or a container and may be broken or hostile: whatever is wrong ends in `BinaryError`
(one line), never in a crash, a hang or unbounded memory. `analysis.analyse` is the one entry point other packages need.
"""

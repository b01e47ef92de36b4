"""Read ELF files: symbols, functions, cheap instructions. Pure: bytes in, values out.

Every byte comes from a node or a container and may be broken or hostile. Any fault ends in `BinaryError` (one line),
never in a crash, a hang or unbounded memory. Other packages need only `analysis.analyse`.
"""

"""Show what a uprobe on a nop does to the traced function's red zone, the 128 bytes below the stack pointer.

A leaf function keeps a value there across a nop with a uprobe, 200,000 times. Needs root, bpftrace and gcc.

    python benchmarks/red_zone.py
"""

from __future__ import annotations

import platform
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory

NOP5 = ".byte 0x0f,0x1f,0x44,0x00,0x00"
PLACES = {
    "inside, 5 bytes": ("inside5", f"mov %rdi,-8(%rsp); inside5_probe: {NOP5}; mov -8(%rsp),%rax; ret"),
    "inside, 1 byte": ("inside1", "mov %rdi,-8(%rsp); inside1_probe: nop; mov -8(%rsp),%rax; ret"),
    "at the entry, 5 bytes": ("entry5", f"entry5_probe: {NOP5}; mov %rdi,-8(%rsp); mov -8(%rsp),%rax; ret"),
}
TIMES = 200_000


def source() -> str:
    """Return the traced program: it waits for a line, calls each function, and prints how many values each lost."""
    functions = "".join(
        f'__attribute__((naked, noinline)) long {name}(long v) {{ __asm__(".globl {name}_probe; {code}"); }}\n'
        for name, code in PLACES.values()
    )
    loops = "".join(
        f"  {{ long lost = 0; for (long i = 1; i <= {TIMES}; i++) lost += {name}(i) != i; "
        f'printf("{label}: %ld of {TIMES} lost\\n", lost); }}\n'
        for label, (name, _) in PLACES.items()
    )
    return f"#include <stdio.h>\n{functions}int main(void) {{\n  getchar();\n{loops}}}\n"


def main() -> None:
    with TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "leaf.c").write_text(source())
        program = directory / "leaf"
        subprocess.run(["gcc", "-O2", "-o", program, directory / "leaf.c"], check=True)
        listed = subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout
        # In a PIE by GNU ld, the code's file offset equals its address.
        offsets = {words[2]: int(words[0], 16) for words in map(str.split, listed.splitlines()) if len(words) == 3}
        subprocess.run(["strip", program], check=True)
        probes = "".join(
            f'uprobe:{program}:{offsets[f"{place}_probe"]:#x} {{ @["{place}"] = count(); }} '
            for place, _ in PLACES.values()
        )
        ready = 'interval:ms:100 { printf("ready\\n"); }'
        with (
            subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as traced,
            subprocess.Popen(
                ["bpftrace", "--unsafe", "-e", probes + ready], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            ) as tracer,
        ):
            assert tracer.stdout is not None
            while tracer.stdout.readline() not in (b"ready\n", b""):
                pass
            time.sleep(1)
            print(f"Linux {platform.release()}")
            print(traced.communicate("\n")[0], end="")
            tracer.kill()


if __name__ == "__main__":
    main()

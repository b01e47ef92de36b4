"""Programs of the user's own: their header, and how their variables are filled in."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleettrace.errors import ConfigError
from fleettrace.probes.layout import key_layout
from fleettrace.probes.model import ProbeOptions, Script, TraceSettings
from fleettrace.probes.program import ProbeTarget, program, uprobe_count
from fleettrace.probes.script import probe_count, read_script
from fleettrace.probes.selection import preview
from fleettrace.resources import resource_dir

SHIPPED = ("value-sizes", "slow-commands")
TEXT = """\
/* COUNTS: @n
   BYTES: @size */
uprobe:${exe}:${point:do_item_get},
uprobe:${exe}:malloc /${pids} && arg0 > 5/ {
    $key = arg0; $length = arg1;
    printf("mail me@here {");
    @mine[tid] = 1;
    if (1) { @n[${key}] = count(); @size[${key}] = sum(7); }
}
uretprobe:${exe}:${return:item_alloc|do_item_alloc} /${pids}/ { delete(@mine[tid]); }
"""


def script_of(directory: Path, text: str) -> Script:
    path = directory / "my.bt"
    path.write_text(text)
    return read_script(path)


def text_of(script: Script, *pids: int) -> str:
    return program(
        [ProbeTarget(preview(ProbeOptions(script=script)), pids)], key_layout((0, 17, 0)), TraceSettings(10.0), "N"
    )


def test_read_script_reads_the_header(tmp_path: Path) -> None:
    script = script_of(tmp_path, TEXT)
    assert (script.name, script.counts, script.bytes) == ("my.bt", "n", "size")
    assert script.attach_points == ("point:do_item_get", "return:item_alloc|do_item_alloc")


def test_program_fills_in_script_variables(tmp_path: Path) -> None:
    text = text_of(script_of(tmp_path, TEXT), 11, 12)
    assert "${" not in text
    assert "uprobe:/proc/11/exe:do_item_get," in text
    assert "uprobe:/proc/11/exe:malloc /(pid == 11 || pid == 12) && @w_N == 1 && arg0 > 5/" in text
    assert "uretprobe:/proc/11/exe:item_alloc" in text


def test_program_renames_script_maps_and_prints_declared_ones(tmp_path: Path) -> None:
    text = text_of(script_of(tmp_path, TEXT), 11)
    assert "@own_mine_N[tid] = 1" in text
    assert "@c_N[((uint64)pid << 32)" in text
    assert "@u_N[((uint64)pid << 32)" in text
    assert "print(@c_N, 2000)" in text
    assert "print(@u_N, 2000)" in text


def test_probe_count_counts_script_probes(tmp_path: Path) -> None:
    script = script_of(tmp_path, TEXT)
    assert probe_count(script) == 3
    assert uprobe_count([ProbeTarget(preview(ProbeOptions(script=script)), (11,))]) == 3 + 2
    wild = script_of(tmp_path, TEXT.replace("malloc", "mallo*"))
    assert uprobe_count([ProbeTarget(preview(ProbeOptions(script=wild)), (11,))]) is None


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_scripts_are_valid(name: str) -> None:
    script = read_script(resource_dir("bpftrace") / f"{name}.bt")
    text = text_of(script, 11)
    for opening, closing in ("{}", "()", "[]"):
        assert text.count(opening) == text.count(closing)
    assert probe_count(script) == {"value-sizes": 1, "slow-commands": 5}[name]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("COUNTS:", "counts", "COUNTS: @map"),
        ("${exe}", "${pid}", "my.bt:3: unknown variable ${pid}"),
        ("do_item_get", "main", "unknown function `main`"),
        ("@size[${key}]", "@size[1]", "no statement fills @size"),
        ("${pids}", "1", "the filter `/${pids}/`"),
    ],
)
def test_read_script_reports_the_fault(tmp_path: Path, old: str, new: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        script_of(tmp_path, TEXT.replace(old, new))
    assert expected in str(caught.value)


def test_read_script_refuses_absent_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_script(tmp_path / "absent.bt")

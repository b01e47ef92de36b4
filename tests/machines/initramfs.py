"""The initramfs of a guest: busybox, the modules that it needs, and the files of one boot.

The kernel unpacks several cpio archives in order. The archive that every boot of a kernel shares is cached, and the
files of one boot are appended to it.
"""

from __future__ import annotations

import lzma
import stat
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.machines.debian import Apt, built, machines_cache
from tests.machines.kernels import Kernel

__all__ = ["File", "archive", "base"]

File = bytes | str
"""The content of a file. Text is encoded as UTF-8; a file that begins with `#!` or ELF's magic is executable."""
_BOOT = (
    *("virtio_pci", "virtio_blk", "virtio_net", "virtio_rng", "af_packet"),
    *("crc32c_generic", "crc32c_cryptoapi", "ext4"),
)
"""Modules to load first. A module that does not exist is skipped: it is built in, or the kernel does not need it."""
_GUEST = Path(__file__).with_name("guest")
_DIRECTORY, _FILE, _LINK = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o644, stat.S_IFLNK | 0o777


def base(kernel: Kernel, extra_modules: Sequence[str] = ()) -> bytes:
    """Return the archive with busybox and the modules; `extra_modules` are included for modprobe and not loaded."""
    name = "-".join([kernel.name, kernel.arch, *extra_modules])
    path = built(machines_cache() / f"initramfs/{name}", lambda scratch: _make(kernel, extra_modules, scratch))
    return path.read_bytes() + archive({"init": (_GUEST / "init").read_text()})


def archive(files: Mapping[str, File]) -> bytes:
    """Return a cpio archive (format `newc`, Documentation/driver-api/early-userspace/buffer-format.rst) of files."""
    return b"".join(_entries(files))


def _make(kernel: Kernel, extra: Sequence[str], scratch: Path) -> None:
    order = _closure(kernel, _BOOT)
    tree = f"lib/modules/{kernel.release}"
    files: dict[str, File] = {"modules.boot": "".join(f"{tree}/{_plain(path)}\n" for path in order)}
    for path in dict.fromkeys([*order, *_closure(kernel, extra)]):
        files[f"{tree}/{_plain(path)}"] = _decompressed(kernel.modules / kernel.release / path)
    for listing in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        source = kernel.modules / kernel.release / listing
        if source.exists():
            files[f"{tree}/{listing}"] = source.read_bytes()
    files["bin/busybox"] = _busybox(kernel.arch)
    scratch.write_bytes(archive(files))


def _busybox(arch: str) -> bytes:
    """Return Debian's static busybox, of bookworm for every kernel."""
    path = machines_cache() / f"busybox-{arch}"
    tree = built(path, lambda target: Apt("bookworm", arch).unpack(["busybox-static"], target))
    return next(path for path in tree.glob("**/bin/busybox")).read_bytes()


def _closure(kernel: Kernel, names: Sequence[str]) -> list[str]:
    """Return the paths of modules and their dependencies, in an order that insmod accepts."""
    needs: dict[str, list[str]] = {}
    for line in (kernel.modules / kernel.release / "modules.dep").read_text().splitlines():
        path, _, rest = line.partition(":")
        needs[path] = rest.split()
    by_name = {Path(path).name.partition(".")[0].replace("-", "_"): path for path in needs}
    order: dict[str, None] = {}
    for name in names:
        if (found := by_name.get(name)) is not None:
            # modules.dep lists dependencies in the reverse order of loading.
            order |= dict.fromkeys([*reversed(needs[found]), found])
    return list(order)


def _plain(path: str) -> str:
    return path.removesuffix(".xz").removesuffix(".zst")


def _decompressed(path: Path) -> bytes:
    match path.suffix:
        case ".xz":
            return lzma.decompress(path.read_bytes())
        case ".zst":
            return subprocess.run(["zstd", "-dcq", path], check=True, capture_output=True).stdout
    return path.read_bytes()


def _entries(files: Mapping[str, File]) -> Iterator[bytes]:
    directories = dict.fromkeys(str(parent) for name in files for parent in reversed(Path(name).parents[:-1]))
    for number, directory in enumerate(directories):
        yield _entry(number, directory, _DIRECTORY, b"")
    for number, (name, content) in enumerate(files.items(), len(directories)):
        data = content.encode() if isinstance(content, str) else content
        executable = data.startswith((b"#!", b"\x7fELF"))
        yield _entry(number, name, _FILE | (0o111 if executable else 0), data)
    yield _entry(0, "TRAILER!!!", 0, b"")


def _entry(inode: int, name: str, mode: int, data: bytes) -> bytes:
    encoded = name.encode() + b"\0"
    fields = (inode + 1, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0)
    head = b"070701" + "".join(f"{value:08x}" for value in fields).encode() + encoded
    return _padded(head) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)

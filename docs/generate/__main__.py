"""Write every generated file; print those that changed.

python -m docs.generate
"""

from __future__ import annotations

from docs.generate.files import ROOT, generated, stale


def main() -> None:
    """Write the files and remove those that are generated no longer."""
    for path in stale():
        path.unlink()
        print(f"removed {path.relative_to(ROOT)}")
    for path, text in generated().items():
        if not path.exists() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()

"""Build what users install: wheel, sdist, `fleettrace.pyz` and Debian packages, the same bytes from the same commit."""

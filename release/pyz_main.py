"""`__main__.py` of `fleettrace.pyz`. A Python that is too old for fleettrace runs it as well, to report that."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036
    found = ".".join(map(str, sys.version_info[:2]))
    sys.stderr.write(
        "fleettrace: fleettrace.pyz: needs Python 3.11 or newer; this is Python "
        + found
        + " ("
        + sys.executable
        + "): "
        "run it with a newer one, such as `python3.11 fleettrace.pyz`\n"
    )
    sys.exit(2)

from release.pyz_launcher import main

sys.exit(main())

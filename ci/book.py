"""`medbook run`, `verify` and `site` in one process: torch is imported once, not three times.

A chapter that fails or a number that is off does not keep the site from being rendered: its status
page shows just that. The exit code is the worst of the three.
"""

import sys

from medbook._book.cli import INTERRUPTED, main

profile, *chapters = sys.argv[1:]
chosen = [*chapters, "--profile", profile]
worst = 0
for arguments in (["run", *chosen], ["verify", *chosen], ["site"]):
    sys.argv[1:] = arguments
    try:
        main()
    except SystemExit as end:
        if end.code == INTERRUPTED:
            raise
        worst = max(worst, int(end.code or 0))
sys.exit(worst)

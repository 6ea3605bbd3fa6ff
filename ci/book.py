"""`medbook verify`, which runs what is not up to date, and `site` in one process.

A chapter that fails or a number that is off does not keep the site from being rendered: its status
page shows just that. The exit code is the worse of the two.
"""

import sys

from medbook._book.cli import INTERRUPTED, main

profile, *chapters = sys.argv[1:]
worst = 0
for arguments in (["verify", *chapters, "--profile", profile], ["site"]):
    sys.argv[1:] = arguments
    try:
        main()
    except SystemExit as end:
        if end.code == INTERRUPTED:
            raise
        worst = max(worst, int(end.code or 0))
sys.exit(worst)

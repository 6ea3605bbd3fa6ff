"""`medbook run`, `verify` and `site` in one process: torch is imported once, not three times."""

import sys

from medbook._book.cli import main

profile, *chapters = sys.argv[1:]
chosen = [*chapters, "--profile", profile]
for arguments in (["run", *chosen], ["verify", *chosen], ["site"]):
    sys.argv[1:] = arguments
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise

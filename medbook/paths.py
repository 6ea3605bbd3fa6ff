"""Where the book's content lies: in a checkout, or inside the installed package."""

import os
from pathlib import Path

PACKAGE = Path(__file__).parent


def content_root() -> Path:
    """Folder that holds `book/systems.yml` and `chapters/`.

    The build tool names the checkout that it works on in `MEDBOOK_ROOT`.
    """
    if named := os.environ.get("MEDBOOK_ROOT"):
        return Path(named)
    checkout = PACKAGE.parent
    return checkout if (checkout / "book/systems.yml").exists() else PACKAGE / "_content"

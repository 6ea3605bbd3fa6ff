"""What ties a notebook to its results: a hash of each cell's code, and of each of its outputs."""

import hashlib
import json
from typing import Any

from nbformat import NotebookNode

from medbook._book.keys import code_cells, code_hash

OF_RUN, OF_COMMITTED = "the run", "the committed notebook"  # what digests were made of
DIGITS = 16
COUNTED = "execution_count"  # of an output; follows from its place

Digests = dict[str, Any]


def digests(notebook: NotebookNode, of: str = OF_RUN) -> Digests:
    """An entry a code cell: hash of its syntax tree, and of the bytes of all that it shows.

    Args:
        notebook: as it is published; what differs from run to run has been left out.
        of: `OF_COMMITTED` where the run that made the notebook stored none.
    """
    cells = [
        {"code": code_hash(cell.source), "shows": [digest(o) for o in cell.outputs]}
        for cell in code_cells(notebook)
    ]
    return {"of": of, "cells": cells}


def digest(output: NotebookNode) -> str:
    """Hex digits over text, tables and pictures of one output, in every format that it holds."""
    content = {name: part for name, part in output.items() if name != COUNTED}
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def kind_of(output: NotebookNode) -> str:
    """What a reader would call it.

    >>> from nbformat.v4 import new_output
    >>> kind_of(new_output("stream", text="1"))
    'printed text'
    """
    data = output.get("data", {})
    html = str(data.get("text/html", ""))
    if any(kind.startswith("image/") for kind in data) or "<img" in html or "<svg" in html:
        return "picture"
    if "<table" in html:
        return "table"
    return "printed text"

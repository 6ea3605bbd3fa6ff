"""Is a person sitting at this kernel, or is a notebook being executed?"""

import os
import sys


def live() -> bool:
    """True in an interactive Jupyter kernel; false in scripts and in `medbook run`.

    >>> live()
    False
    """
    if os.environ.get("MEDBOOK_OUT") or "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None

"""Global random state: a trial must not depend on it, nor move it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from medbook.errors import MedbookError


@contextmanager
def untouched() -> Iterator[None]:
    """Run the block with fixed global random states, and notice if one has moved at its end.

    They are fixed, so that numbers drawn inside `torch.random.fork_rng`, which leaves no trace, are
    the same in every process. The states of before are put back. Those of a GPU are fixed, too,
    but not compared, as `torch.manual_seed` inside `fork_rng(devices=[])` moves them. Module
    `random` is left alone: other threads of a kernel draw from it (see `medbook.trials.closures`).

    Raises:
        MedbookError: the block drew from a global state or seeded one and left it so.

    >>> with untouched():
    ...     _ = torch.rand(2, generator=torch.Generator().manual_seed(0))
    """
    before = _states()
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 (the global state is what this is about)
    fixed = _states()
    try:
        yield
        after = _states()
    finally:
        torch.set_rng_state(before["torch"])
        np.random.set_state(before["numpy"])  # noqa: NPY002
    moved = [name for name in fixed if not _equal(fixed[name], after[name])]
    if moved:
        raise MedbookError(
            f"a trial drew from the global random state of {' and '.join(moved)}: draw from a "
            "generator seeded with the job's seed, or inside torch.random.fork_rng"
        )


def _states() -> dict[str, Any]:
    return {
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state(),  # noqa: NPY002
    }


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    return repr(one) == repr(other) and all(map(np.array_equal, one, other))

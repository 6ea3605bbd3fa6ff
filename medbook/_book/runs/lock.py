"""One run at a time for a folder of results."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from filelock import FileLock, Timeout

from medbook._book.project import Project
from medbook._book.runs.plan import Plan
from medbook.errors import MedbookError


@contextmanager
def writing(plans: Sequence[Plan]) -> Iterator[None]:
    """Be the only run of this checkout that writes into the folders of these plans.

    The system gives the locks back when the process ends, however it ends.

    Raises:
        MedbookError: another run writes into one of them.
    """
    with ExitStack() as held:
        for plan in plans:
            try:
                held.enter_context(_lock(plan.project, plan.tag, timeout=0))
            except Timeout:
                raise MedbookError(
                    f"another run is writing into {plan.out}: "
                    "wait for its end, or choose another folder with --out"
                ) from None
        yield


@contextmanager
def alone(project: Project, work: str) -> Iterator[None]:
    """Be the only process that does this work in this checkout; wait for one that does it now.

    Args:
        project: the checkout.
        work: a word for it, fit for a file name.
    """
    with _lock(project, work, timeout=-1):
        yield


def _lock(project: Project, name: str, timeout: float) -> FileLock:
    path = project.build / "locks" / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path, timeout=timeout)

"""One job: a chapter at one profile from one seed, executed by papermill on whatever machine."""

import json
import os
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from medbook import paths, results
from medbook._book import keys
from medbook._book.project import Chapter
from medbook._book.runs.failure import cell_seconds
from medbook._book.runs.plan import Plan
from medbook.claims import claims_file
from medbook.errors import MedbookError

KERNEL_DIED = 138  # exit code of papermill
LOG_LINES = 50
CHILD = Path(__file__).with_name("child.py")
NOT_INHERITED = {
    "MEDBOOK_PERMUTE_TEST",
    # Dask sets these for its workers: one thread for everything, and memory given back to the
    # system so eagerly that a small training loop took 40 % more CPU time.
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MALLOC_TRIM_THRESHOLD_",
}  # fmt: skip

Report = Callable[[int], None]  # is told how many cells are done


@dataclass(frozen=True)
class Job:
    """All that a machine with the same medbook needs to execute a chapter."""

    name: str  # of chapter, profile, seed and folder; fit for a file name
    chapter: str
    notebook: str
    book: Mapping[str, str]  # files of the checkout that the chapter reads
    key: keys.Key
    cells: int
    cell_seconds: int
    variables: Mapping[str, str]


@dataclass(frozen=True)
class Ended:
    """What an execution left behind: papermill's exit code and last lines, and the two files."""

    code: int
    log: list[str]
    notebook: str | None
    results: results.Results | None

    @property
    def died(self) -> bool:
        """The kernel died."""
        return self.code == KERNEL_DIED


class Lifeline:
    """A pipe that keeps children alive: they end when it is cut or when this process ends.

    Cutting leaves the children's end open, so a child that is started too late ends at once.
    """

    def __init__(self) -> None:
        of_child, own = os.pipe()
        self.end_of_child, self._own_end = os.fdopen(of_child, "rb"), os.fdopen(own, "wb")

    def __enter__(self) -> "Lifeline":
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self.end_of_child.close()

    def cut(self) -> None:
        """End the children; a second cut does nothing."""
        self._own_end.close()


def make_job(plan: Plan, chapter: Chapter) -> Job:
    """A chapter of a plan as its sources are now: a later edit does not change the job."""
    key = keys.key_before(plan.project, chapter, plan.profile, plan.seed)
    root = plan.project.root
    notebook = chapter.notebook()
    read = ["book/systems.yml", keys.source_name(chapter), *key["chapters"]]
    if (root / (claimed := claims_file(chapter.id))).exists():
        read.append(claimed)
    return Job(
        name=f"{chapter.id}.{plan.profile}-seed{plan.seed}.{plan.tag}",
        chapter=chapter.id,
        notebook=json.dumps(notebook),
        book={name: (root / name).read_text(encoding="utf-8") for name in read},
        key=key,
        cells=len(notebook.cells) + 1,  # papermill adds one with the parameters
        cell_seconds=cell_seconds(chapter),
        variables=plan.variables,
    )


def execute(
    job: Job, build: Path, folder: Path, threads: int, lifeline: Lifeline, report: Report
) -> Ended:
    """Execute a job; a kernel that dies gets a second chance.

    Args:
        job: from `make_job`.
        build: what kernels cache lies here and stays.
        folder: of this job alone; removed at the end.
        threads: CPU threads of the kernel.
        lifeline: papermill and kernel end when it does.
        report: told the number of cells that are done.

    Raises:
        MedbookError: medbook is another one here than where the job was made.
    """
    _check_same_medbook(job)
    try:
        for _ in range(2):
            shutil.rmtree(folder, ignore_errors=True)
            ended = _attempt(job, build, folder, threads, lifeline, report)
            if not ended.died:
                break
        return ended
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def environment(
    root: Path, build: Path, out: Path, profile: str, threads: int, variables: Mapping[str, str]
) -> dict[str, str]:
    """Environment variables of a kernel.

    Args:
        root: the checkout, or what a job carries of it.
        build: everything that the kernel caches goes here.
        out: where its results file goes.
        profile: "smoke", "laptop" or "gpu".
        threads: CPU threads of the kernel.
        variables: further ones.
    """
    kept = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    if given := kept.get("MEDBOOK_DATA"):  # the kernel runs in another folder
        kept["MEDBOOK_DATA"] = str(Path(given).absolute())
    path = [str(paths.PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return kept | {
        "MEDBOOK_ROOT": str(root),
        "MEDBOOK_OUT": str(out),
        "MEDBOOK_PROFILE": profile,
        "MEDBOOK_THREADS": str(threads),
        "PYTHONPATH": os.pathsep.join(path),
        "IPYTHONDIR": str(build / "ipython"),
        "MPLCONFIGDIR": str(build / "matplotlib"),
        "JUPYTER_PATH": str(_own_kernel(build)),
        "JUPYTER_RUNTIME_DIR": str(build / "jupyter/runtime"),
        **({"OMP_NUM_THREADS": "1"} if profile == "smoke" else {}),
        **variables,
    }


def _check_same_medbook(job: Job) -> None:
    """The sources of medbook that chapters import must be those that the key names."""
    other = [
        name
        for name, hashed in job.key["modules"].items()
        if not (file := paths.PACKAGE.parent / name).exists()
        or keys.code_hash(file.read_text(encoding="utf-8")) != hashed
    ]
    if other:
        raise MedbookError(
            f"medbook in {paths.PACKAGE} is not that of the run ({', '.join(other[:3])} differ): "
            "use the same version everywhere, and change no source while a run begins"
        )


def _attempt(
    job: Job, build: Path, folder: Path, threads: int, lifeline: Lifeline, report: Report
) -> Ended:
    """Execute a job from its first cell."""
    profile, seed = job.key["profile"], job.key["seed"]
    source, made = folder / "source.ipynb", folder / "made.ipynb"
    out, work = folder / "out", folder / "work"
    for name, text in job.book.items():
        results.write_atomic(folder / "book" / name, text)
    results.write_atomic(source, job.notebook)
    out.mkdir()
    work.mkdir()
    report(0)
    process = subprocess.Popen(
        [
            # -P: the modules beside the script must not hide those of the standard library
            sys.executable, "-P", str(CHILD), str(source), str(made),
            "-p", "profile", profile, "-p", "seed", str(seed),
            "--kernel", "python3", "--cwd", str(work),
            "--execution-timeout", str(job.cell_seconds),
            "--log-output", "--no-progress-bar",
        ],
        env=environment(folder / "book", build, out, profile, threads, job.variables),
        stdin=lifeline.end_of_child, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True, encoding="utf-8", errors="replace",
        start_new_session=True,  # Ctrl-C is for the parent, which then cuts the lifeline
    )  # fmt: skip
    log = _follow(process, report)
    code = process.wait()
    notebook = made.read_text(encoding="utf-8") if made.exists() else None
    measured = out / f"{job.chapter}.{profile}.json"
    return Ended(code, log, notebook, results.load(measured) if measured.exists() else None)


def _follow(process: subprocess.Popen[str], report: Report) -> list[str]:
    """Report cell by cell until the process ends; its last lines."""
    log: deque[str] = deque(maxlen=LOG_LINES)
    done = 0
    assert process.stderr is not None
    for line in process.stderr:
        log.append(line)
        if line.startswith("Ending Cell"):
            done += 1
            report(done)
    return list(log)


def _own_kernel(build: Path) -> Path:
    """A Jupyter folder whose `python3` is this interpreter, whatever kernels the user has."""
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "Python 3", "language": "python"}
    folder = build / "jupyter"
    results.write_atomic(folder / "kernels/python3/kernel.json", json.dumps(spec))
    return folder

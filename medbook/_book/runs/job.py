"""One job: a chapter at one profile from one seed, executed by papermill on whatever machine."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from medbook import paths, pilot
from medbook._book import keys
from medbook._book.project import Chapter, Project
from medbook._book.runs import outcomes
from medbook._book.runs.pace import Expected, expected_of
from medbook._book.runs.plan import Plan, last_run
from medbook._book.runs.watch import Report, Watch
from medbook.errors import MedbookError
from medbook.record import results
from medbook.record.cases import beside
from medbook.record.claims import claims_file
from medbook.trials.closures import NO_CHAPTER_CODE

KERNEL_DIED = 138  # exit code of papermill
LOG_LINES = 200  # a crash tells what every thread was doing
LOADED = re.compile(r"""\bload\(\s*["'](\w+)["']""")  # of a chapter, or of a data set
CHILD = Path(__file__).with_name("child.py")
NOT_INHERITED = {
    "MEDBOOK_PERMUTE_TEST", pilot.VARIABLE,
    # Dask sets these for its workers: one thread for everything, and memory given back to the
    # system so eagerly that a small training loop took 40 % more CPU time.
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MALLOC_TRIM_THRESHOLD_",
}  # fmt: skip


@dataclass(frozen=True)
class Job:
    """All that a machine with the same medbook needs to execute a chapter."""

    name: str  # of chapter, profile, seed and folder; fit for a file name
    chapter: str
    notebook: str
    book: Mapping[str, str]  # files of the checkout that the chapter reads
    key: keys.Key
    package: Mapping[str, str]  # hashes of the files of medbook that chapters may import
    cells: int
    expected: Expected
    variables: Mapping[str, str]
    fresh: bool  # start from an empty store: compute every trial


@dataclass(frozen=True)
class Ended:
    """What an execution left behind: papermill's exit code and last lines, and its files."""

    code: int
    log: list[str]
    notebook: str | None
    results: results.Results | None
    stalled: str = ""  # why it was given up, if it was
    cases: bytes | None = None  # scores of single cases, the file beside the results

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
    root = plan.project.root
    notebook, seed = chapter.notebook(), plan.seed_of(chapter)
    read = [root / "book/systems.yml", *_read_chapters(plan.project, chapter.path)]
    beside_it = claims_file(chapter.id), f"book/pilots/{chapter.id}.json"
    read += [root / name for name in beside_it if (root / name).exists()]
    return Job(
        name=f"{chapter.id}.{plan.profile}-seed{seed}.{plan.tag}",
        chapter=chapter.id,
        notebook=json.dumps(notebook),
        book={f.relative_to(root).as_posix(): f.read_text(encoding="utf-8") for f in read},
        key=keys.key_of(plan.project, chapter, plan.profile, seed),
        package=_package(),
        cells=len(notebook.cells) + 1,  # papermill adds one with the parameters
        expected=expected_of(last_run(plan, chapter)),
        variables=plan.variables,
        fresh=plan.fresh,
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
        report: told the number of cells that are done, and how many seconds it may still take.

    Raises:
        MedbookError: medbook is another one here than where the job was made.
    """
    _check_same_medbook(job)
    try:
        for _ in range(2):
            shutil.rmtree(folder, ignore_errors=True)
            ended = _attempt(job, build, folder, threads, lifeline, report)
            if not ended.died or ended.stalled:
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
        "MEDBOOK_TRIALS": str(build / "trials"),
        "PYTHONFAULTHANDLER": "1",  # a crash says in which library
        "PYTHONPATH": os.pathsep.join(path),
        "IPYTHONDIR": str(build / "ipython"),
        "MPLCONFIGDIR": str(build / "matplotlib"),
        "JUPYTER_PATH": str(_own_kernel(build)),
        "JUPYTER_RUNTIME_DIR": str(build / "jupyter/runtime"),
        **({"OMP_NUM_THREADS": "1"} if profile == "smoke" else {}),
        **variables,
    }


def _check_same_medbook(job: Job) -> None:
    """The sources of medbook that chapters import must be those of the run."""
    here = _package()
    other = sorted(n for n in {**job.package, **here} if job.package.get(n) != here.get(n))
    if other:
        raise MedbookError(
            f"medbook in {paths.PACKAGE} is not that of the run ({', '.join(other[:3])} differ): "
            "use the same version everywhere, and change no source while a run begins"
        )


def _package() -> dict[str, str]:
    """Hashes of the files of medbook that chapters may import."""
    files = {f.relative_to(paths.PACKAGE): f for f in sorted(paths.PACKAGE.rglob("*.py"))}
    return {
        f"medbook/{name.as_posix()}": hashlib.sha256(file.read_bytes()).hexdigest()
        for name, file in files.items()
        if name.parts[0] not in NO_CHAPTER_CODE
    }


def _read_chapters(project: Project, source: Path) -> list[Path]:
    """The file of a chapter, and of all whose definitions it loads."""
    others = {path.stem: path for path in project.sources()}
    found, todo = list[Path](), [source]
    while todo:
        found.append(todo.pop())
        named = LOADED.findall(found[-1].read_text(encoding="utf-8"))
        new = {others[id] for id in named if id in others} - {*found, *todo}
        todo += sorted(new)
    return found


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
    usual = folder / "trials" if job.fresh else build / "trials"
    progress = folder / "progress.jsonl"
    variables = {
        "MEDBOOK_TRIALS": str(usual), "MEDBOOK_PROGRESS": str(progress), **job.variables
    }  # fmt: skip
    report(0, None)
    process = subprocess.Popen(
        [
            # -P: the modules beside the script must not hide those of the standard library
            sys.executable, "-P", str(CHILD), str(source), str(made),
            "-p", "profile", profile, "-p", "seed", str(seed),
            "--kernel", "python3", "--cwd", str(work),
            "--log-output", "--no-progress-bar",
        ],
        env=environment(folder / "book", build, out, profile, threads, variables),
        stdin=lifeline.end_of_child, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True, encoding="utf-8", errors="replace",
        start_new_session=True,  # Ctrl-C is for the parent, which then cuts the lifeline
    )  # fmt: skip
    with Watch(process.pid, progress, job.expected, report) as watch:
        log = _follow(process, watch)
        code = process.wait()
    notebook = made.read_text(encoding="utf-8") if made.exists() else None
    stored = _measured(job, out, Path(variables["MEDBOOK_TRIALS"]), build)
    return Ended(code, log, notebook, stored, watch.stalled, _cases(job, out))


def _measured(job: Job, out: Path, store: Path, build: Path) -> results.Results | None:
    """The results of a run, and whether it has computed all of its trials itself."""
    profile, seed = job.key["profile"], job.key["seed"]
    file = out / f"{job.chapter}.{profile}.json"
    if not file.exists():
        return None
    if job.fresh:  # who executes the chapter next need not compute them again
        outcomes.share(outcomes.all_files(store), store, build / "trials")
    measured: results.Results = {"trials": {}} | results.load(file)
    used = {key for trial in measured["trials"].values() for key in trial["keys"]}
    new = {line["key"] for line in outcomes.reasons(store, job.chapter, profile, seed)}
    return measured | {"fresh": used <= new}


def _cases(job: Job, out: Path) -> bytes | None:
    file = beside(out / f"{job.chapter}.{job.key['profile']}.json")
    return file.read_bytes() if file.exists() else None


def _follow(process: subprocess.Popen[str], watch: Watch) -> list[str]:
    """Tell the watch of each cell until the process ends; its last lines."""
    log: deque[str] = deque(maxlen=LOG_LINES)
    assert process.stderr is not None
    for line in process.stderr:
        log.append(line)
        if line.startswith("Ending Cell"):
            watch.cell_done()
    return list(log)


def _own_kernel(build: Path) -> Path:
    """A Jupyter folder whose `python3` is this interpreter, whatever kernels the user has."""
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "Python 3", "language": "python"}
    folder = build / "jupyter"
    results.write_atomic(folder / "kernels/python3/kernel.json", json.dumps(spec))
    return folder

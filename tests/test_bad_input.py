"""When something goes wrong: one clear line, exit code 2, nothing half-written, and on it goes.

Each row of the tables is a way to go wrong in a small book whose chapter `clean` was run and
published: what is spoiled, what is typed, and the one line on stderr that must answer (`...` stands
for any text, `{root}` for the checkout). Afterwards every file must be as it was, but for those
that the row names; once the cause is mended, `medbook run` must find the finished run unharmed.

What needs a second actor is tested elsewhere: Ctrl-C and a run that is killed in test_book_run.py,
slow, broken and wrong servers in test_data_download.py.
"""

import ctypes
import errno
import os
import re
import resource
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from book_fixtures import BROKEN, KILLED, Book, quick

from medbook import paths
from medbook._book import cli
from medbook._book.runs import lock, pace
from medbook._book.runs.plan import make_plan
from medbook.record import profiles

COMMAND = [sys.executable, "-c", "from medbook._book.cli import main; main()"]
TEMPORARY = re.compile(r"\.\d+\.\d+$|\.part$|^tmp")  # ends of names of files that are not finished

CLAIMS = "book/claims/clean.yml"
Spoil = Callable[[Book, pytest.MonkeyPatch], object]


class Case(NamedTuple):
    """A row; `limits` is called in a process of its own that then runs the command."""

    name: str
    spoil: Spoil
    command: str
    says: str
    leaves: tuple[str, ...] = ()
    limits: Callable[[], object] | None = None


# ---- how to spoil something


def nothing(book: Book, patch: pytest.MonkeyPatch) -> None:
    """The command itself is wrong."""


def edit(path: str, old: str, new: str) -> Spoil:
    return lambda book, patch: book.edit(path, old, new)


def write(path: str, content: str) -> Spoil:
    def spoil(book: Book, patch: pytest.MonkeyPatch) -> None:
        (book.root / path).parent.mkdir(parents=True, exist_ok=True)
        (book.root / path).write_text(content)

    return spoil


def cut(path: str) -> Spoil:
    """Only the first half of the file is there."""
    return lambda book, patch: os.truncate(book.root / path, (book.root / path).stat().st_size // 2)


def copy(path: str, to: str) -> Spoil:
    def spoil(book: Book, patch: pytest.MonkeyPatch) -> None:
        (book.root / to).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(book.root / path, book.root / to)

    return spoil


def loop(path: str) -> Spoil:
    """A link that leads to itself."""
    return lambda book, patch: (book.root / path).symlink_to(book.root / path)


def remove(path: str) -> Spoil:
    return lambda book, patch: (book.root / path).unlink()


def variable(name: str, value: str) -> Spoil:
    return lambda book, patch: patch.setenv(name, value.format(root=book.root))


def chapter(cells: str, header: str = "level: easy") -> Spoil:
    """A second chapter, `two`."""

    def spoil(book: Book, patch: pytest.MonkeyPatch) -> None:
        book.add("two", cells.replace("LOG", str(book.root / "_build/log")))
        book.edit("chapters/trust/two.py", "level: easy", header)

    return spoil


def both(*spoils: Spoil) -> Spoil:
    return lambda book, patch: [spoil(book, patch) for spoil in spoils]


def elsewhere(book: Book, patch: pytest.MonkeyPatch) -> None:
    patch.chdir("/")


def no_gpu(book: Book, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(profiles.torch.cuda, "is_available", lambda: False)


def no_network(book: Book, patch: pytest.MonkeyPatch) -> None:
    """Every request goes to a proxy that is not there."""
    patch.delenv("MEDBOOK_OFFLINE")
    for name in ("no_proxy", "NO_PROXY"):
        patch.delenv(name, raising=False)
    for name in ("https_proxy", "HTTPS_PROXY"):
        patch.setenv(name, "http://127.0.0.1:9")


def impatient(book: Book, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(pace, "UNKNOWN_SECONDS", 8)


def full_disk(book: Book, patch: pytest.MonkeyPatch) -> None:
    def write_nothing(path: Path, *_: object, **__: object) -> int:
        path.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    patch.setattr(Path, "write_text", write_nothing)
    patch.setattr(Path, "write_bytes", write_nothing)


def read_only(book: Book, patch: pytest.MonkeyPatch) -> None:
    for path in (book.root, *book.root.rglob("*")):
        path.chmod(path.stat().st_mode & ~0o222)


# ---- limits of the process that runs the command


def permissions_count() -> None:
    """Permissions hold for root too: drops CAP_DAC_OVERRIDE from what a program may get."""
    PR_CAPBSET_DROP, CAP_DAC_OVERRIDE = 24, 1
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0)


def small_files() -> None:
    """No file may grow beyond 8 kB: to a program this is like a disk that is full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, 8_000))


ROOM = "free some space (medbook keeps its caches in _build)"
PERMISSION = "change its permissions, or work in a copy of the checkout"
BLOCKED = "a file is where a folder should be: move it, or name another folder"
AGAIN = "restore it, or run the chapter again"
TWO, CLEAN = "chapters/trust/two.py", "chapters/trust/clean.py"
STORED, NOTEBOOK = "book/results/clean.smoke.json", "book/notebooks/clean.ipynb"
FAILED = "_build/run/smoke/two.failed.ipynb"
LOADS = "\n# %%\nfrom medbook import data\ndata.load('pneumoniamnist', source='real')\n"
HANGS = "\n# %%\nimport time\ntime.sleep(60)\n"
LONG = quick("two") + "\n# %% [markdown]\n" + "# It is a long story.\n" * 500
FILLS = "\n# %%\nprint('x' * 20_000)\n" + quick("two")
TWIN = """
# %%
import medbook
run = medbook.start("two", profile, seed)
run.load("pneumoniamnist")
# %%
run.finish()
"""
DATA = "data/medmnist/pneumoniamnist.npz"
SMOKE = "run two --profile smoke"
FORCED = "run --profile smoke --force"

TYPED = [
    Case("unknown chapter", nothing, "run claen",
         "error: there is no chapter 'claen'; near it: clean"),
    Case("unknown chapter, nothing near", nothing, "verify zzz",
         "error: there is no chapter 'zzz'; chapters are: clean"),
    Case("unknown profile", nothing, "run --profile desktop",
         "error: unknown profile 'desktop': choose one of auto, smoke, laptop, gpu"),
    Case("unknown profile in the environment", variable("MEDBOOK_PROFILE", "desktop"), "run",
         "error: unknown profile 'desktop' (from MEDBOOK_PROFILE): choose one of auto, smoke,..."),
    Case("gpu without a GPU", no_gpu, "run --profile gpu",
         "error: profile gpu needs a CUDA device and none is visible: choose laptop"),
    Case("no jobs", nothing, "run --jobs 0",
         "error: medbook run --jobs 0: Invalid value for '--jobs':...: --help tells..."),
    Case("threads that are a word", variable("MEDBOOK_THREADS", "abc"), FORCED,
         "error: MEDBOOK_THREADS is 'abc': set a whole number, 1 or more"),
    Case("no threads", variable("MEDBOOK_THREADS", "0"), FORCED,
         "error: MEDBOOK_THREADS is '0': set a whole number, 1 or more"),
    Case("fewer than no threads", variable("MEDBOOK_THREADS", "-1"), "status",
         "error: MEDBOOK_THREADS is '-1': set a whole number, 1 or more"),
    Case("half a thread", variable("MEDBOOK_THREADS", "1.5"), FORCED,
         "error: MEDBOOK_THREADS is '1.5': set a whole number, 1 or more"),
    Case("no address of a scheduler", nothing, "run --profile smoke --scheduler ''",
         "error: scheduler is '': give its address, tcp://host:8786"),
    Case("another protocol", nothing, "run --profile smoke --scheduler http://x",
         "error: scheduler is 'http://x': give its address, tcp://host:8786"),
    Case("an address without a protocol", nothing, FORCED + " --scheduler 127.0.0.1:1",
         "error: scheduler is '127.0.0.1:1': give its address, tcp://host:8786"),
    Case("a scheduler without a port", nothing, FORCED + " --scheduler tcp://localhost",
         "error: scheduler is 'tcp://localhost': give its address, tcp://host:8786"),
    Case("a scheduler that is not there", nothing, FORCED + " --scheduler tcp://127.0.0.1:1",
         "error: no Dask scheduler answers at tcp://127.0.0.1:1 (OSError): start one with..."),
    Case("an empty profile", nothing, "run --profile ''",
         "error: unknown profile '': choose one of auto, smoke, laptop, gpu"),
    Case("negative seed", nothing, "run --seed -1",
         "error: medbook run --seed -1: Invalid value for '--seed':...: --help tells..."),
    Case("a seed that is a word", nothing, "run --seed one",
         "error: medbook run --seed one: Invalid value for '--seed':...: --help tells..."),
    Case("unknown option", nothing, "run --sed 1",
         "error: medbook run --sed 1: No such option: --sed...--seed...: --help tells..."),
    Case("unknown command", nothing, "rnu",
         "error: medbook rnu: No such command 'rnu'. Did you mean 'run'?: --help tells..."),
    Case("missing argument", nothing, "new trust",
         "error: medbook new trust: Missing argument 'chapter': --help tells what is accepted"),
    Case("no checkout here", elsewhere, "status",
         "error: / lies in no checkout of the book: change into one"),
    Case("a name that cannot be one", nothing, "new trust 'My chapter'",
         "error: 'My chapter': use small letters, digits and _ only, a letter first"),
    Case("a chapter that is there already", nothing, "new trust clean",
         f"error: there is a chapter 'clean' already: {CLEAN}"),
]  # fmt: skip

BOOK = [
    Case("systems.yml is no YAML", edit("book/systems.yml", "[Someone]", "[Someone"), "lint",
         "error: systems.yml:4: not valid YAML: ..."),
    Case("systems.yml: field misspelt", edit("book/systems.yml", "year:", "yeer:"), "lint",
         "error: systems.yml:1: system: year: Field required"),
    Case("a claim of unknown kind", edit(CLAIMS, "kind: greater", "kind: more"), "run",
         "error: claims/clean.yml:3: claim clean-1: kind: Input should be 'greater',...not 'more'"),
    Case("a claim without margin", edit(CLAIMS, "margin: 0.1", "margin:"), "status",
         "error: claims/clean.yml:3: claim clean-1: margin: Field required"),
    Case("claims of another system", edit(CLAIMS, "clean:\n", "cleen:\n"), "status",
         "error: claims/clean.yml:3: claim 'clean-1': ids are cleen-<number>"),
    Case("claims in systems.yml", edit("book/systems.yml", "year: 2024", "claims: []"), "lint",
         "error: systems.yml:1: claims stand in book/claims/clean.yml"),
    Case("front matter is no YAML", edit(CLEAN, "level: easy", "level: [easy"), "run",
         f"error: {CLEAN}:10: not valid YAML: expected ',' or ']', but got ':'"),
    Case("front matter without medbook", edit(CLEAN, "medbook:\n", "medbok:\n"), "run",
         f"error: {CLEAN}:1: the front matter has no `medbook:` section"),
    Case("front matter lacks a field", edit(CLEAN, "#     level: easy\n", ""), "status",
         f"error: {CLEAN}:4: the front matter lacks level"),
    Case("front matter: text for a list", edit(CLEAN, "[pneumoniamnist]", "pneumoniamnist"), "lint",
         f"error: {CLEAN}:8: `data` is 'pneumoniamnist', expected a list"),
    Case("two chapters with one id", copy(CLEAN, "chapters/other/clean.py"), "run",
         f"error: chapters/other/clean.py and {CLEAN} share the id 'clean': rename one"),
    Case("_toc.yml is no YAML", write("_toc.yml", "root: a\nparts: [\n"), "lint",
         "error: _toc.yml:3: not valid YAML: ..."),
    Case("_toc.yml is no table", write("_toc.yml", "format: jb-book\nparts: []\n"), "site",
         "error: _toc.yml: not a table of contents of Jupyter Book: 'root' key not found..."),
    Case("_config.yml is no YAML", write("_config.yml", "title: a: b\n"), "site",
         "error: _config.yml:1: not valid YAML: mapping values are not allowed..."),
    Case("_config.yml is empty", write("_config.yml", ""), "publish",
         "error: _config.yml:1: expected a mapping (`title: ...`)"),
    Case("no part to put a chapter into", write("book/systems.yml", "- {slug: a, title: A, "
         "authors: [B], year: 2024, links: {}, part: trust, chapter: two}\n"), "new trust two",
         "error: _toc.yml...parts:..."),
]  # fmt: skip

STATE = [
    Case("results edited", edit(STORED, '"device_mib": 0', '"device_mib": 1'), "verify",
         f"failed: {STORED}: changed after it was measured (digest differs): {AGAIN}"),
    Case("results cut off", cut(STORED), "verify",
         f"failed: {STORED}: not valid JSON (...): {AGAIN}"),
    Case("results of another schema", edit(STORED, '"schema": 2', '"schema": 1'), "verify",
         f"failed: {STORED}: not a results file of schema 2: {AGAIN}"),
    Case("committed notebook cut off: verify", cut(NOTEBOOK), "verify",
         "error: clean.ipynb: not a valid notebook (...): restore it, or run the chapter again"),
    Case("committed notebook cut off: publish", cut(NOTEBOOK), "publish --profile smoke",
         "error: clean.ipynb: not a valid notebook (...): restore it, or run the chapter again"),
    Case("a claim changed after its result", edit(CLAIMS, "margin: 0.1", "margin: 0.2"),
         "publish", "error: clean: run `medbook run clean --profile laptop` first: "
         "claim clean-1"),
]  # fmt: skip

SYSTEM = [
    Case("a file where the results should go", write("pool", ""), "run --profile smoke --out pool",
         f"error: {{root}}/pool/smoke/clean.smoke.json cannot be used: Not a directory: {BLOCKED}"),
    Case("a loop of links where the results should go", loop("pool"),
         "run --profile smoke --out pool", "error: {root}/pool/... cannot be used: ..."),
    Case("a full disk while publishing", full_disk, "publish --profile smoke",
         f"error: {{root}}/{STORED} cannot be used: No space left on device: {ROOM}"),
    Case("a full disk while running", chapter(LONG), SMOKE,
         f"error: {{root}}/_build/... cannot be used: File too large: {ROOM}",
         limits=small_files),
    Case("a read-only checkout", read_only, "run --profile smoke --force",
         f"error: {{root}}/_build/... cannot be used: Permission denied: {PERMISSION}",
         limits=permissions_count),
    Case("an unwritable folder", both(write("pool/file", ""), read_only),
         "run --profile smoke --out pool",
         f"error: {{root}}/... cannot be used: Permission denied: {PERMISSION}",
         limits=permissions_count),
]  # fmt: skip

KERNEL = [
    Case("a cell that raises", chapter(BROKEN), SMOKE,
         f"failed: {TWO}:23: cell 2 (x = 1): ValueError: this cell raises", (FAILED,)),
    Case("a cell that is no Python", chapter("\n# %%\nx = = 1\n"), SMOKE,
         f"failed: {TWO}:21: cell 2 (x = = 1): SyntaxError: invalid syntax...", (FAILED,)),
    Case("a cell that hangs", both(chapter(HANGS), impatient), SMOKE,
         f"failed: {TWO}:...: cell 2 (import time): stopped: no cell and no trial has finished...",
         (FAILED,)),
    Case("a kernel that dies, twice", chapter(KILLED.format(log="LOG", deaths=2)), SMOKE,
         f"failed: {TWO}:...: cell 2 (import os, signal): the kernel died, twice: signal 9...",
         (FAILED,)),
    Case("a chapter without an end", chapter("\n# %%\nx = 1\n"), SMOKE,
         f"failed: {TWO}: the last cell must call run.finish()", (FAILED,)),
    Case("a disk that fills up in the middle", chapter(FILLS), SMOKE,
         f"failed: {TWO}:...", (FAILED,), limits=small_files),
    Case("MEDBOOK_DATA is no folder", both(chapter(LOADS), variable("MEDBOOK_DATA", "{root}/no")),
         SMOKE, f"failed: {TWO}:22: cell 2 (...): MedbookError: MEDBOOK_DATA is {{root}}/no, which "
         "is no folder: correct or unset it", (FAILED,)),
    Case("MEDBOOK_DATA is a loop of links", both(chapter(LOADS), loop("no"),
         variable("MEDBOOK_DATA", "{root}/no")), SMOKE, f"failed: {TWO}:22: cell 2 (...): "
         "MedbookError: MEDBOOK_DATA is {root}/no, which is no folder: correct or unset it",
         (FAILED,)),
    Case("a data file with another hash", both(chapter(LOADS), write(DATA, "not the official one"),
         variable("MEDBOOK_DATA", "{root}/data")), SMOKE,
         f"failed: {TWO}:22: cell 2 (...): MedbookError: {{root}}/{DATA} is damaged or not the "
         "official file: md5 ..., expected ...; delete it or replace it by https://...", (FAILED,)),
    Case("no network", both(chapter(LOADS), no_network), SMOKE,
         f"failed: {TWO}:22: cell 2 (...): Unavailable: no ..., and it was not downloaded "
         "(https://...: ProxyError; https://...: ProxyError)", (FAILED,)),
]  # fmt: skip


def rows() -> list[object]:
    slow = [pytest.param(case, id=case.name, marks=pytest.mark.slow) for case in KERNEL]
    return [pytest.param(c, id=c.name) for c in (*TYPED, *BOOK, *STATE, *SYSTEM)] + slow


@pytest.fixture
def medbook(capfd: pytest.CaptureFixture[str], published: Book, monkeypatch: pytest.MonkeyPatch):
    """Run a command; its exit code, its output, its messages."""

    def here(command: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["medbook", *shlex.split(command)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code or 0, *capfd.readouterr()

    def apart(command: str, limits: Callable[[], object] | None) -> tuple[object, str, str]:
        done = subprocess.run(
            [*COMMAND, *shlex.split(command)], cwd=Path.cwd(), preexec_fn=limits,
            env=os.environ | {"PYTHONPATH": str(paths.PACKAGE.parent), "COLUMNS": "80"},
            capture_output=True, text=True,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    capfd.readouterr()
    return lambda command, limits=None: apart(command, limits) if limits else here(command)


@pytest.mark.parametrize("case", rows())
def test_one_clear_line_and_nothing_half_written(
    case: Case, published: Book, _published: Path, medbook, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        case.spoil(published, patch)
        before = files(published)
        code, out, err = medbook(case.command, case.limits)
    assert code == 2, err
    [line] = err.splitlines()
    assert re.fullmatch(pattern(case.says, published.root), line), line
    assert "Traceback" not in out
    after = files(published)
    assert {name for name in after if after[name] != before.get(name)} <= set(case.leaves)
    assert before.keys() <= after.keys()
    mend(published, _published)
    code, out, err = medbook("run clean --profile smoke")
    assert (code, out, err) == (0, "clean: up to date\n", "")


def test_without_network_a_run_takes_the_twin_and_says_so(
    medbook, published: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    both(chapter(TWIN), no_network)(published, monkeypatch)
    code, out, err = medbook("run two --profile laptop")
    assert (code, err) == (0, "")
    [line] = [line for line in out.splitlines() if "twin" in line]
    assert line.startswith("note: two: twin of pneumoniamnist in place of the real images")


def test_a_second_run_at_the_same_time_is_refused(medbook, published: Book) -> None:
    with lock.writing([make_plan(published.project, "smoke")]):
        code, _, err = medbook("run --profile smoke --force")
    says = "error: another run is writing into {root}/_build/run/smoke: wait for its end, or...\n"
    assert code == 2 and re.fullmatch(pattern(says, published.root), err)


def test_a_run_that_was_cut_off_is_done_again(medbook, published: Book) -> None:
    published.add("two", quick("two"))
    assert medbook(SMOKE)[0] == 0
    for name in ("two.ipynb", "two.smoke.json"):
        cut(f"_build/run/smoke/{name}")(published, None)
        code, out, err = medbook(SMOKE)
        assert (code, out.splitlines()[-1], err) == (0, "two: ran", "")


def test_a_path_with_spaces_and_letters_beyond_ascii(
    medbook, published: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the locale knows only ASCII, too; and a chapter that failed runs when it is mended."""
    root = published.root.rename(published.root.with_name("Bücher & Bilder 図 [x]"))
    monkeypatch.chdir(root)
    monkeypatch.setenv("LC_ALL", "C")
    moved = Book.at(root)
    moved.add("two", quick("two") + "\n1 / 0\n")
    code, _, err = medbook(SMOKE, limits=os.getpid)
    assert code == 2 and "ZeroDivisionError: division by zero" in err
    moved.edit(TWO, "1 / 0", "")
    code, out, err = medbook(SMOKE, limits=os.getpid)
    assert (code, out.splitlines()[-1], err) == (0, "two: ran", "")
    assert (root / "_build/run/smoke/two.smoke.json").exists()


@pytest.mark.parametrize("command", ["status", "--help"])
def test_a_reader_who_stops_reading_sees_no_traceback(published: Book, command: str) -> None:
    process = subprocess.Popen(
        [*COMMAND, command], env=os.environ | {"PYTHONPATH": str(paths.PACKAGE.parent)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    process.stdout.close()
    assert process.communicate()[1] == b""


def test_what_only_reads_works_in_a_read_only_checkout(
    medbook, published: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_only(published, monkeypatch)
    code, out, err = medbook("status", limits=permissions_count)
    assert (code, err) == (0, "") and "current" in out


def pattern(says: str, root: Path) -> str:
    return ".*".join(re.escape(part) for part in says.replace("{root}", str(root)).split("..."))


def files(book: Book) -> dict[str, bytes]:
    """Content of all files but what is only cached."""
    found = {}
    for path in (p for p in sorted(book.root.rglob("*")) if p.is_file()):
        name = path.relative_to(book.root).as_posix()
        assert not TEMPORARY.search(path.name), f"{name} is left behind"
        if not name.startswith("_build/") or name.startswith("_build/run/"):
            found[name] = path.read_bytes()
    return found


def mend(book: Book, pristine: Path) -> None:
    """The book as it was; `_build` stays as the failed command left it."""
    for path in (book.root, *book.root.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | 0o200)
    for path in book.root.iterdir():
        if path.name != "_build":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    not_built = shutil.ignore_patterns("_build")
    shutil.copytree(pristine / "book", book.root, ignore=not_built, dirs_exist_ok=True)

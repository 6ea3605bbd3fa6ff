"""Every command of `medbook` with every chapter of this book, finished or planned.

What takes long is replaced: a kernel by the stored results that it should measure again, nbval by
nothing, Sphinx by empty pages. All else is real and works on a copy of the checkout.
"""

import json
import shlex
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import pytest

from medbook._book import cli, site
from medbook._book.checks import cells
from medbook._book.pages import handwritten
from medbook._book.project import Project
from medbook._book.runs import cluster, local
from medbook._book.runs.job import Ended, Job
from medbook._book.runs.watch import Report
from medbook._book.stored.findings import systems_of
from medbook._book.stored.state import judge
from medbook.record import results

ROOT = Path(__file__).parents[1]
COPIED = ("book", "chapters", "ci", "_toc.yml", "_config.yml", "README.md", "CITATION.cff")
COPIED += ("CONTRIBUTING.md", "Makefile", "pyproject.toml", "environment.yml")
FINISHED = [chapter.id for chapter in Project(ROOT).chapters()]
PLANNED = sorted({(s.part, s.chapter) for s in systems_of(Project(ROOT))} - {
    (chapter.part, chapter.id) for chapter in Project(ROOT).chapters()
})  # fmt: skip

finished = pytest.mark.parametrize("chapter", FINISHED)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the book, without what was built."""
    root = tmp_path_factory.mktemp("checkout")
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, root / name)
    return Project(root)


@pytest.fixture
def medbook(checkout: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run a command in the copy; its exit code, its output, its messages."""
    monkeypatch.chdir(checkout.root)
    monkeypatch.setenv("MEDBOOK_OFFLINE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(checkout.root / "no-cache"))
    monkeypatch.delenv("MEDBOOK_DATA", raising=False)

    def call(command: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["medbook", *shlex.split(command)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return int(end.value.code or 0), *capsys.readouterr()

    return call


@pytest.fixture
def remembered(checkout: Project, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Jobs measure what is stored instead of being executed, and are listed by chapter and seed."""
    done: list[tuple[str, int]] = []

    def submit(job: Job, report: Report) -> "Future[Ended]":
        seed, profile = job.key["seed"], job.key["profile"]
        done.append((job.chapter, seed))
        report(job.cells, 0.0)
        measured = results.load(checkout.published(job.chapter, profile)) | {"seed": seed}
        future: Future[Ended] = Future()
        future.set_result(Ended(0, [], job.notebook, json.loads(json.dumps(measured))))
        return future

    @contextmanager
    def place(*_: object) -> Iterator[object]:
        yield submit

    monkeypatch.setattr(local, "threads_here", place)
    monkeypatch.setattr(cluster, "workers_of", place)
    monkeypatch.setattr(cells, "_execute", lambda *_: [])
    monkeypatch.setattr(cells, "_compare", lambda *_: [])  # there are no outputs
    return done


def test_there_are_chapters_of_both_kinds() -> None:
    assert len(FINISHED) >= 7 and len(PLANNED) >= 20
    assert {chapter for _, chapter in PLANNED}.isdisjoint(FINISHED)


@finished
def test_get(medbook, chapter: str, tmp_path: Path) -> None:
    """Offline: every data set that the chapter loads is named, and no other."""
    code, out, err = medbook(f"get {chapter} --to {tmp_path / 'mine'}")
    assert (code, err) == (0, "")
    assert (tmp_path / f"mine/{chapter}.ipynb").exists()
    assert "no run that is stored tells" not in out and "jupyter lab" in out
    assert medbook(f"get {chapter} --student --to {tmp_path / 'theirs'}")[0] == 0


def test_student_one_by_one(medbook, checkout: Project) -> None:
    for chapter in FINISHED:
        assert medbook(f"student {chapter}")[0] == 0
    written = sorted(path.stem for path in (checkout.build / "student").iterdir())
    assert written == sorted(FINISHED)


@finished
def test_run_from_another_seed_here_and_on_a_cluster(medbook, remembered, chapter: str) -> None:
    command = f"run {chapter} --profile smoke --seed 3"
    code, out, err = medbook(command)
    assert (code, err) == (0, "") and out.splitlines()[-1] == f"{chapter} (seed 3): ran"
    assert medbook(command)[1] == f"{chapter} (seed 3): up to date\n" or chapter in out
    code, out, err = medbook(f"{command} --seed 4 --force --scheduler tcp://127.0.0.1:8786")
    assert (code, err) == (0, "") and f"{chapter} (seed 4): ran" in out
    assert {(chapter, 3), (chapter, 4)} <= set(remembered)


@finished
def test_verify(medbook, remembered, chapter: str) -> None:
    """The line of a chapter; other failures are those of the published pair, if it is outlived."""
    code, out, err = medbook(f"verify {chapter}")
    [line] = [line for line in out.splitlines() if line.startswith(f"{chapter}: ")]
    head, _, numbers = line.partition("numbers equal ")
    equal, of = numbers.split(" of ")
    assert head in (f"{chapter}: ran, ", f"{chapter}: up to date, ") and equal == of
    failed = [line for line in err.splitlines() if "is not the source's" not in line]
    assert (code, failed) in [(0, []), (2, [])], err


@finished
def test_publish(medbook, checkout: Project, remembered, chapter: str) -> None:
    """Prose is published anew where the published run still stands; else it says what to run."""
    found = judge(checkout, checkout.select([chapter])[0], "laptop").name
    code, out, err = medbook(f"publish {chapter}")
    if found == "current" or (found == "checked by smoke" and code == 0):
        assert (code, out, err) == (0, f"wrote book/notebooks/{chapter}.ipynb\n", "")
    else:
        assert code == 2 and out == ""
        [line] = err.splitlines()
        assert line.startswith(f"error: {chapter}: run `medbook run {chapter} --profile laptop")


@finished
def test_lint(medbook, chapter: str) -> None:
    """It ends with a list of what is wrong, if anything is; that chapters keep the rules is not
    asked here.
    """
    code, _, err = medbook(f"lint {chapter}")
    assert code == (2 if err else 0)
    assert all(line.startswith("failed: ") for line in err.splitlines())


def test_status(medbook) -> None:
    code, out, err = medbook("status")
    assert (code, err) == (0, "")
    assert all(chapter[:10] in out for chapter in FINISHED)  # the table may fold them


def test_site(medbook, checkout: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def render(project: Project, source: Path) -> Path:
        for entry in site.entries((source / "_toc.yml").read_bytes()):
            page = project.build / f"pages/{entry}.html"
            page.parent.mkdir(parents=True, exist_ok=True)
            page.touch()
        return project.build / "pages"

    monkeypatch.setattr(site, "_render", render)
    nothing = dict.fromkeys(handwritten.MAKERS, lambda project: "")
    monkeypatch.setattr(handwritten, "MAKERS", nothing)
    code, out, err = medbook("site")
    assert (code, err) == (0, "") and "site:" in out
    staged = checkout.build / "site-src/book/notebooks"
    assert sorted(path.stem for path in staged.glob("*.ipynb")) == sorted(FINISHED)


@pytest.mark.parametrize(("part", "chapter"), PLANNED)
def test_new(medbook, checkout: Project, part: str, chapter: str) -> None:
    toc = (checkout.root / "_toc.yml").read_text()
    code, out, err = medbook(f"new {part} {chapter}")
    assert (code, out, err) == (0, f"wrote chapters/{part}/{chapter}.py\n", "")
    assert checkout.select([chapter])[0].notebook().cells
    assert chapter in checkout.listed()
    (checkout.root / f"chapters/{part}/{chapter}.py").unlink()
    (checkout.root / "_toc.yml").write_text(toc)

"""The book with copies of a chapter in it, all of them as if they had been run and published."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import nbformat
import torch
import yaml
from measure import ROOT

from medbook._book import keys, readme
from medbook._book.checks import cells
from medbook._book.project import Chapter, Project
from medbook._book.runs.plan import make_plan, mark, outdated
from medbook.record import claims, results, session

Rename = Callable[[str], str]


def copy_book(root: Path) -> Project:
    """What git knows or would add, in another folder."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.check_output(listing, cwd=ROOT, text=True).split("\0"):
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, root / name)
    return Project(root)


def book_with_copies(root: Path, n: int) -> Project:
    """The book and `n` copies of its chapters, none of which has to be run."""
    project = copy_book(root)
    add_copies(project, n)
    for chapter in project.chapters():
        pretend_run(project, chapter)
    return project


def add_copies(project: Project, n: int) -> None:
    """Copies of the chapters in turn, with their tests, notebooks and results; nothing is run."""
    models = project.chapters()
    for number in range(1, n + 1):
        model = models[(number - 1) % len(models)]
        rename = renaming(model, f"copy_{number:02}")
        for path in (model.path, project.notebook(model.id), *results_of(project, model)):
            copy(path, path.with_name(rename(path.name)), rename)
            if (cases := path.with_suffix(".npz")).exists():
                shutil.copy(cases, cases.with_name(rename(cases.name)))
        tests = project.root / "tests"
        copy(tests / f"test_{model.id}.py", tests / f"test_copy_{number:02}.py", rename)
        enter(project, model, rename)
    for chapter in project.chapters():
        if chapter.id.startswith("copy_"):
            adapt(project, chapter)
    readme.refresh(project)


def copy(path: Path, to: Path, rename: Rename) -> None:
    """A file about a chapter as one about a copy of it; the file may be missing."""
    if path.exists():
        to.write_text(rename(path.read_text(encoding="utf-8")), encoding="utf-8")


def renaming(model: Chapter, name: str) -> Rename:
    """Turns a text about a chapter and its systems into one about a copy of them."""
    words = {model.id: name} | {s: f"{name}_{k}" for k, s in enumerate(model.meta["systems"])}
    pattern = re.compile(rf"\b({'|'.join(map(re.escape, words))})\b")
    return lambda text: pattern.sub(lambda found: words[found[0]], text)


def enter(project: Project, model: Chapter, rename: Rename) -> None:
    """Give the copy of a chapter its systems, its place in the contents and in the courses."""
    systems = project.root / "book/systems.yml"
    entries = yaml.safe_load(systems.read_text(encoding="utf-8"))
    own = yaml.safe_dump([entry for entry in entries if entry["chapter"] == model.id])
    systems.write_text(systems.read_text(encoding="utf-8") + "\n" + rename(own), encoding="utf-8")
    claimed = project.root / claims.claims_file(model.id)
    copy = project.root / claims.claims_file(rename(model.id))
    copy.write_text(rename(claimed.read_text(encoding="utf-8")), encoding="utf-8")
    editions = project.root / "medbook/record/first_edition.py"
    named, both = f'"{model.id}", ', f'"{model.id}", "{rename(model.id)}", '
    text = editions.read_text(encoding="utf-8").replace(named, both, 1)
    editions.write_text(text, encoding="utf-8")
    for path in (project.root / "_toc.yml", project.root / "book/courses.yml"):
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        place = next(k for k, line in enumerate(lines) if line != rename(line))
        lines.insert(place + 1, rename(lines[place]))
        path.write_text("".join(lines), encoding="utf-8")


def adapt(project: Project, chapter: Chapter) -> None:
    """Make stored results and a notebook of today's source out of old ones."""
    for path in results_of(project, chapter):
        adapted = as_of_today(project, chapter, path)
        results.save(adapted, path)
        if adapted["profile"] == "laptop":
            published = project.notebook(chapter.id)
            write_marked(published, adapted, published)


def pretend_run(project: Project, chapter: Chapter) -> None:
    """Make a smoke run and a passed check of today's source out of stored results."""
    adapt(project, chapter)
    plan = make_plan(project, "smoke")
    smoke = results.load(project.published(chapter.id, "smoke"))
    results.save(smoke, plan.results(chapter))
    write_marked(project.notebook(chapter.id), smoke, plan.notebook(chapter))
    if reasons := outdated(plan, chapter):
        raise SystemExit(f"{chapter.id} would be run: {'; '.join(reasons)}")
    stamp = project.build / "verify" / f"{chapter.id}.json"
    results.write_atomic(stamp, cells._fingerprint(project, chapter))


def as_of_today(project: Project, chapter: Chapter, path: Path) -> results.Results:
    """Stored results with the key and the claims that a run of today would give them."""
    stored = json.loads(path.read_text(encoding="utf-8"))
    hashes = keys.key_of(project, chapter, stored["profile"], chapter.seed)["claims"]
    for part in ("claims", "checks"):
        entries = (entry for entry in stored.get(part, ()) if entry["id"] in hashes)
        stored[part] = [entry | {"hash": hashes[entry["id"]]} for entry in entries]
    stored |= {"seed": chapter.seed, "environment": session.environment(torch.device("cpu"))}
    stored["key"] = keys.key_of(project, chapter, stored["profile"], chapter.seed)
    now = keys.sources_of(project)
    for trial in stored.setdefault("trials", {}).values():
        trial["definitions"] = now.current(chapter.id, trial["definitions"])
    stored["digest"] = results.digest(stored)
    return stored


def write_marked(notebook: Path, stored: results.Results, target: Path) -> None:
    """A notebook that says that it belongs to these results."""
    read = nbformat.read(notebook, 4)
    read.metadata["medbook"] = mark(stored)
    results.write_atomic(target, nbformat.writes(read) + "\n")


def results_of(project: Project, chapter: Chapter) -> list[Path]:
    return sorted(project.results.glob(f"{chapter.id}.*.json"))

"""Which run of which chapters, where its files lie, and what of it is up to date."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from nbformat import NotebookNode

from medbook._book import keys
from medbook._book.project import Chapter, Project, read_notebook
from medbook.errors import MedbookError
from medbook.record import results, session


@dataclass(frozen=True)
class Plan:
    """One run of chapters: at which profile, from which seed, to which folder.

    Without a seed each chapter runs from its own. A fresh run counts only if it has computed all of
    its trials itself.
    """

    project: Project
    profile: str
    seed: int | None
    out: Path
    variables: Mapping[str, str]
    fresh: bool = False

    @property
    def tag(self) -> str:
        """Stands for the folder in names of locks and working folders."""
        return hashlib.sha256(str(self.out).encode()).hexdigest()[:12]

    def seed_of(self, chapter: Chapter) -> int:
        """Base seed of a chapter in this run."""
        return chapter.seed if self.seed is None else self.seed

    def results(self, chapter: Chapter) -> Path:
        """Results file of a chapter."""
        return self.out / f"{chapter.id}.{self.profile}.json"

    def notebook(self, chapter: Chapter, kind: str = "") -> Path:
        """Executed notebook of a chapter; kind "failed" if it did not come to its end."""
        return self.out / f"{chapter.id}{kind and '.'}{kind}.ipynb"


def make_plan(
    project: Project,
    profile: str,
    seed: int | None = None,
    *,
    out: Path | None = None,
    variables: Mapping[str, str] | None = None,
    fresh: bool = False,
) -> Plan:
    """A run with its defaults filled in.

    Args:
        project: the checkout.
        profile: "smoke", "laptop" or "gpu".
        seed: base seed; that of each chapter itself if None.
        out: folder of notebooks and results; the project's own run folder if None.
        variables: further environment variables of the kernels.
        fresh: take no trial from the store.
    """
    resolved = Path(os.path.realpath(out or project.run_folder(profile, seed)))
    return Plan(project, profile, seed, resolved, variables or {}, fresh)


def make_plans(
    project: Project, profile: str, seeds: Sequence[int | None], out: Path | None
) -> list[Plan]:
    """A run for each seed, in folders `<profile>-seed<N>` (None: `<profile>`) that never collide.

    Args:
        project: the checkout.
        profile: "smoke", "laptop" or "gpu".
        seeds: base seeds, None for that of each chapter itself; one given twice counts once.
        out: holds the folders; the project's own run folder if None.
    """
    own = {seed: project.run_folder(profile, seed) for seed in seeds}
    return [
        make_plan(project, profile, seed, out=out / folder.name if out else None)
        for seed, folder in own.items()
    ]


def outdated(plan: Plan, chapter: Chapter) -> list[str]:
    """Why a chapter has to be run; empty if its results are up to date."""
    try:
        stored, _ = load_run(plan, chapter)
    except MedbookError as error:
        return [str(error)]
    if stored["seed"] != plan.seed_of(chapter):
        return ["seed"]
    if plan.fresh and not stored.get("fresh"):
        return ["it took trials from the store"]
    numbers, glue, around = keys.changes(plan.project, chapter, stored)
    changed = numbers + glue + around
    return changed + keys.new_real_data(stored) + list(_other_environment(stored))


def last_run(plan: Plan, chapter: Chapter) -> results.Results | None:
    """Results of the run of a chapter that was the last one here, else the published ones."""
    for path in (plan.results(chapter), plan.project.published(chapter.id, plan.profile)):
        with suppress(MedbookError):
            return results.load(path)
    return None


def load_run(plan: Plan, chapter: Chapter) -> tuple[results.Results, NotebookNode]:
    """Results and notebook of one and the same run, even if another is being written just now.

    Raises:
        MedbookError: there is no finished run, or the two files are of different ones.
    """
    stored = results.load(plan.results(chapter))
    if "key" not in stored or not plan.notebook(chapter).exists():
        raise MedbookError("the last run did not end")
    notebook = read_notebook(plan.notebook(chapter))
    if notebook.metadata.get("medbook") != mark(stored):
        raise MedbookError("the notebook is of another run")
    return stored, notebook


def mark(stored: results.Results) -> dict[str, str]:
    """Notebook metadata that tie a notebook to its results file."""
    return {"results": stored["digest"], "profile": stored["profile"]}


def _other_environment(stored: results.Results) -> Iterator[str]:
    """Versions and device that are no longer those of a run of this machine."""
    cuda = stored["profile"] == "gpu"
    if stored.get("cluster") or (cuda and not torch.cuda.is_available()):
        return  # measured on another machine: this one cannot tell
    here = session.environment(torch.device("cuda" if cuda else "cpu"))
    for name, then in stored["environment"].items():
        if (now := here.get(name)) != then:
            yield f"{name} ({then} then, {now} now)"

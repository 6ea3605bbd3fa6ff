"""Check stored results: sound in themselves, the same on this machine, and free of leaks."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version

from rich.console import Console

from medbook._book import keys
from medbook._book.checks.cells import Which, check_cells
from medbook._book.checks.report import differing, incomparable, summary, whole_table, write
from medbook._book.checks.sound import despite_digest, unsound, unsound_replications
from medbook._book.project import SMOKE_BUDGET, Chapter, Project
from medbook._book.runs.execute import Outcome, run
from medbook._book.runs.plan import Plan, make_plan
from medbook._book.stored.compare import Row, compare, other_data
from medbook._book.stored.evidence import evidence
from medbook._book.stored.replications import copies
from medbook._book.stored.state import judge
from medbook.errors import MedbookError
from medbook.record import results
from medbook.record.claims import chapter_claims
from medbook.record.profiles import PROFILES
from medbook.record.results import Results

SLOW_MACHINE = 2  # other work beside it may double the time of a run
PERMUTED = {"MEDBOOK_PERMUTE_TEST": "1"}


@dataclass
class Report:
    """What was found: failures fail the command, notes do not.

    `compared` counts the numbers of each chapter by why they were not compared, "" if they were.
    """

    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    compared: dict[str, Counter[str]] = field(default_factory=dict, compare=False)

    @property
    def verdict(self) -> str:
        """What was compared and what not, and why; "verified" only where something was."""
        total = sum(self.compared.values(), Counter[str]())
        nothing = [name for name, counts in self.compared.items() if not counts[""]]
        some = [name for name in self.compared if name not in nothing]
        parts = [f"[green]verified:[/] {', '.join(some)}"] if some else []
        parts += [f"[yellow]not verified:[/] {', '.join(nothing)}"] if nothing else []
        left = [f"{n} not ({why})" for why, n in sorted(total.items()) if why]
        return "; ".join([*parts, ", ".join([f"{total['']} numbers compared", *left])])


def verify(
    project: Project,
    chapters: Sequence[Chapter],
    profile: str,
    console: Console,
    *,
    leaks: bool,
    notebooks: Which = "changed",
    verbose: bool = False,
) -> Report:
    """All checks of some chapters; what is needed and not up to date is run.

    Args:
        project: the checkout.
        chapters: which ones.
        profile: whose stored numbers are compared with this machine's.
        console: shows progress, and for each chapter how many numbers are equal.
        leaks: also look whether anything but test metrics depends on the test labels.
        notebooks: which of the committed ones are executed again, see `check_cells`.
        verbose: print every number, too; in any case `_build/verify` keeps them.
    """
    report = Report([*without_source(project)])
    for chapter in chapters:
        stored = _stored_profiles(project, chapter)
        for each in sorted({"smoke", *stored}):  # every chapter has to store its smoke numbers
            report.failures += unsound(project, chapter, each)
        if profile not in {"smoke", *stored}:
            where = project.published(chapter.id, profile).relative_to(project.root)
            report.notes.append(f"{where.as_posix()}: nothing stored, nothing to compare with")
    chapters = [c for c in chapters if not _malformed(project, c)]
    report.failures += [*unsound_replications(project), *_copies(project)]
    check_numbers(project, chapters, profile, console, report, verbose=verbose)
    for cells in check_cells(project, chapters, notebooks, console):
        report.failures += cells.failures
    if leaks:
        check_leaks(project, chapters, console, report)
    for chapter in chapters:
        _note_states(project, chapter, report)
    return report


def without_source(project: Project) -> Iterator[str]:
    """Chapters that `_toc.yml` lists and that are not there."""
    sources = {path.stem for path in project.sources()}
    for name in project.listed():
        if name not in sources:
            yield f"_toc.yml: book/notebooks/{name} has no source chapters/*/{name}.py"


def other_versions(project: Project) -> Iterator[str]:
    """Packages that numbers depend on, of another version than the stored numbers' lock names.

    A build for some hardware, `2.13.0+cpu`, is of the version before the `+`.
    """
    for name, locked in keys.locked(project.root / "ci/lock.txt").items():
        here = version(name).partition("+")[0]
        if here != locked.partition("+")[0]:
            yield f"ci/lock.txt: {name}=={locked} is locked, {here} is installed"


def check_numbers(
    project: Project,
    chapters: Sequence[Chapter],
    profile: str,
    console: Console,
    report: Report,
    *,
    verbose: bool = False,
) -> None:
    """This machine's numbers against the stored ones: a line a chapter, and what differs."""
    by_seed: dict[int | None, list[Chapter]] = {}
    stored = {c.id: despite_digest(project.published(c.id, profile)) for c in chapters}
    for chapter in chapters:
        seed = chapter.other_seed(stored[chapter.id].get("seed"))
        by_seed.setdefault(seed, []).append(chapter)
    for seed, group in by_seed.items():
        plan = make_plan(project, profile, seed, fresh=profile == "smoke")
        for outcome in _run(plan, group, console, report):
            chapter = outcome.chapter
            found = outcome.state
            if not outcome.failure:
                here = results.load(plan.results(chapter))
                report.failures += over_budget(chapter, here)
                report.notes += outcome.notes
                rows = _compare(project, chapter, stored[chapter.id], here, report)
                found += f", {summary(rows)}" if rows else ", no number is stored"
                if verbose and rows:
                    console.print(whole_table(rows), soft_wrap=True, markup=False)
            console.print(f"{chapter.id}: {found}", soft_wrap=True, markup=False)


def over_budget(chapter: Chapter, run: Results) -> list[str]:
    """What of a smoke run on this machine is beyond its budget, times being noisy."""
    if run["profile"] != "smoke":
        return []
    return [
        f"{keys.source_name(chapter)}: smoke took {name} {run[name]}; its budget is {limit}"
        for name, limit in SMOKE_BUDGET.items()
        if run[name] > (SLOW_MACHINE if name == "seconds" else 1) * limit
    ]


def check_leaks(
    project: Project, chapters: Sequence[Chapter], console: Console, report: Report
) -> None:
    """Run smoke with permuted test labels: only metrics on "test" may change."""
    plain = make_plan(project, "smoke", fresh=True)
    out = project.build / "run/smoke-permuted"
    permuted = make_plan(project, "smoke", out=out, variables=PERMUTED, fresh=True)
    for chapter in _run_those(plain, chapters, console, report):
        if not _run_those(permuted, [chapter], console, report):
            continue
        before, after = (results.load(plan.results(chapter)) for plan in (plain, permuted))
        where = keys.source_name(chapter)
        leaked = leaking(before, after)
        if leaked and _unsteady(project, chapter, console, report):
            report.failures.append(f"{where}: two equal smoke runs differ: seed every generator")
            continue
        report.failures += [f"{where}: {name} depends on the test labels" for name in leaked]
        if not _on_test(before, after):
            report.notes.append(f'{where}: no metric on "test" changed: the check shows nothing')


def leaking(before: Results, after: Results) -> list[str]:
    """What differs between two results although it may not depend on the test labels.

    Times, metrics in seconds, differ from run to run and do not count.
    """
    both = {**before["metrics"], **after["metrics"]}
    names = [name for name, metric in both.items() if metric.get("unit") != "s"]
    found = [
        f"metrics/{name}"
        for name in names
        if {"test"} != {r["metrics"].get(name, {}).get("on") for r in (before, after)}
        and before["metrics"].get(name) != after["metrics"].get(name)
    ]
    arms = [{a["name"]: a | {"seconds": None} for a in r["arms"]} for r in (before, after)]
    for name in {**arms[0], **arms[1]}:
        old, new = (arm.get(name, {}) for arm in arms)
        parts = [part for part in {**old, **new} if old.get(part) != new.get(part)]
        found += [f"arms/{name} ({', '.join(parts)})"] if parts else []
    return found


def _run_those(
    plan: Plan, chapters: Sequence[Chapter], console: Console, report: Report
) -> list[Chapter]:
    """Run what is not up to date; the chapters that have results now."""
    return [o.chapter for o in _run(plan, chapters, console, report) if not o.failure]


def _run(
    plan: Plan, chapters: Sequence[Chapter], console: Console, report: Report
) -> list[Outcome]:
    outcomes = run([plan], chapters, console)
    failed = [str(o.failure) for o in outcomes if o.failure]
    report.failures += [text for text in failed if text not in report.failures]
    return outcomes


def _compare(
    project: Project, chapter: Chapter, stored: Results, here: Results, report: Report
) -> list[Row]:
    """Every number, stored and here; what differs goes into the report, all of them into a file."""
    if not stored:
        report.compared[chapter.id] = Counter()
        return []
    rows = compare(stored, here)
    if not other_data(stored, here):
        rows += evidence(stored, here, timed=_timed(project, chapter))
    report.compared[chapter.id] = Counter(
        "" if row.comparable else row.verdict.removeprefix("not comparable: ") for row in rows
    )
    path = project.published(chapter.id, stored["profile"])
    name = path.relative_to(project.root).as_posix()
    report.failures += differing(name, rows)
    report.notes += incomparable(name, rows)
    write(rows, project.build / "verify" / f"{path.stem}.md")
    return rows


def _timed(project: Project, chapter: Chapter) -> set[str]:
    """Claims whose metric is a time."""
    known = chapter_claims(chapter.id, project.root / "book/systems.yml")
    return {id for id, claim in known.items() if claim.metric.startswith("time ")}


def _unsteady(project: Project, chapter: Chapter, console: Console, report: Report) -> bool:
    """True if a repeated smoke run gives other training numbers without any permutation."""
    plain = make_plan(project, "smoke", fresh=True)
    again = make_plan(project, "smoke", out=project.build / "run/smoke-again", fresh=True)
    if not _run_those(again, [chapter], console, report):
        return False
    return bool(leaking(*(results.load(plan.results(chapter)) for plan in (plain, again))))


def _on_test(before: Results, after: Results) -> bool:
    return any(
        metric["on"] == "test" and metric != after["metrics"].get(name)
        for name, metric in before["metrics"].items()
    )


def _stored_profiles(project: Project, chapter: Chapter) -> list[str]:
    return [p for p in PROFILES if project.published(chapter.id, p).exists()]


def _copies(project: Project) -> list[str]:
    """Replications that are the stored results, or one another, under other seeds."""
    stored = {(c.id, p): despite_digest(project.published(c.id, p))
              for c in project.chapters() for p in _stored_profiles(project, c)}  # fmt: skip
    try:
        return copies(project, {place: run for place, run in stored.items() if run})
    except MedbookError as error:
        return [str(error)]


def _malformed(project: Project, chapter: Chapter) -> bool:
    """A stored file of the chapter is no results file; `unsound` has named it."""
    paths = (project.published(chapter.id, p) for p in _stored_profiles(project, chapter))
    return not all(map(despite_digest, paths))


def _note_states(project: Project, chapter: Chapter, report: Report) -> None:
    for profile in _stored_profiles(project, chapter):
        found = judge(project, chapter, profile)
        if found.name != "current":
            path = project.published(chapter.id, profile).relative_to(project.root).as_posix()
            reasons = ", ".join(found.reasons)
            report.notes.append(f"{path}: {found.name}: changed since: {reasons}")

"""Runs of other base seeds that contributors stored under `replications/`."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from medbook._book.project import Project
from medbook.errors import MedbookError
from medbook.record import results, schema
from medbook.record.results import Results

CODE = ("cells", "glue")  # parts of the key; versions may be others

Stored = Mapping[tuple[str, str], Results]  # (chapter, profile) -> results


@dataclass
class Pool:
    """Replications that count, and how many files do not, by reason."""

    counted: list[Results] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def verdicts(self, profile: str, measured: Mapping[str, Any]) -> list[str]:
        """What the replications of one stored claim came to.

        Args:
            profile: of the stored run.
            measured: the claim as the stored run has it; same wording, same kind of data.
        """
        return [
            claim["verdict"]
            for run in self.counted
            if run["profile"] == profile
            for claim in run["claims"]
            if _comparable(claim, measured)
        ]

    def summary(self) -> str:
        """How many files were counted and left out, and why."""
        if not self.counted and not self.left_out:
            return "There is none yet."
        reasons = ", ".join(f"{n} {reason}" for reason, n in sorted(self.left_out.items()))
        left_out = f"; left out: {reasons}" if reasons else ""
        return f"Files counted: {len(self.counted)}{left_out}."


def collect(project: Project, stored: Stored) -> Pool:
    """All files under `replications/`, sorted into those that count and those that do not.

    Args:
        project: the checkout.
        stored: the book's own results.

    Raises:
        MedbookError: a file is damaged or no results file; it is named.
    """
    pool = Pool()
    for path in sorted(project.root.glob("replications/**/*.json")):
        run = _load(path.relative_to(project.root).as_posix(), project)
        book = stored.get((run["chapter"], run["profile"]))
        reason = _why_not(run, book, pool.counted)
        if reason:
            pool.left_out[reason] += 1
        else:
            pool.counted.append(run)
    return pool


def _load(name: str, project: Project) -> Results:
    path = project.root / name
    try:
        return schema.load(path)
    except MedbookError as error:
        raise MedbookError(f"{name}: {str(error).removeprefix(f'{path.name}: ')}") from None


def copies(project: Project, stored: Stored) -> list[str]:
    """A message for each file whose numbers are those of another base seed.

    Two seeds draw other images, weights and batches; what nothing random touches may be equal, but
    not every number that is kept of a run.

    Args:
        project: the checkout.
        stored: the book's own results.

    Raises:
        MedbookError: as `collect`.
    """
    known = [("the book", run) for run in stored.values()]
    found = []
    for path in sorted(project.root.glob("replications/**/*.json")):
        name = path.relative_to(project.root).as_posix()
        run = _load(name, project)
        found += [
            f"{name}: {copied} of seed {run['seed']} are those of seed {other['seed']} in {where}"
            for where, other in known
            if (copied := copied_from(run, other))
        ][:1]
        known.append((name, run))
    return found


def copied_from(run: Results, other: Results) -> str:
    """What two runs of other seeds share although chance gives it; empty if they share nothing.

    >>> one = {"chapter": "a", "profile": "laptop", "seed": 0, "arms": [], "trials": {}}
    >>> one["metrics"] = {"acc": {"kind": "seeded", "unit": "", "values": [0.61, 0.64]}}
    >>> copied_from(one | {"seed": 1}, one)
    'metrics'
    """
    if _identity(run)[:2] != _identity(other)[:2] or run["seed"] == other["seed"]:
        return ""
    pairs = zip(_drawn(run).items(), _drawn(other).values(), strict=True)
    return next((name for (name, mine), theirs in pairs if mine and mine == theirs), "")


def _drawn(run: Results) -> dict[str, Any]:
    """What the seed of a run decides: weights, numbers but exact ones and times, keys of trials."""
    weights = [arm["weights"] for arm in run.get("arms", [])]
    keys = [key for trial in run.get("trials", {}).values() for key in trial["keys"]]
    metrics = {
        name: metric["values"]
        for name, metric in run["metrics"].items()
        if metric["kind"] == "seeded" and metric["unit"] not in results.TIMES
    }
    return {"weights of arms": weights, "metrics": metrics, "keys of trials": keys}


def _why_not(run: Results, book: Results | None, counted: list[Results]) -> str | None:
    """Why a run is no replication of the book's own one; None if it is."""
    if book is None:
        return "of a chapter or profile that the book has no result of"
    if run["seed"] == book["seed"]:
        return "from the base seed of the book"
    if _code(run) != _code(book):
        return "of other code"
    if not any(_comparable(mine, theirs) for mine in run["claims"] for theirs in book["claims"]):
        return "of other claims or another kind of data"
    if _identity(run) in map(_identity, counted):
        return "from a seed that is counted already"
    if any(copied_from(run, other) for other in [book, *counted]):
        return "with the numbers of another seed"
    return None


def _code(run: Results) -> Any:
    """What the numbers of a run rest on, other than versions."""
    trials = {name: trial["definitions"] for name, trial in run.get("trials", {}).items()}
    return trials, *(run.get("key", {}).get(part) for part in CODE)


def _identity(run: Results) -> tuple[str, str, int]:
    return run["chapter"], run["profile"], run["seed"]


def _comparable(claim: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(claim.get(part) == other.get(part) for part in ("id", "hash", "data"))

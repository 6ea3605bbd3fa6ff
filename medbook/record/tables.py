"""The tables of a run: what each arm was given and reached, what each claim came to."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from medbook.record.claims import Check, Claim
from medbook.show.tables import Table, Verdict

Entry = Mapping[str, Any]


def of_arms(arms: Iterable[Entry]) -> Table:
    """A row an arm; validation score and floor where they are known."""
    arms = list(arms)
    head = ["arm", "images", "steps", "parameters", "trials", "seconds a run", "seeds"]
    keys = ("name", "n_train", "steps", "parameters", "trials", "seconds")
    rows = [[*(arm[key] for key in keys), len(arm["weights"])] for arm in arms]
    if any("learned" in arm for arm in arms):
        head += ["validation", "floor", "clearly above its floor"]
        head[4] = "settings tried"
        rows = [[*row, *_floor(arm)] for row, arm in zip(rows, arms, strict=True)]
    return Table(head, rows, "Arms: what each was given.")


def _floor(arm: Entry) -> list[str]:
    if arm.get("validation") is None:
        return ["", "", "nothing was trained"]
    learned = "yes" if arm["learned"] else "no"
    return [f"{mean(arm['validation']):.3f}", f"{mean(arm['floor']):.3f}", learned]


def of_claims(
    records: Iterable[Entry], known: Mapping[str, Claim], arms: Mapping[str, Entry]
) -> Table:
    """A row a claim or control: both scores, floors, effect with interval, verdicts."""
    head = [
        "claim", "paper", "ours", "baseline", "floor (validation)", "effect [95 % interval]",
        "margin", "seeds", "verdict", "at ½ and 2 margins",
    ]  # fmt: skip
    rows = [_row(known[record["id"]], record, arms) for record in records]
    return Table(head, rows, "Effects are positive where they speak for the claim.")


def _row(claim: Claim, record: Entry, arms: Mapping[str, Entry]) -> list[Any]:
    ours, baseline = record["scores"]
    floors = [f"{mean(arms[arm]['floor']):.3f}" for arm in record["arms"] if arms[arm]["floor"]]
    others = [record["verdicts"][margin] for margin in ("0.5", "2")]
    text = f"{claim.id}: {claim.statement}"
    return [
        f"control {text}" if claim.guards else text, claim.paper, f"{ours:.3f}", f"{baseline:.3f}",
        ", ".join(floors), effect(record), claim.margin, seeds(record),
        Verdict(verdict(record)), " / ".join(others),
    ]  # fmt: skip


def of_checks(records: Iterable[Entry], known: Mapping[str, Check]) -> Table:
    """A row a check: the worst difference beside what is rounding."""
    rows = [
        [f"{r['id']}: {known[r['id']].statement}", f"{r['worst']:.2g}",
         f"{known[r['id']].tolerance:.2g}", "holds" if r["holds"] else "does not hold"]
        for r in records
    ]  # fmt: skip
    return Table(["check", "worst difference", "tolerance", ""], rows, "Checks: no claims.")


def of_first_edition(records: Iterable[Entry], known: Mapping[str, Claim]) -> Table:
    """Every claim with its effect, interval and verdict, as before there were scores."""
    head = ["claim", "paper", "measured effect [95 % interval]", "margin", "seeds", "verdict"]
    rows = [_first_row(known[record["id"]], record) for record in records]
    return Table(head, rows, "Effects are positive where they speak for the claim.")


def _first_row(claim: Claim, record: Entry) -> list[Any]:
    label = record["verdict"]
    if label == "not tested":
        label += f" at this profile (needs {claim.profile})"
    text = f"{claim.id}: {claim.statement}"
    word = Verdict(verdict({**record, "label": label}))
    return [text, claim.paper, effect(record), claim.margin, record["n"], word]


def effect(record: Entry) -> str:
    """Effect and interval with a sign each."""
    low, high = (f"{record[end]:+.3f}" for end in ("low", "high"))
    return f"{record['effect']:+.3f} [{low}, {high}]"


def seeds(record: Entry) -> str:
    """Seeds, and units where there are any."""
    return f"{record['n']} ({record['units']} units)" if record["units"] else str(record["n"])


def verdict(record: Entry) -> str:
    """The label, with what an open question needs and what it was measured on."""
    said = str(record["label"])
    if record["verdict"] == "inconclusive" and record["n"] > 1:
        n = record["seeds_needed"]
        said += f" ({n} seeds would decide)" if n else " (1,000 seeds would not decide)"
    return said if record["data"] == "real" else f"{said} [{record['data']}]"


def mean(values: Sequence[float]) -> float:
    """Of the seeds."""
    return sum(values) / len(values)

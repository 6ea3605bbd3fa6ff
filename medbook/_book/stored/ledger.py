"""Which claims were measured in which words: a list to which publishing appends, and nothing else.

Each line holds a hash of the line before, so that one in the middle cannot be changed alone.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from medbook._book.project import Project
from medbook.errors import MedbookError
from medbook.record import results
from medbook.record.results import Results

NAME = "book/ledger.jsonl"
DECIDED = ("verdict", "effect", "low", "high", "n", "effects")
FOUND = ("worst", "holds")  # of a check
REACHED = ("name", "weights", "validation", "floor", "better")  # by an arm

Entry = dict[str, Any]


def entry(run: Results) -> Entry:
    """What is kept of a run: its seed, numbers and arms, words and outcome of each claim and check.

    First editions know no checks, and their arms no floors: these have no entry of arms.
    """
    claims = {
        claim["id"]: [claim["hash"], results.digest({part: claim[part] for part in DECIDED})]
        for claim in run["claims"]
    }
    claims |= {
        check["id"]: [check["hash"], results.digest({part: check[part] for part in FOUND})]
        for check in run.get("checks", ())
    }
    place = {part: run[part] for part in ("chapter", "profile", "seed")}
    kept = place | {"numbers": results.numbers(run), "claims": claims}
    arms = [{p: arm[p] for p in REACHED} for arm in run.get("arms", ()) if "validation" in arm]
    return kept | ({"arms": results.digest({"arms": arms})} if arms else {})


def append(project: Project, run: Results) -> str:
    """The text of the list with a run at its end; a run that stands last is not repeated.

    Raises:
        MedbookError: the list is damaged, or a claim was changed after its result from this seed.
    """
    stored = results.sealed(run)  # as it will be read again
    known, new = entries(project), entry(stored)
    if changed := list(_changed(known, new)):
        raise MedbookError(f"{run['chapter']}: {changed[0]}")
    path = project.root / NAME
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if new == _last(known, new):
        return text
    before = _hash(text.splitlines()[-1]) if text else ""
    return text + json.dumps(new | {"before": before}) + "\n"


def contradictions(project: Project, run: Results) -> Iterator[str]:
    """What of a stored run is not what the list says was measured."""
    try:
        known = entries(project)
    except MedbookError as error:
        yield str(error)
        return
    new = entry(run)
    last = _last(known, new)
    if last is None:
        yield f"not in {NAME}: publish the chapter"
        return
    yield from _changed(known, new)
    for part in ("seed", "numbers", "arms"):
        here, there = new.get(part), last.get(part)
        if here != there:
            yield f"{part} {here} here, {there} in {NAME}"
    for id in sorted(new["claims"].keys() | last["claims"].keys()):
        if new["claims"].get(id) != last["claims"].get(id):
            yield f"claims/{id}: not what was measured ({NAME})"


def entries(project: Project) -> list[Entry]:
    """All lines, oldest first.

    Raises:
        MedbookError: one is no entry, or does not follow the line before.
    """
    path, found, before = project.root / NAME, [], ""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    for number, line in enumerate(lines, 1):
        try:
            one = json.loads(line)
            follows = one.pop("before") == before
        except (ValueError, KeyError, AttributeError):
            raise MedbookError(f"{NAME}:{number}: not an entry: restore the file") from None
        if not follows:
            raise MedbookError(f"{NAME}:{number}: a line before was changed: restore the file")
        found.append(one)
        before = _hash(line)
    return found


def _last(known: list[Entry], new: Entry) -> Entry | None:
    return next((one for one in reversed(known) if _place(one) == _place(new)), None)


def _changed(known: list[Entry], new: Entry) -> Iterator[str]:
    """Claims that read otherwise when this seed was first measured."""
    for id, (words, _) in new["claims"].items():
        earlier = [
            one["claims"][id][0]
            for one in known
            if _place(one) == _place(new) and one["seed"] == new["seed"] and id in one["claims"]
        ]
        if any(other != words for other in earlier):
            yield (
                f"claims/{id}: changed after its result from base seed {new['seed']}: "
                "run again with a new base seed"
            )


def _place(one: Entry) -> tuple[str, str]:
    return one["chapter"], one["profile"]


def _hash(line: str) -> str:
    return hashlib.sha256(line.encode()).hexdigest()[:16]

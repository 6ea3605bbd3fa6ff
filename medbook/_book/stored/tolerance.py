"""How far each seeded number of smoke moves if the processor rounds otherwise: measured.

A second run without vector instructions rounds otherwise everywhere. Tried on all seven chapters
of the first edition, 1,143 seeded numbers, reference with AVX-512: these tolerances hold all but
one of those that AVX2 gives (17 are out with half the factor). Made from an AVX2 run they would
not hold 54 numbers of the run without vectors, as AVX2 and AVX-512 share too much. A number's own
movement is not enough either, as a score of few cases may stay by luck (45 are out at twice its
own): numbers of one name before the `/`, which measure the same of several arms, have one
movement.
"""

import math
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np

from medbook.record.results import TIMES, Results

FACTOR = 2.0  # times the largest movement among numbers of one kind
FLOOR = 1e-4  # of a number that did not move: image_similarity's move by up to 2.3e-4 elsewhere
LOOSE = 0.5  # beyond, a tolerance says nothing: the number is left out of comparisons

Metric = dict[str, Any]


def measured_tolerances(run: Results, other: Results) -> Results:
    """Results whose seeded numbers have a tolerance each, from the same run that rounds otherwise.

    Args:
        run: the results to be stored.
        other: the same chapter, profile and seed, from `runs.otherwise`.

    Returns:
        `run` with `rtol` of each seeded number, and `tolerances`: `loose` names the numbers that
        rounding alone moves by so much that no tolerance holds them; these keep their `rtol`.
    """
    moved: dict[tuple[str, str], float] = defaultdict(float)
    for name, metric in _seeded(run):
        moved[_kind(name, metric)] = max(moved[_kind(name, metric)], _movement(name, metric, other))
    metrics, loose = dict(run["metrics"]), []
    for name, metric in _seeded(run):
        size = float(np.abs(metric["values"]).max())
        share = FACTOR * moved[_kind(name, metric)] / size if size else 0.0
        if share > LOOSE or (moved[_kind(name, metric)] and not size):
            loose.append(name)
        else:
            metrics[name] = metric | {"rtol": max(FLOOR, math.ceil(1e5 * share) / 1e5)}
    return run | {"metrics": metrics, "tolerances": {"loose": loose}}


def kept_tolerances(run: Results, stored: Results) -> Results:
    """Results with the tolerances of stored ones, whose numbers are the same."""
    rtol = {name: metric["rtol"] for name, metric in stored["metrics"].items()}
    metrics = {name: metric | {"rtol": rtol[name]} for name, metric in run["metrics"].items()}
    return run | {"metrics": metrics, "tolerances": stored["tolerances"]}


def told(run: Results) -> list[str]:
    """What to say of numbers that no tolerance holds.

    >>> told({"chapter": "one", "profile": "smoke", "tolerances": {"loose": ["acc/net"]}})
    ['one at smoke: rounding moves 1 numbers further than a tolerance holds: acc/net']
    """
    loose = run.get("tolerances", {}).get("loose", [])
    what = f"rounding moves {len(loose)} numbers further than a tolerance holds"
    return [f"{run['chapter']} at {run['profile']}: {what}: {', '.join(loose)}"] if loose else []


def _seeded(run: Results) -> Iterator[tuple[str, Metric]]:
    for name, metric in run["metrics"].items():
        if metric["kind"] == "seeded" and metric["unit"] not in TIMES:
            yield name, metric


def _kind(name: str, metric: Metric) -> tuple[str, str]:
    """Numbers that measure the same, of several arms: `test AUC/SALM` and `test AUC/TAP`."""
    return name.partition("/")[0], metric["unit"]


def _movement(name: str, metric: Metric, other: Results) -> float:
    there = np.asarray(other["metrics"][name]["values"], float)
    return float(np.abs(there - np.asarray(metric["values"], float)).max())

"""What recorded numbers say about a claim, by simulation."""

from typing import Any

import numpy as np
import pytest

from medbook.evaluate import stats
from medbook.record import verdicts
from medbook.record.claims import Claim
from medbook.record.verdicts import Numbers

CLAIM = Claim(
    id="demo-1", statement="A is better than B.", kind="greater", metric="AUC", better="higher",
    margin=0.05, arms={"ours": "A", "baseline": "B"}, data="none", profile="laptop", paper="0.3",
)  # fmt: skip
NAMED = {"ours": "auc A", "baseline": "auc B"}
REPEATS = 300


def arm(name: str, validation: np.ndarray, floor: float) -> dict[str, Any]:
    learned = stats.learned(validation, floor)
    return {"name": name, "weights": [str(k) for k in range(len(validation))], "learned": learned}


def experiment(rng: np.random.Generator, of_a: float, of_b: float, n: int) -> str:
    """The verdict of one experiment: AUC of both arms in n seeds, floor .5, spread .02."""
    scores = {name: rng.normal(mean, 0.02, (2, n)) for name, mean in (("A", of_a), ("B", of_b))}
    arms = {name: arm(name, validation, 0.5) for name, (validation, _) in scores.items()}
    metrics = {
        f"auc {name}": {"values": test.tolist(), "arm": [name]}
        for name, (_, test) in scores.items()
    }
    run = Numbers("laptop", metrics, arms, seeds=n)
    return str(verdicts.judged(CLAIM, NAMED, run)["verdict"])


def share(word: str, of_a: float, of_b: float, n: int) -> float:
    rng = np.random.default_rng(n)
    return float(np.mean([experiment(rng, of_a, of_b, n) == word for _ in range(REPEATS)]))


@pytest.mark.parametrize(("of_a", "of_b"), [(0.5, 0.8), (0.8, 0.5), (0.5, 0.5)])
def test_an_untrained_arm_gives_no_verdict(of_a: float, of_b: float) -> None:
    """Neither as ours nor as the baseline: 1 in 1,000, give or take three standard errors."""
    sizes = (2, 3, 5, 8)
    judged = np.mean([1 - share("not tested", of_a, of_b, n) for n in sizes])
    assert judged <= 0.001 + 3 * np.sqrt(0.001 / (REPEATS * len(sizes)))


@pytest.mark.parametrize("n", [5, 8])
def test_arms_that_have_learned_are_judged(n: int) -> None:
    assert share("not tested", 0.9, 0.8, n) <= 0.02
    assert share("reproduced", 0.9, 0.7, n) >= 0.98


@pytest.mark.parametrize("n", [5, 8])
def test_an_effect_of_the_margin_is_called_reproduced_in_at_most_2_5_percent(n: int) -> None:
    assert share("reproduced", 0.85, 0.80, n) <= 0.025 + 3 * np.sqrt(0.025 / REPEATS)

"""Statistics against scipy, scikit-learn, brute force, and simulations with a known truth."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as sps
from sklearn.metrics import balanced_accuracy_score

from medbook.errors import MedbookError
from medbook.evaluate import stats
from medbook.evaluate.stats import Interval

DRAWS = 10_000
# A rate of 2.5 % gives at most this many of 10,000 in 99.9 % of simulations: the only allowance.
MOST_FALSE = int(sps.binom.ppf(0.999, DRAWS, 0.025))


# ---------------------------------------------------------------- t intervals


@pytest.mark.parametrize("n", [2, 3, 5, 11])
@pytest.mark.parametrize("level", [0.5, 0.95])
def test_t_interval_equals_scipy(n: int, level: float) -> None:
    x = np.random.default_rng(n).normal(3.0, 2.0, n)
    low, high = sps.ttest_1samp(x, 0.0).confidence_interval(level)
    found = stats.t_interval(x, level)
    assert (found.mean, found.low, found.high) == pytest.approx((x.mean(), low, high), rel=1e-12)
    assert found.n == n
    assert found.width == pytest.approx(high - low)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_few_equal_values_bound_nothing(n: int) -> None:
    found = stats.t_interval([0.7] * n)
    assert found.mean == pytest.approx(0.7)
    assert (found.low, found.high) == (-np.inf, np.inf)


def test_rounding_is_no_spread() -> None:
    differences = np.array([0.8, 0.5, 0.9]) - np.array([0.7, 0.4, 0.8])
    assert differences.std() > 0, "the example must not be trivial"
    assert stats.t_interval(differences).width == np.inf


def test_six_equal_values_give_a_narrow_interval_that_rounding_cannot_leave() -> None:
    differences = np.full(6, 0.8 - 0.7)
    found = stats.t_interval(differences)
    assert found.low < 0.1 < found.high
    assert found.width < 1e-8


@pytest.mark.parametrize("bad", [[], [[1.0, 2.0]], [1.0, np.nan], [np.inf, 1.0], 3.0])
def test_t_interval_refuses(bad: object) -> None:
    with pytest.raises(MedbookError, match="1-D array of finite numbers"):
        stats.t_interval(bad)  # type: ignore[arg-type]


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=9), st.floats(-100, 100))
def test_t_interval_contains_its_mean_and_moves_with_the_values(
    values: list[float], shift: float
) -> None:
    here, there = stats.t_interval(values), stats.t_interval(np.add(values, shift))
    assert here.low <= here.mean <= here.high
    assert there.mean == pytest.approx(here.mean + shift, abs=1e-9)


# ---------------------------------------------------------------- verdicts, from the design's text

# With margin 0.1: reproduced if L > margin, opposite if H < 0, not reproduced if H < margin,
# else inconclusive.
GREATER = [
    (0.11, 0.30, "reproduced"),
    (0.10, 0.30, "inconclusive"),  # L must exceed the margin, not reach it
    (0.05, 0.30, "inconclusive"),
    (-0.30, 0.30, "inconclusive"),
    (-np.inf, np.inf, "inconclusive"),
    (0.02, 0.09, "not reproduced"),  # an effect, but smaller than claimed
    (-0.05, 0.09, "not reproduced"),
    (-0.05, 0.10, "inconclusive"),
    (-0.05, 0.00, "not reproduced"),  # H < 0 is strict
    (-0.20, -0.01, "opposite"),
]
# "Not worse by more than the margin": the same rule about -0.1.
NONINFERIOR = [
    (-0.09, 0.30, "reproduced"),
    (0.01, 0.30, "reproduced"),
    (-0.10, 0.30, "inconclusive"),
    (-0.20, 0.05, "inconclusive"),
    (-np.inf, np.inf, "inconclusive"),
    (-0.30, -0.11, "not reproduced"),
]
# "The same up to the margin": inside (-0.1, 0.1), or outside of it on one side.
EQUIVALENT = [
    (-0.09, 0.09, "reproduced"),
    (0.01, 0.09, "reproduced"),
    (-0.10, 0.09, "inconclusive"),
    (-0.09, 0.10, "inconclusive"),
    (-0.30, 0.30, "inconclusive"),
    (0.11, 0.30, "not reproduced"),
    (-0.30, -0.11, "not reproduced"),
]
TABLE = [
    *[("greater", *row) for row in GREATER],
    *[("monotone", *row) for row in GREATER],
    *[("noninferior", *row) for row in NONINFERIOR],
    *[("equivalent", *row) for row in EQUIVALENT],
]


@pytest.mark.parametrize(("kind", "low", "high", "expected"), TABLE)
def test_verdict(kind: str, low: float, high: float, expected: str) -> None:
    mean = 0.0 if np.isinf(low) else (low + high) / 2
    assert stats.verdict(kind, Interval(mean, low, high, 5), margin=0.1) == expected


@pytest.mark.parametrize(("effect", "expected"), [(0.1, "reproduced"), (0.11, "not reproduced")])
def test_verdict_of_an_exact_claim(effect: float, expected: str) -> None:
    assert stats.verdict("exact", Interval(effect, effect, effect, 1), margin=0.1) == expected
    assert stats.verdict("exact", Interval(-effect, -effect, -effect, 1), 0.1) == expected


def test_every_kind_has_rules_and_others_are_refused() -> None:
    for kind in stats.KINDS:
        assert stats.verdict(kind, Interval(0.0, -0.5, 0.5, 3), 0.1) in stats.VERDICTS
    with pytest.raises(MedbookError, match=r"'larger'.*greater"):
        stats.verdict("larger", Interval(0, 0, 0, 1), 0.1)


# ---------------------------------------------------------------- false verdicts under the null


def _normal(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    return 0.8 + rng.normal(0, 0.05, n), 0.8 + rng.normal(0, 0.05, n)


def _in_hundredths(spread: float) -> object:
    def draw(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        a, b = (0.8 + rng.normal(0, spread, (2, n))).round(2)
        return a, b

    return draw


def _equal(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full(n, 0.8), np.full(n, 0.8)


def _two_points(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    return 0.8 + 0.05 * rng.choice([-1.0, 1.0], n), np.full(n, 0.8)


NULLS = {
    "normal": _normal,
    "hundredths, most values tied": _in_hundredths(0.003),
    "hundredths, many ties": _in_hundredths(0.01),
    "hundredths, some ties": _in_hundredths(0.03),
    "no spread": _equal,
    "plus or minus q": _two_points,
}


def _false_verdicts(law: object, n: int, margin: float, interval: object) -> int:
    """How often an effect of exactly the margin is called larger than the margin."""
    rng = np.random.default_rng(20240601)
    count = 0
    for _ in range(DRAWS):
        ours, baseline = law(rng, n)  # type: ignore[operator]
        # (0.7, as it is printed: 0.8 - 0.7 exceeds 0.1 by rounding)
        effects = stats.paired_effect(ours, (baseline - margin).round(12))
        count += stats.verdict("greater", interval(effects), margin) == "reproduced"  # type: ignore[operator]
    return count


@pytest.mark.parametrize("margin", [0.0, 0.1])
@pytest.mark.parametrize("n", [3, 5])
@pytest.mark.parametrize("law", NULLS)
def test_false_reproduced_at_most_2_5_percent(law: str, n: int, margin: float) -> None:
    assert _false_verdicts(NULLS[law], n, margin, stats.paired_interval) <= MOST_FALSE


@pytest.mark.parametrize("law", ["no spread", "plus or minus q"])
def test_six_equal_seeds_give_no_false_verdicts_either(law: str) -> None:
    assert _false_verdicts(NULLS[law], 6, 0.1, stats.paired_interval) <= MOST_FALSE


def test_the_simulation_would_notice() -> None:
    def naive(effects: np.ndarray) -> Interval:  # no spread, no doubt
        half = sps.t.ppf(0.975, len(effects) - 1) * sps.sem(effects)
        return Interval(effects.mean(), effects.mean() - half, effects.mean() + half, len(effects))

    assert _false_verdicts(_two_points, 3, 0.0, naive) > 2 * MOST_FALSE


@pytest.mark.parametrize("n", [3, 5])
def test_coverage_of_t_intervals(n: int) -> None:
    x = np.random.default_rng(1).normal(0.4, 0.1, (DRAWS, n))
    inside = sum(low <= 0.4 <= high for _, low, high, _ in map(stats.t_interval, x))
    low, high = sps.binom.ppf([0.0005, 0.9995], DRAWS, 0.95)
    assert low <= inside <= high


# ---------------------------------------------------------------- bootstrap over units


def test_cluster_bootstrap_against_all_redraws() -> None:
    scores = np.array([0.0, 0.3, 1.0, 0.9, 0.2, 0.7, 0.1])
    units = np.array(["d", "a", "b", "b", "c", "c", "c"])
    parts = [scores[units == unit] for unit in np.unique(units)]
    every = [
        np.concatenate([parts[i] for i in drawn]).mean() for drawn in product(range(4), repeat=4)
    ]
    # level 0.5 and four units: the expanded tail is a quantile of t(3) read off a normal table
    tail = sps.norm.cdf(sps.t.ppf(0.25, 3) * np.sqrt(4 / 3))
    found = stats.cluster_bootstrap(scores, units, level=0.5, draws=20_000)
    for end, p in ((found.low, tail), (found.high, 1 - tail)):
        assert np.quantile(every, p - 0.01) <= end <= np.quantile(every, p + 0.01)
    assert np.quantile(every, 0.24) > found.low, "without expansion it would be shorter"
    assert found.mean == pytest.approx(scores.mean())
    assert found.n == 4


def test_cluster_bootstrap_is_reproducible_and_needs_two_units() -> None:
    scores, units = [0.0, 1.0, 1.0], [3, 3, 8]
    assert stats.cluster_bootstrap(scores, units) == stats.cluster_bootstrap(scores, units)
    alone = stats.cluster_bootstrap(scores, [3, 3, 3])
    assert (alone.low, alone.high, alone.n) == (-np.inf, np.inf, 1)
    with pytest.raises(MedbookError, match="3 scores but 2 units"):
        stats.cluster_bootstrap(scores, [1, 2])
    with pytest.raises(MedbookError, match="finite"):
        stats.cluster_bootstrap([], [])


def test_cluster_bootstrap_of_constant_scores_has_no_width() -> None:
    assert stats.cluster_bootstrap([0.5] * 4, [0, 0, 1, 2]).width == pytest.approx(0)


def test_cluster_bootstrap_covers_clustered_data_where_the_case_bootstrap_does_not() -> None:
    rng = np.random.default_rng(3)
    patients, images, repeats = 12, 8, 400
    units = np.repeat(np.arange(patients), images)
    covered = {"patients": 0, "images": 0}
    for _ in range(repeats):
        scores = np.repeat(rng.normal(0, 1, patients), images) + rng.normal(0, 0.5, len(units))
        for name, groups in (("patients", units), ("images", np.arange(len(units)))):
            found = stats.cluster_bootstrap(scores, groups, draws=400)
            covered[name] += found.low <= 0 <= found.high
    assert covered["patients"] >= sps.binom.ppf(0.001, repeats, 0.92)
    assert covered["images"] < 0.75 * repeats


# ---------------------------------------------------------------- scores balanced over classes


def test_constant_classifiers_that_answer_different_classes_differ_by_nothing() -> None:
    """Both have balanced accuracy .5 whatever cases are drawn; fixed weights gave them +-.08."""
    labels = np.repeat([0, 1], [40, 110])
    always = [stats.balanced_scores(np.full(150, k), labels) for k in (0, 1)]
    effects, units = always[0] - always[1], np.arange(150)
    assert stats.cluster_bootstrap(effects, units, labels).width < 1e-12
    assert stats.cluster_bootstrap(effects, units).width > 0.2


def test_strata_keep_their_shares_when_units_span_them() -> None:
    """Each patient has images of both classes, in numbers of her own."""
    rng = np.random.default_rng(0)
    units, labels = np.repeat(np.arange(12), 5), rng.integers(0, 2, 60)
    always = [stats.balanced_scores(np.full(60, k), labels) for k in (0, 1)]
    assert stats.cluster_bootstrap(always[0] - always[1], units, labels).width < 1e-12


def test_one_stratum_is_none_and_a_stratum_of_one_unit_bounds_nothing() -> None:
    scores, units = np.random.default_rng(1).normal(size=30), np.arange(30) // 2
    plain = stats.cluster_bootstrap(scores, units)
    assert stats.cluster_bootstrap(scores, units, np.zeros(30)) == plain
    alone = np.where(units == 3, 1, 0)
    assert stats.cluster_bootstrap(scores, units, alone).width == np.inf
    with pytest.raises(MedbookError, match="30 scores but 29 strata"):
        stats.cluster_bootstrap(scores, units, alone[1:])


def test_order_of_cases_and_names_of_classes_do_not_matter_much() -> None:
    scores, units = np.random.default_rng(1).normal(size=60), np.arange(60)
    classes = np.repeat(["common", "rare"], [45, 15])
    here = stats.cluster_bootstrap(scores, units, classes, draws=20_000)
    there = stats.cluster_bootstrap(scores[::-1], units, classes[::-1], draws=20_000)
    assert (there.low, there.high) == pytest.approx((here.low, here.high), abs=0.01 * here.width)


@pytest.mark.parametrize(
    ("patients", "images", "correlation"), [((20, 60), 1, 0.0), ((25, 100), 3, 0.2)]
)
def test_coverage_of_balanced_accuracy(
    patients: tuple[int, int], images: int, correlation: float
) -> None:
    """Unbalanced classes of different recall, patients of several correlated images."""
    rng, recall = np.random.default_rng(2), np.array([0.8, 0.7])
    classes = np.repeat([0, 1], patients)
    labels, units = np.repeat(classes, images), np.repeat(np.arange(len(classes)), images)
    inside = 0
    for repeat in range(DRAWS):
        own = recall[classes]
        if correlation:
            shape = 1 / correlation - 1
            own = rng.beta(own * shape, (1 - own) * shape)
        right = rng.random(len(labels)) < own[units]
        scores = stats.balanced_scores(np.where(right, labels, 1 - labels), labels)
        found = stats.cluster_bootstrap(scores, units, labels, draws=300, seed=repeat)
        inside += found.low <= recall.mean() <= found.high
    assert 0.93 * DRAWS <= inside <= 0.97 * DRAWS, inside / DRAWS


# ---------------------------------------------------------------- paired effects


def test_paired_effect_is_positive_where_ours_is_better() -> None:
    assert stats.paired_effect([3, 1], [1, 2]).tolist() == [2, -1]
    assert stats.paired_effect([3, 1], [1, 2], better="lower").tolist() == [-2, 1]
    assert stats.paired_effect(np.ones((2, 3)), np.zeros((2, 3))).shape == (2, 3)


def test_paired_effect_refuses_what_is_not_paired() -> None:
    with pytest.raises(MedbookError, match="pair them seed by seed"):
        stats.paired_effect([1, 2, 3], [1, 2])
    with pytest.raises(MedbookError, match="smaller"):
        stats.paired_effect([1], [2], better="smaller")


def test_paired_interval_adds_the_errors_of_seeds_and_units() -> None:
    rng = np.random.default_rng(0)
    effects, units = rng.normal(0, 1, (5, 1)) + rng.normal(0, 1, (5, 40)), np.arange(40) // 2
    seeds = stats.t_interval(effects.mean(1))
    cases = stats.cluster_bootstrap(effects.mean(0), units)
    found = stats.paired_interval(effects, units)
    low = np.sqrt((seeds.mean - seeds.low) ** 2 + (cases.mean - cases.low) ** 2)
    high = np.sqrt((seeds.mean - seeds.high) ** 2 + (cases.mean - cases.high) ** 2)
    assert found.n == 5 and found.mean == pytest.approx(effects.mean())
    assert (found.mean - found.low, found.high - found.mean) == pytest.approx((low, high))


def test_paired_interval_of_cases_needs_units() -> None:
    with pytest.raises(MedbookError, match="units"):
        stats.paired_interval(np.zeros((3, 4)))
    with pytest.raises(MedbookError, match="units"):
        stats.paired_interval(np.zeros(3), np.arange(3))


def test_false_reproduced_with_seeds_and_patients_at_most_2_5_percent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Seed and patient shift the effect equally much: ten seeds, 20 patients of two images each."""
    monkeypatch.setitem(stats.cluster_bootstrap.__kwdefaults__, "draws", 300)  # fast
    rng, repeats, false = np.random.default_rng(5), 1500, 0
    units = np.repeat(np.arange(20), 2)
    for _ in range(repeats):
        of_seed = rng.normal(0, np.sqrt(10), (10, 1))
        of_patient = np.repeat(rng.normal(0, np.sqrt(20), 20), 2)
        interval = stats.paired_interval(of_seed + of_patient, units)
        false += stats.verdict("greater", interval, 0.0) == "reproduced"
    assert false <= sps.binom.ppf(0.999, repeats, 0.025), f"{false / repeats:.1%}"


def test_seeds_needed_knows_that_seeds_do_not_replace_cases() -> None:
    """The cases alone leave the effect open: no number of seeds decides; without them, few do."""
    rng = np.random.default_rng(0)
    effects = rng.normal(0, 1, 400) + rng.normal(0, 0.5, (5, 1))
    effects += 0.07 - effects.mean()
    assert stats.seeds_needed(effects, "greater", 0.0, np.arange(400)) is None
    found = stats.seeds_needed(effects.mean(1), "greater", 0.0)
    assert found is not None and found > 5


# ---------------------------------------------------------------- sweeps


def test_trend_is_last_minus_first_as_claimed() -> None:
    sweep = [[0.1, 0.9, 0.4], [0.2, 0.1, 0.8]]
    assert stats.trend(sweep) == pytest.approx([0.3, 0.6])
    assert stats.trend(sweep, better="lower") == pytest.approx([-0.3, -0.6])
    for bad in ([[0.1, 0.2]], [0.1, 0.2, 0.3], np.zeros((2, 3, 4))):
        with pytest.raises(MedbookError, match="points >= 3"):
            stats.trend(bad)


def test_reversal_needs_a_step_back_that_all_seeds_show() -> None:
    down_and_up = np.array([[0.1, 0.9, 0.4], [0.2, 0.95, 0.5], [0.1, 0.88, 0.42]])
    assert stats.reversal(down_and_up, margin=0.1)
    assert not stats.reversal(down_and_up, margin=0.9)  # smaller than the margin
    assert not stats.reversal(down_and_up[:, [0, 2, 1]], margin=0.1)  # rises all the way
    assert stats.reversal(down_and_up[:, [0, 2, 1]], margin=0.1, better="lower")
    scattered = np.array([[0.1, 0.9, 0.4], [0.2, 0.3, 0.6], [0.1, 0.5, 0.5]])
    assert not stats.reversal(scattered, margin=0.0)


# ---------------------------------------------------------------- planning and re-checking


def test_seeds_needed_is_the_first_number_that_decides() -> None:
    effects = [0.0, 0.2, 0.1, -0.05]
    needed = stats.seeds_needed(effects, "greater", 0.0)
    assert needed is not None
    assert needed > 4
    mean, sem1 = np.mean(effects), np.std(effects, ddof=1)

    def low(n: int) -> float:  # of n seeds with the same mean and spread
        return float(sps.t.interval(0.95, n - 1, mean, sem1 / np.sqrt(n))[0])

    assert low(needed) > 0 >= low(needed - 1)


def test_seeds_needed_of_no_effect_is_beyond_reach() -> None:
    assert stats.seeds_needed([-0.1, 0.1, 0.1, -0.1], "greater", 0.0) is None


@pytest.mark.parametrize("effects", [[0.3], [0.3, 0.3, 0.3], [0.8 - 0.7, 0.9 - 0.8, 0.5 - 0.4]])
def test_seeds_needed_without_spread_is_the_sign_test(effects: list[float]) -> None:
    assert stats.seeds_needed(effects, "greater", 0.0) == 6
    assert stats.verdict("greater", stats.t_interval(np.full(6, effects[0])), 0.0) == "reproduced"


def test_seeds_needed_of_cases_counts_seeds() -> None:
    per_case = np.array([[0.0, 0.0], [0.4, 0.0], [0.1, 0.1]])
    assert stats.seeds_needed(per_case, "greater", 0.0) == stats.seeds_needed(
        [0.0, 0.2, 0.1], "greater", 0.0
    )


@pytest.mark.parametrize(("n", "n_new"), [(3, 1), (3, 3), (5, 2)])
def test_predictive_interval_holds_the_mean_of_new_seeds_in_95_percent(n: int, n_new: int) -> None:
    rng, repeats, inside = np.random.default_rng(2), 4000, 0
    for _ in range(repeats):
        found = stats.predictive_interval(rng.normal(0.7, 0.1, n), n_new)
        inside += found.low <= rng.normal(0.7, 0.1, n_new).mean() <= found.high
    low, high = sps.binom.ppf([0.0005, 0.9995], repeats, 0.95)
    assert low <= inside <= high


def test_predictive_interval_of_one_seed_is_unbounded() -> None:
    found = stats.predictive_interval([0.7], n_new=3)
    assert (found.low, found.high, found.n) == (-np.inf, np.inf, 3)


# ---------------------------------------------------------------- balanced accuracy


@pytest.mark.parametrize("classes", [1, 2, 5])
def test_balanced_scores_average_to_sklearn(classes: int) -> None:
    rng = np.random.default_rng(classes)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, 51) ** 2 % classes]) * 3
    predicted = np.where(rng.random(len(labels)) < 0.5, labels, rng.permutation(labels))
    found = stats.balanced_scores(predicted, labels)
    assert found.mean() == pytest.approx(balanced_accuracy_score(labels, predicted), rel=1e-12)
    assert ((found > 0) == (predicted == labels)).all()


def test_balanced_scores_ignore_classes_that_never_occur() -> None:
    assert stats.balanced_scores([7, 0, 1], [0, 0, 1]).mean() == pytest.approx(0.75)


@pytest.mark.parametrize(("p", "y"), [([], []), ([0, 1], [0]), ([[0]], [[0]])])
def test_balanced_scores_refuse(p: list, y: list) -> None:
    with pytest.raises(MedbookError, match="not empty"):
        stats.balanced_scores(p, y)


# ---------------------------------------------------------------- has an arm learned?

SEEDS = (2, 3, 4, 5, 8, 12, 20)


def _passed(gain: float, n: int, floor_per_seed: bool, repeats: int) -> float:
    """How often an arm passes whose gain is so many times its spread."""
    rng = np.random.default_rng([n, floor_per_seed])
    scores = gain + rng.standard_normal((repeats, n))
    floors = rng.standard_normal((repeats, n)) * floor_per_seed
    pairs = zip(scores, floors, strict=True)
    return float(np.mean([stats.learned(score, floor) for score, floor in pairs]))


@pytest.mark.parametrize("n", SEEDS)
@pytest.mark.parametrize("floor_per_seed", [False, True])
def test_an_untrained_arm_does_not_pass(n: int, floor_per_seed: bool) -> None:
    """At most 1 in 1,000 of them, give or take three standard errors of 4,000 repeats."""
    assert _passed(0.0, n, floor_per_seed, 4000) <= 0.001 + 3 * np.sqrt(0.001 / 4000)


@pytest.mark.parametrize("n", [n for n in SEEDS if n >= 4])
def test_a_trained_arm_is_refused_in_at_most_2_percent(n: int) -> None:
    assert _passed(10.0, n, False, 2000) >= 0.98


def test_an_arm_must_pass_in_every_seed_and_clearly() -> None:
    assert stats.learned([0.9, 0.91, 0.9, 0.91], 0.5)
    assert not stats.learned([0.9] * 19 + [0.5], 0.5), "one seed does not"
    assert not stats.learned([0.51, 0.6, 0.9], 0.5), "it may be luck"
    assert stats.learned([1.0] * 5, 0.5), "saturated in all seeds"
    assert not stats.learned([1.0], 0.5), "one seed shows no spread"
    assert not stats.learned([0.5] * 5, 0.5)
    assert stats.learned([0.10, 0.11, 0.10, 0.11], [0.5, 0.4, 0.5, 0.4], "lower")
    assert not stats.learned([0.10, 0.11, 0.10, 0.11], 0.5)
    assert stats.gains([0.9, 0.7], [0.5, 0.6]).tolist() == pytest.approx([0.4, 0.1])


@pytest.mark.parametrize(
    ("score", "floor", "message"),
    [
        ([0.9, np.nan], 0.5, "finite"), ([], 0.5, "finite"), ([0.9, 0.8], np.nan, "finite"),
        ([0.9, 0.8], [0.5] * 3, "pair them"), ([[0.9], [0.8]], 0.5, "1-D"),
    ],
)  # fmt: skip
def test_gains_refuse(score: list, floor: float, message: str) -> None:
    with pytest.raises(MedbookError, match=message):
        stats.learned(score, floor)


# ---------------------------------------------------------------- could the paper's table decide?


@pytest.mark.parametrize(("ours", "baseline", "n"), [(0.9, 0.8, 30), (0.91, 0.89, 624), (1, 0, 3)])
def test_chance_of_a_difference_is_that_of_two_binomials(
    ours: float, baseline: float, n: int
) -> None:
    right = sps.binom(n, (ours + baseline) / 2).pmf(np.arange(n + 1))
    apart = np.abs(np.subtract.outer(np.arange(n + 1), np.arange(n + 1)))
    expected = (np.outer(right, right) * (apart >= round(abs(ours - baseline) * n))).sum()
    assert stats.chance_of_difference(ours, baseline, n) == pytest.approx(expected)
    assert stats.chance_of_difference(baseline, ours, n) == pytest.approx(expected)


def test_chance_of_a_difference_is_what_a_simulation_finds_and_the_z_test_tends_to() -> None:
    right = np.random.default_rng(0).binomial(200, 0.85, (2, 200_000))
    found = np.mean(np.abs(right[0] - right[1]) >= 10)
    assert stats.chance_of_difference(0.875, 0.825, 200) == pytest.approx(found, abs=0.004)
    z = 0.011 / np.sqrt(2 * 0.7 * 0.3 / 8000)
    exact = stats.chance_of_difference(0.7055, 0.6945, 8000)
    assert exact == pytest.approx(2 * sps.norm.sf(z), abs=0.004)
    assert stats.chance_of_difference(0.5, 0.5, 10) == 1.0


@pytest.mark.parametrize("given", [(91, 0.89, 9), (0.9, -0.1, 9), (0.9, 0.8, 0), (np.nan, 0.8, 9)])
def test_chance_of_a_difference_refuses(given: tuple[float, float, int]) -> None:
    with pytest.raises(MedbookError, match="give two in"):
        stats.chance_of_difference(*given)

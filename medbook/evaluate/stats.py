"""Intervals, paired effects and verdicts.

Effects are oriented so that positive speaks for the claim. Intervals are 95 % and two-sided,
so a claim with no true effect is called reproduced in at most 2.5 % of experiments.
"""

import math
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medbook.errors import MedbookError

Kind = Literal["greater", "noninferior", "equivalent", "monotone", "exact"]
KINDS = get_args(Kind)
VERDICTS = ("reproduced", "not reproduced", "opposite", "inconclusive", "not tested")
LEVEL = 0.95
# n equal values have probability 2 * 2^-n under a symmetric two-point law; 6 keep one side < 2.5 %
SIGN_TEST_N = 6
MAX_SEEDS = 1000
# An untrained arm passes for one that has learned in at most 1 of 1,000 experiments.
LEARNED_ERROR = 0.001
BLOCK = 500  # redraws at a time, to keep the memory small

Array = NDArray[np.float64]


class Interval(NamedTuple):
    """A mean with its interval; an end that the data do not bound is infinite."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def width(self) -> float:
        """Length of the interval, in the unit of the mean."""
        return self.high - self.low


def t_interval(values: ArrayLike, level: float = LEVEL) -> Interval:
    """Student t interval for the mean of independent repeats (seeds).

    Fewer than two values bound nothing. Nor do up to five equal values: a sample without spread
    does not show how large the spread is. From six on the sign test takes over (2^-6 < 2.5 %).

    Args:
        values: (n,) one number a seed, finite.
        level: coverage in (0, 1).

    Raises:
        MedbookError: no values, values that are not finite, or an impossible level.

    >>> t_interval([1.0, 2.0, 3.0])
    Interval(mean=2.0, low=-0.484..., high=4.484..., n=3)
    """
    x = _finite(values)
    _check_level(level)
    n, mean = len(x), float(x.mean())
    spread, rounding = _spread(x)
    if spread == 0:
        half = rounding if n >= SIGN_TEST_N else math.inf
    else:
        half = _t_quantile(0.5 + level / 2, n - 1) * spread / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n)


def cluster_bootstrap(
    scores: ArrayLike,
    units: ArrayLike,
    strata: ArrayLike | None = None,
    *,
    seed: int = 0,
    draws: int = 4000,
    level: float = LEVEL,
) -> Interval:
    """Percentile bootstrap of a mean over cases, whole units (patients, images) redrawn.

    With strata the mean keeps each stratum's share of the cases: sum over s of n_s / n times the
    mean within s. Scores that weigh cases by class (`balanced_scores`) need their classes as
    strata: fixed weights on redrawn class sizes would vary although the classifier does not.
    Units that lie within one stratum are redrawn within it.

    The percentiles are expanded so that few units do not give too short an interval: by
    sqrt(k / (k - 1)) and a quantile of t with k - 1 degrees of freedom, both pooled over strata by
    their variances (Welch-Satterthwaite).
    Source: Hesterberg 2015, "What teachers should know about the bootstrap", section 5.3.

    Args:
        scores: (n_cases,) one number per case.
        units: (n_cases,) label of the independent unit each case belongs to.
        strata: (n_cases,) label of the class, site, ... of each case; None for one stratum.
        seed: of the redraws.
        draws: number of redraws.
        level: coverage in (0, 1).

    Raises:
        MedbookError: other numbers of units or strata than of scores, NaN among them, no draws, or
            an impossible level.

    >>> cluster_bootstrap([0.0, 1.0, 0.0, 1.0], units=[0, 1, 2, 3]).n
    4
    >>> always_0, always_1 = [1.5, 1.5, 0, 0, 0, 0], [0, 0, 0.75, 0.75, 0.75, 0.75]  # both .5
    >>> both = np.subtract(always_0, always_1), [0, 1, 2, 3, 4, 5], [0, 0, 1, 1, 1, 1]
    >>> round(cluster_bootstrap(*both).width, 9)
    0.0
    """
    x = _finite(scores)
    _check_level(level)
    if draws < 1:
        raise MedbookError(f"draws is {draws}: give at least 1")
    groups, inside = _labels(units, "units", x), _labels(strata, "strata", x)
    k, mean = int(groups.max()) + 1, float(x.mean())
    kinds = _kinds(groups, inside)
    counts = np.bincount(kinds)  # units of each kind, redrawn among themselves
    if counts.min() < 2:  # one patient is n = 1: nothing beyond it can be said
        return Interval(mean, -math.inf, math.inf, k)
    shape = k, int(inside.max()) + 1
    cells = np.ravel_multi_index((groups, inside), shape)
    sums = np.bincount(cells, x, k * shape[1]).reshape(shape)  # (units, strata)
    sizes = np.bincount(cells, minlength=k * shape[1]).reshape(shape)
    share = sizes.sum(0) / len(x)
    rng = np.random.default_rng(seed)
    parts = np.empty((0, shape[1]))  # each stratum's part of the mean, redrawn
    while len(parts) < draws:
        times = _redrawn(kinds, min(BLOCK, draws - len(parts)), rng)
        times = times[(times @ sizes).all(1)]  # a mean over an empty stratum is none
        parts = np.concatenate([parts, share * (times @ sums) / (times @ sizes)])
    tail = _expanded_tail(parts, counts, level)
    low, high = np.quantile(parts.sum(1), [tail, 1 - tail])
    return Interval(mean, float(low), float(high), k)


def paired_effect(ours: ArrayLike, baseline: ArrayLike, better: str = "higher") -> Array:
    """Per-seed (and per-case) difference, positive where ours is better.

    Args:
        ours: (n_seeds,) or (n_seeds, n_cases).
        baseline: same shape, same seeds in the same order.
        better: "higher" or "lower": which values of the metric are good.

    Raises:
        MedbookError: other shapes, an unknown `better`, or values that are not finite.

    >>> paired_effect([0.5, 0.6], [0.8, 0.8], better="lower")
    array([0.3, 0.2])
    """
    a, b = _all_finite(ours, "ours"), _all_finite(baseline, "baseline")
    if a.shape != b.shape:
        raise MedbookError(f"ours has shape {a.shape}, baseline {b.shape}: pair them seed by seed")
    if better not in ("higher", "lower"):
        raise MedbookError(f"better is {better!r}: choose higher or lower")
    return a - b if better == "higher" else b - a


def paired_interval(
    effects: ArrayLike, units: ArrayLike | None = None, strata: ArrayLike | None = None
) -> Interval:
    """Interval of a paired effect: over seeds and, where cases are given, over units as well.

    The half widths are added as independent errors, side by side: sqrt(a^2 + b^2). The wider of the
    two alone would be too short where both vary (5.8 % false `reproduced` for ten seeds).

    Args:
        effects: (n_seeds,), or (n_seeds, n_cases) together with `units`.
        units: (n_cases,) independent unit of each case.
        strata: (n_cases,) class of each case, where the scores are balanced over classes.

    >>> paired_interval([0.1, 0.2, 0.3]).n
    3
    """
    e = _all_finite(effects, "effects")
    if e.ndim not in (1, 2) or (e.ndim == 1) != (units is None):
        raise MedbookError(
            f"effects of shape {e.shape} and units {'missing' if units is None else 'given'}: "
            "scores of single cases (seeds, cases) need `units`, scores of seeds have none"
        )
    over_seeds = t_interval(e if e.ndim == 1 else e.mean(1))
    if units is None:
        return over_seeds
    return combined(over_seeds, cluster_bootstrap(e.mean(0), units, strata))


def combined(seeds: Interval, cases: Interval) -> Interval:
    """Two independent errors of one mean, added side by side.

    >>> combined(Interval(0.0, -3.0, 3.0, 5), Interval(0.0, -4.0, 4.0, 90))
    Interval(mean=0.0, low=-5.0, high=5.0, n=5)
    """
    mean, low, high, n = seeds
    below = math.hypot(mean - low, mean - cases.low)
    above = math.hypot(high - mean, cases.high - mean)
    return Interval(mean, mean - below, mean + above, n)


def gains(score: ArrayLike, floor: ArrayLike, better: str = "higher") -> Array:
    """How far an arm's validation score is above its floor, one number a seed.

    Args:
        score: (n_seeds,) of the trained arm.
        floor: (n_seeds,) or a single number: the strongest of what needs no training (identity,
            majority class, untrained network).
        better: "higher" or "lower": which scores are good.

    Raises:
        MedbookError: other shapes, or values that are not finite.

    >>> gains([0.9, 0.8], 0.5)
    array([0.4, 0.3])
    """
    s = _finite(score)
    f = np.asarray(floor, dtype=float)
    f = np.broadcast_to(f, s.shape) if f.size == 1 else f
    return _finite(paired_effect(s, f, better))


def learned(score: ArrayLike, floor: ArrayLike, better: str = "higher") -> bool:
    """True if an arm is clearly better than its floor, in every seed.

    Clearly: the mean gain exceeds 0 in a one-sided t test at 0.1 %, too. By simulation (normal
    gains, 2 to 20 seeds, a constant floor or one per seed) an untrained arm, whose score scatters
    around its floor, passes in at most 0.12 % of experiments, whatever the number of seeds. An arm
    whose gain is ten times its spread is refused in 1.1 % with four seeds and in less than 0.1 %
    with five or more; with two or three seeds next to nothing passes. Equal gains in all of two or
    more seeds pass: the floor holds what answers without having learned.

    Args:
        score: (n_seeds,) of the trained arm, on validation data.
        floor: (n_seeds,) or a single number, see `gains`.
        better: "higher" or "lower": which scores are good.

    >>> learned([0.91, 0.90, 0.92, 0.91], 0.5), learned([0.52, 0.49, 0.51, 0.50], 0.5)
    (True, False)
    """
    gain = gains(score, floor, better)
    if len(gain) < 2 or gain.min() <= 0:
        return False
    spread = _spread(gain)[0]
    needed = _t_quantile(1 - LEARNED_ERROR, len(gain) - 1) * spread / math.sqrt(len(gain))
    return bool(gain.mean() > needed)


def chance_of_difference(ours: float, baseline: float, n: int) -> float:
    """Could a paper's own table decide? Chance of such a difference if both are equally good.

    Two-sided probability that two proportions on n cases each differ by this much or more, although
    both have the probability that is their mean. Assumes that the two err independently of each
    other; on the same cases errors mostly coincide, and chance differences are then smaller.

    Args:
        ours: proportion, 0 to 1.
        baseline: proportion, 0 to 1.
        n: cases, at least 1.

    Raises:
        MedbookError: no proportions, or no cases.

    >>> round(chance_of_difference(0.91, 0.89, 624), 2)
    0.28
    """
    from scipy.stats import binom  # here, as it is slow to import

    if not (0 <= ours <= 1 and 0 <= baseline <= 1 and n >= 1):
        raise MedbookError(f"{ours} and {baseline} on {n} cases: give two in [0, 1] and n >= 1")
    right = binom.pmf(np.arange(n + 1), n, (ours + baseline) / 2)  # of k right answers
    apart = np.convolve(right, right[::-1])  # of a difference of -n .. n
    near = abs(np.arange(-n, n + 1)) < round(abs(ours - baseline) * n)
    return max(0.0, 1 - float(apart[near].sum()))


def verdict(kind: str, interval: Interval, margin: float) -> str:
    """What an interval [L, H] of the effect says about a claim.

    - greater: effect > margin. Reproduced if L > margin, opposite if H < 0,
      not reproduced if H < margin.
    - noninferior: effect > -margin. Reproduced if L > -margin, not reproduced if H < -margin.
    - equivalent: |effect| < margin. Reproduced if -margin < L and H < margin,
      not reproduced if H < -margin or L > margin.
    - monotone: as greater, on the change from the first to the last point (see `trend`).
    - exact: |effect| <= margin.

    Everything else is inconclusive.

    Raises:
        MedbookError: an unknown kind, a margin that is negative or not finite, or no interval.

    >>> verdict("greater", Interval(0.3, 0.2, 0.4, 5), margin=0.1)
    'reproduced'
    """
    mean, low, high, _ = interval
    _check_margin(margin)
    if not (math.isfinite(mean) and low <= high):
        raise MedbookError(f"{interval} is no interval of an effect")
    if kind == "exact":
        return "reproduced" if abs(mean) <= margin else "not reproduced"
    if kind in ("greater", "monotone"):
        yes, opposite, no = low > margin, high < 0, high < margin
    elif kind == "noninferior":
        yes, opposite, no = low > -margin, False, high < -margin
    elif kind == "equivalent":
        yes, opposite, no = low > -margin and high < margin, False, high < -margin or low > margin
    else:
        raise MedbookError(f"unknown kind of claim {kind!r}: choose one of {', '.join(KINDS)}")
    if yes:
        return "reproduced"
    return "opposite" if opposite else "not reproduced" if no else "inconclusive"


def trend(sweep: ArrayLike, better: str = "higher") -> Array:
    """Per-seed change from the first to the last point of a sweep, positive as claimed.

    Args:
        sweep: (n_seeds, n_points) the metric along the sweep.
        better: "higher" if the claim says that it rises, "lower" if it falls.

    >>> trend([[0.9, 0.7, 0.5]], better="lower")
    array([0.4])
    """
    s = _sweep(sweep)
    return paired_effect(s[:, -1], s[:, 0], better)


def reversal(sweep: ArrayLike, margin: float, better: str = "higher") -> bool:
    """True if some step of a sweep goes against the claimed direction by more than the margin.

    A step counts only if the upper end of its paired interval says so.

    >>> reversal([[0.9, 0.2, 0.5], [0.8, 0.2, 0.6]], margin=0.05, better="lower")
    False
    """
    s = _sweep(sweep)
    _check_margin(margin)
    steps = (paired_effect(s[:, i + 1], s[:, i], better) for i in range(s.shape[1] - 1))
    return any(t_interval(step).high < -margin for step in steps)


def verdict_of_sweep(sweep: ArrayLike, margin: float, better: str = "higher") -> str:
    """The verdict on a monotone claim: that of the whole change, unless a step runs back.

    >>> verdict_of_sweep([[0.9, 0.2, 0.5], [0.8, 0.2, 0.6]], margin=0.05, better="lower")
    'inconclusive'
    """
    found = verdict("monotone", t_interval(trend(sweep, better)), margin)
    back = reversal(sweep, margin, better)  # a sweep that runs the other way stays "opposite"
    return "not reproduced" if back and found != "opposite" else found


def seeds_needed(
    effects: ArrayLike,
    kind: str,
    margin: float,
    units: ArrayLike | None = None,
    strata: ArrayLike | None = None,
) -> int | None:
    """How many seeds would decide, were mean and spread to stay as they are.

    More seeds do not shorten the part of the interval that comes from the choice of the cases.

    Args:
        effects: (n_seeds,), or (n_seeds, n_cases) together with `units`.
        kind: of the claim.
        margin: of the claim.
        units: (n_cases,) independent unit of each case.
        strata: (n_cases,) class of each case, where the scores are balanced over classes.

    Returns:
        a number of seeds, or None if 1,000 would not decide.

    >>> seeds_needed([0.0, 0.2, 0.1], "greater", margin=0.0)
    7
    """
    e = _all_finite(effects, "effects")
    x = e if e.ndim == 1 else e.mean(1)
    mean, spread = float(x.mean()), _spread(x)[0]
    cases = Interval(mean, mean, mean, 0)
    if units is not None:
        cases = cluster_bootstrap(e.mean(0), units, strata)
    for n in range(max(len(x) + 1, 2 if spread else SIGN_TEST_N), MAX_SEEDS + 1):
        half = _t_quantile(0.5 + LEVEL / 2, n - 1) * spread / math.sqrt(n)
        seeds = Interval(mean, mean - half, mean + half, n)
        if verdict(kind, combined(seeds, cases), margin) != "inconclusive":
            return n
    return None


def predictive_interval(values: ArrayLike, n_new: int, level: float = LEVEL) -> Interval:
    """Where the mean of `n_new` further seeds is expected, given these.

    Half width t sqrt(1/n + 1/n_new) s: the uncertainty of both means.

    >>> predictive_interval([1.0, 2.0, 3.0], n_new=3).low
    -1.513...
    """
    x = _finite(values)
    if n_new < 1:
        raise MedbookError(f"n_new is {n_new}: give at least 1 further seed")
    here = t_interval(x, level)
    half = (here.high - here.mean) * math.sqrt(1 + len(x) / n_new)
    return Interval(here.mean, here.mean - half, here.mean + half, n_new)


def balanced_scores(predicted: ArrayLike, labels: ArrayLike) -> Array:
    """One number a case whose mean is the balanced accuracy (mean recall over the classes).

    A right answer counts n / (K n_class), a wrong one 0: rare classes weigh as much as common ones.

    Args:
        predicted: (n,) class predicted for each case.
        labels: (n,) true class; K is the number of classes that occur.

    >>> float(balanced_scores([0, 0, 0], [0, 0, 1]).mean())
    0.5
    """
    p, y = np.asarray(predicted), np.asarray(labels)
    if p.shape != y.shape or y.ndim != 1 or not len(y):
        raise MedbookError(
            f"predicted {p.shape} and labels {y.shape} must be equal, 1-D, not empty"
        )
    _, index, counts = np.unique(y, return_inverse=True, return_counts=True)
    if p.dtype.kind == "f":
        _all_finite(p, "predicted")
    weights = len(y) / (len(counts) * counts)
    return np.where(p == y, weights[index], 0.0)


def _labels(given: ArrayLike | None, what: str, x: Array) -> NDArray[np.intp]:
    """Labels of the cases as 0 .. n-1; all 0 if none are given."""
    if given is None:
        return np.zeros(len(x), np.intp)
    known = np.asarray(given)
    if known.dtype.kind == "f" and np.isnan(known).any():
        raise MedbookError(f"{what}, {known.shape}, hold NaN: give each case a label")
    labels = np.unique(known, return_inverse=True)[1].reshape(-1)
    if len(labels) != len(x):
        raise MedbookError(f"{len(x)} scores but {len(labels)} {what}: give one per score")
    return labels


def _kinds(groups: NDArray[np.intp], inside: NDArray[np.intp]) -> NDArray[np.intp]:
    """Of each unit the stratum within which it is redrawn; all 0 if a unit spans several."""
    first = np.zeros(groups.max() + 1, np.intp)
    first[groups] = inside
    nested = bool((first[groups] == inside).all())
    return first if nested else np.zeros_like(first)


def _redrawn(kinds: NDArray[np.intp], draws: int, rng: np.random.Generator) -> Array:
    """How often each unit is drawn, (draws, units): as many of each kind as there are."""
    times = np.empty((draws, len(kinds)))
    for kind in range(kinds.max() + 1):
        own = np.flatnonzero(kinds == kind)
        k = len(own)
        drawn = rng.integers(0, k, (draws, k)) + k * np.arange(draws)[:, None]
        times[:, own] = np.bincount(drawn.ravel(), minlength=draws * k).reshape(draws, k)
    return times


def _expanded_tail(parts: Array, counts: NDArray[np.intp], level: float) -> float:
    """Which percentile to take, given the redrawn parts (draws, strata) of the mean."""
    from scipy.special import ndtr  # here, as it would be half of `import medbook`

    k = counts.astype(float)
    pooled = parts.sum(1, keepdims=True) if len(k) == 1 else parts
    found = pooled.var(0)
    true = found * k / (k - 1)
    if not true.any():
        return 0.5 - level / 2  # nothing varies: any percentile is the mean
    freedom = true.sum() ** 2 / (true**2 / (k - 1)).sum()
    stretch = math.sqrt(true.sum() / found.sum())
    return float(ndtr(-stretch * _t_quantile(0.5 + level / 2, freedom)))


def _t_quantile(p: float, df: float) -> float:
    """Quantile of Student's t."""
    from scipy.special import stdtrit  # here, as it would be half of `import medbook`

    return float(stdtrit(df, p))


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise MedbookError(f"level is {level}: give a coverage between 0 and 1, as 0.95")


def _check_margin(margin: float) -> None:
    if not 0 <= margin < math.inf:
        raise MedbookError(f"margin is {margin}: give a finite number >= 0")


def _sweep(given: ArrayLike) -> Array:
    s = np.asarray(given, dtype=float)
    if s.ndim != 2 or s.shape[1] < 3:
        raise MedbookError(f"a sweep is (seeds, points >= 3), not {s.shape}")
    return s


def _all_finite(values: ArrayLike, name: str) -> Array:
    x = np.asarray(values, dtype=float)
    if not x.size or not np.isfinite(x).all():
        why = "has values that are not finite" if x.size else "is empty"
        raise MedbookError(f"{name}, of shape {x.shape}, {why}")
    return x


def _finite(values: ArrayLike) -> Array:
    x = np.asarray(values, dtype=float)
    if x.ndim != 1 or not len(x) or not np.isfinite(x).all():
        raise MedbookError(f"expected a non-empty 1-D array of finite numbers, got shape {x.shape}")
    return x


def _spread(x: Array) -> tuple[float, float]:
    """Standard deviation, 0 where equal numbers differ by rounding alone, and that rounding.

    An interval is never shorter than the rounding: 0.8 - 0.7 must not exceed a margin of 0.1.
    """
    rounding = 1e-9 * max(1.0, float(np.abs(x).max()))
    spread = float(x.std(ddof=1)) if len(x) > 1 else 0.0
    return (spread if spread > rounding else 0.0), rounding

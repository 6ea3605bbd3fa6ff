"""What a results file has to hold, so that a malformed one is one line and no traceback."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, FiniteFloat, NonNegativeInt, ValidationError

from medbook.data.record import Kind
from medbook.errors import MedbookError
from medbook.record import results
from medbook.record.profiles import Profile

Word = Literal["reproduced", "not reproduced", "opposite", "inconclusive", "not tested"]


class _Record(BaseModel):
    model_config = ConfigDict(strict=True)


class _Cases(_Record):
    n: NonNegativeInt
    units: str
    strata: str | None


class _File(_Record):
    sha256: str


class _Metric(_Record):
    values: list[FiniteFloat]
    unit: str
    mean: FiniteFloat
    low: FiniteFloat | None
    high: FiniteFloat | None
    kind: Literal["exact", "seeded"]
    rtol: FiniteFloat
    on: Literal["nothing", "train", "validation", "test"]
    arm: list[str] = []
    cases: _Cases | None = None


class _Claim(_Record):
    id: str
    hash: str
    verdict: Word
    label: str = ""
    ours: str = ""
    baseline: str = ""
    sweep: Any = None  # names of metrics; of a first edition the numbers
    scores: list[FiniteFloat] = []
    verdicts: dict[str, Word] = {}
    arms: list[str] = []
    not_learned: list[str] = []
    at_budget: list[str] = []
    effect: FiniteFloat
    low: FiniteFloat | None
    high: FiniteFloat | None
    n: NonNegativeInt
    effects: list[FiniteFloat]
    data: str
    seeds_needed: int | None


class _Check(_Record):
    id: str
    hash: str
    worst: FiniteFloat
    holds: bool
    data: str


class _Data(_Record):
    name: str
    kind: Kind
    unit: str
    n: NonNegativeInt
    sha256: str


class _Arm(_Record):
    name: str
    n_train: NonNegativeInt
    steps: NonNegativeInt
    parameters: NonNegativeInt
    trials: NonNegativeInt
    seconds: FiniteFloat
    weights: list[str]
    validation: list[FiniteFloat] | None = None
    floor: list[FiniteFloat] | None = None
    better: Literal["higher", "lower"] = "higher"
    learned: bool | None = None
    losses: list[FiniteFloat] = []


class _Trials(_Record):
    definitions: dict[str, str]
    machines: list[str] = []
    keys: list[str]
    seconds: list[FiniteFloat]


class _Cell(_Record):
    code: str
    shows: list[str]


class _Digests(_Record):
    of: Literal["the run", "the committed notebook"]
    cells: list[_Cell]


class _Tolerances(_Record):
    loose: list[str]


class _Results(_Record):
    chapter: str
    profile: Profile
    seed: NonNegativeInt
    environment: dict[str, str]
    metrics: dict[str, _Metric]
    claims: list[_Claim]
    checks: list[_Check] = []
    seeds: NonNegativeInt | None = None
    cases: _File | None = None
    data: list[_Data] = []
    arms: list[_Arm] = []
    trials: dict[str, _Trials] = {}
    key: dict[str, Any] = {}
    digests: _Digests | None = None
    tolerances: _Tolerances | None = None


def load(path: Path) -> results.Results:
    """`medbook.record.results.load` for a file that others may have written.

    Raises:
        MedbookError: as there; or a part is missing or not what it should be, which is named.
    """
    content = results.load(path)
    try:
        check(content)
    except MedbookError as error:
        raise MedbookError(f"{path.name}: {error}") from None
    return content


def check(content: Any) -> None:
    """Raise unless `content` has the form of a results file; parts not named here may be in it.

    Raises:
        MedbookError: the first thing that is wrong, as `metrics/acc/values/0: ..., not 'x'`.

    >>> check([])
    Traceback (most recent call last):
    medbook.errors.MedbookError: expected a mapping, not []
    """
    if not isinstance(content, dict):
        raise MedbookError(f"expected a mapping, not {content!r:.40}")
    try:
        _Results.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = "/".join(map(str, first["loc"]))
        given = "" if first["type"] == "missing" else f", not {first['input']!r:.40}"
        raise MedbookError(f"{where}: {first['msg']}{given}") from None

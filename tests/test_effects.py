"""The figure of all effects: what lies where in it, and what stands beside it."""

import base64
import math
import re
from dataclasses import dataclass, field
from xml.etree import ElementTree

import pytest

from medbook.record.claims import Claim
from medbook.show import effects
from medbook.show.effects import EDGE, WIDTH, Axis
from medbook.show.measured import Measured, measured, number


def claim(id: str = "salm-1", kind: str = "greater", margin: float = 0.05, **more) -> Claim:
    words = {"statement": "SALM <helps>.", "metric": "AUC", "better": "lower", "data": "x"}
    words |= {"arms": {"ours": "SALM", "baseline": "unprotected"}, "profile": "laptop"}
    return Claim(id=id, kind=kind, margin=margin, **words | {"paper": "not stated"} | more)  # type: ignore[arg-type]


def record(verdict: str, low: float | None, effect: float, high: float | None, **more) -> dict:
    words = {"verdict": verdict, "effect": effect, "low": low, "high": high, "n": 5}
    return words | {"data": "real", "seeds_needed": None} | more


@dataclass(frozen=True)
class Control:
    """A claim that guards others."""

    guards: tuple[str, ...] = ("salm-1",)
    words: Claim = field(default_factory=lambda: claim("salm-c1", "equivalent"))

    def __getattr__(self, name: str):
        return getattr(self.words, name)


GOOD = Measured(claim(), record("reproduced", 0.25, 0.28, 0.31, scores=[0.61, 0.89]))
BAD = Measured(claim("salm-2"), record("opposite", -0.2, -0.1, -0.01, effects=[-0.1, -0.1, -0.3]))
FREE = Measured(claim("salm-3"), record("inconclusive", None, 0.1, None))
NOUGHT = Measured(claim("salm-4", margin=0), record("reproduced", 0.1, 0.3, 0.5))
SCORE = Measured(claim("salm-7", margin=0.5), record("reproduced", 2.0, 3.0, 4.0), "dB")
HELD = Measured(Control(), record("reproduced", -0.01, 0.0, 0.01))


def shapes(line: Measured, axis: Axis, tag: str) -> list[dict[str, str]]:
    svg = ElementTree.fromstring(effects.strip(line, axis))
    return [node.attrib for node in svg.iter(f"{{http://www.w3.org/2000/svg}}{tag}")]


def bar(line: Measured, axis: Axis) -> tuple[float, float]:
    (path,) = (p["d"] for p in shapes(line, axis, "path") if p.get("stroke-width") == "3.0")
    low, high = re.fullmatch(r"M([\d.]+) \d+H([\d.]+)", path).groups()  # type: ignore[union-attr]
    return float(low), float(high)


def test_a_shared_unit_and_wide_margins_keep_the_axis_in_the_unit_of_the_metric() -> None:
    axis = Axis.of([GOOD, BAD])
    assert not axis.in_margins
    assert axis.ticks and all(axis.low <= tick <= axis.high for tick in axis.ticks)
    low, high = bar(GOOD, axis)
    scale = (WIDTH - 2 * EDGE) / (axis.high - axis.low)
    assert high - low == pytest.approx(0.06 * scale, abs=0.11)
    assert low == pytest.approx(EDGE + (0.25 - axis.low) * scale, abs=0.06)


@pytest.mark.parametrize("others", [[SCORE], [NOUGHT], [Measured(claim(margin=0.001), BAD.record)]])
def test_margins_are_the_unit_where_scales_differ(others: list[Measured]) -> None:
    axis = Axis.of([GOOD, *others])
    assert axis.in_margins
    # asinh(effect / margin), the same for two claims that are as many margins away
    twice = Measured(claim(margin=0.1), record("reproduced", 0.5, 0.56, 0.62))
    assert bar(GOOD, axis) == bar(twice, axis)
    zero, one = axis.pixels([0, 1])
    three = float(axis.place(0.15, GOOD))
    assert (three - zero) / (one - zero) == pytest.approx(math.asinh(3) / math.asinh(1))
    assert "in margins" in effects.table([GOOD, *others], {})


def test_units_are_not_mixed_on_one_axis() -> None:
    assert Axis.of([GOOD, Measured(claim("salm-8"), GOOD.record, "dB")]).in_margins


@pytest.mark.parametrize(("line", "fill"), [(GOOD, "#0b6b3a"), (FREE, "#fff")])
def test_what_is_open_has_a_hollow_dot(line: Measured, fill: str) -> None:
    assert shapes(line, Axis.of([GOOD, FREE]), "circle")[-1]["fill"] == fill


def test_a_margin_of_nought_takes_the_interval_as_its_unit_and_says_so() -> None:
    axis = Axis.of([GOOD, NOUGHT])
    low, high = axis.pixels([0.5, 2.5])  # 0.1 and 0.5 in halves of an interval of 0.4
    assert bar(NOUGHT, axis) == pytest.approx((low, high), abs=0.06)
    said = "Where the margin is 0"
    assert said in effects.table([NOUGHT], {}) and said not in effects.table([GOOD, SCORE], {})


@pytest.mark.parametrize("lines", [[GOOD, BAD, HELD], [GOOD, BAD, SCORE, NOUGHT]])
def test_no_axis_cuts_an_interval_or_a_seed(lines: list[Measured]) -> None:
    axis = Axis.of(lines)
    for line in lines:
        low, high = bar(line, axis)
        assert EDGE <= low < high <= WIDTH - EDGE
        assert all(EDGE <= float(c["cx"]) <= WIDTH - EDGE for c in shapes(line, axis, "circle"))


def test_what_nothing_bounds_reaches_the_edge_with_arrows() -> None:
    axis = Axis.of([GOOD, FREE])
    assert bar(FREE, axis) == (0, WIDTH)
    arrows = [p["d"] for p in shapes(FREE, axis, "path") if p["d"].endswith("z")]
    assert len(arrows) == 2 and "[−∞, +∞]" in effects.table([FREE], {})
    assert not [p for p in shapes(GOOD, axis, "path") if p["d"].endswith("z")]


def test_seeds_of_equal_effect_are_all_to_be_seen() -> None:
    dots = shapes(BAD, Axis.of([BAD]), "circle")[:3]
    assert dots[0]["cx"] == dots[1]["cx"] and len({dot["cy"] for dot in dots}) == 3


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [("greater", 0.05, None), ("noninferior", -0.05, None), ("equivalent", -0.05, 0.05)],
)
def test_green_is_where_an_interval_reproduces_the_claim(kind, low, high) -> None:
    line = Measured(claim(kind=kind), BAD.record)
    axis = Axis.of([line, GOOD])
    green = next(r for r in shapes(line, axis, "rect") if r["fill"] == effects.YES)
    left = float(green["x"])
    assert left == pytest.approx(float(axis.place(low, line)), abs=0.06)
    right = WIDTH if high is None else float(axis.place(high, line))
    assert left + float(green["width"]) == pytest.approx(right, abs=0.11)


def test_the_table_names_scores_verdicts_remarks_and_links() -> None:
    why = "not tested (SALM has not learned)"
    untested = record("not tested", 0.1, 0.2, 0.3, label=why, data="phantom")
    why = "not reproduced at this budget"
    slow = record("not reproduced", 0.0, 0.01, 0.02, label=why, data="twin")
    lines = [HELD, GOOD, Measured(claim("salm-5"), untested), Measured(claim("salm-6"), slow)]
    page = effects.table(lines, {"salm": "A & B"}, link="systems/{slug}.html#{id}")
    node = ElementTree.fromstring(page)
    assert len(node.findall(".//tbody")) == 1 and "A &amp; B" in page
    order = re.findall(r'href="systems/salm.html#([\w-]+)"', page)
    assert order == ["salm-1", "salm-5", "salm-6", "salm-c1"]  # controls last
    assert "SALM 0.610, unprotected 0.890" in page and "SALM &lt;helps&gt;" in page
    assert "SALM has not learned; phantom" in page and "at this budget; twin" in page
    assert '<span class="verdict not-reproduced">✗ not reproduced</span>' in page
    alts = [img.get("alt") for img in node.iter("img")]
    assert alts[0] == "Effect +0.280 [+0.250, +0.310], margin 0.05: reproduced."
    for img in node.iter("img"):
        kind, code = img.get("src").split(",")  # type: ignore[union-attr]
        assert kind == "data:image/svg+xml;base64" and ElementTree.fromstring(
            base64.b64decode(code)
        )


def test_a_control_is_counted_as_none_of_the_claims() -> None:
    assert effects.caption([GOOD, BAD, HELD]).startswith(
        "Of 2 claims: 1 reproduced, 1 opposite. Of 1 control: 1 held."
    )
    failed = Measured(Control(), record("not reproduced", 0.1, 0.2, 0.3))
    assert "Of 2 controls: 1 held, 1 failed." in effects.caption([GOOD, HELD, failed])


def test_a_number_that_rounds_to_nought_has_no_sign() -> None:
    assert number(-0.0001, 0.05) == number(0.0001, 0.05, signed=True) == "0.000"


def test_units_come_from_the_metrics_and_checks_are_left_out() -> None:
    known = {"salm-1": claim(), "salm-2": claim("salm-2", "exact"), "salm-3": claim("salm-3")}
    entries = [GOOD.record | {"id": "salm-1", "ours": "psnr"}, BAD.record | {"id": "salm-2"}]
    run = {"claims": entries, "metrics": {"psnr": {"unit": "dB"}}}
    (line,) = measured(known, run)
    assert (line.claim.id, line.unit) == ("salm-1", "dB")
    assert line.interval == "+0.280 dB [+0.250, +0.310]"

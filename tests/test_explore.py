"""The slider: as HTML without script, in a browser by keyboard, and as a widget."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import ipywidgets as widgets
import matplotlib.pyplot as plt
import pytest
from matplotlib.figure import Figure

from medbook.errors import MedbookError
from medbook.show import explore as module
from medbook.show import plots
from medbook.show.explore import explore
from medbook.show.plots import Card


def draw(value: float) -> Figure:
    figure, ax = plt.subplots(figsize=(3, 2))
    ax.plot([0, value])
    return figure


def describe(value: float) -> str:
    return f"A line up to {value}."


WORDS: dict[str, Any] = {"label": "Noise σ (HU)", "caption": "Where is it 2?", "alt": describe}


@pytest.fixture(autouse=True)
def no_open_figures() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is displayed."""
    found: list[Any] = []
    monkeypatch.setattr(module, "display", lambda *things: found.extend(things))
    monkeypatch.setattr(plots, "display", found.append)
    return found


def parts(card: Card) -> tuple[ElementTree.Element, list[list[str]]]:
    """The page without its script, and the frames that the script holds."""
    page, script = card.html.split("<script>")
    frames = re.search(r"const frames = (.*);\n", script)
    assert frames is not None
    return ElementTree.fromstring(page), json.loads(frames[1])


# ---------------------------------------------------------------- the page


def test_the_first_frame_reads_without_script(shown: list[Card]) -> None:
    explore(draw, [1.0, 2.0, 0.25], **WORDS, start=2)
    (card,) = shown
    page, frames = parts(card)
    figure = page.find("figure")
    assert figure is not None
    image, slider = figure.find("img"), figure.find("input")
    assert image is not None
    assert slider is not None
    assert (image.get("src"), image.get("alt"), figure.findtext("div/output")) == tuple(frames[2])
    assert image.get("alt") == "A line up to 0.25."
    assert figure.findtext("div") == "Noise σ (HU): "
    assert figure.findtext("figcaption") == "Where is it 2?"
    assert slider.attrib.items() >= {
        "type": "range", "min": "0", "max": "2", "value": "2", "aria-label": "Noise σ (HU)",
    }.items()  # fmt: skip
    assert "visibility:hidden" in slider.attrib["style"], "it does nothing without script"
    assert "background:#fff" in figure.attrib["style"]
    assert repr(card) == "Where is it 2? [Noise σ (HU): 1, 2, 0.25. A line up to 0.25.]"


def test_every_value_has_its_picture_its_alt_and_its_text(shown: list[Card]) -> None:
    explore(draw, [1.0, 2.0, 0.25], **WORDS)
    _, frames = parts(shown[0])
    assert [text for _, _, text in frames] == ["1", "2", "0.25"]
    assert [alt for _, alt, _ in frames] == [describe(value) for value in (1.0, 2.0, 0.25)]
    assert len({src for src, _, _ in frames}) == 3
    expected = [plots.data_uri(draw(value), module.FRAME_DPI) for value in (1.0, 2.0, 0.25)]
    assert [src for src, _, _ in frames] == expected
    assert plt.get_fignums() == []


def test_the_page_asks_no_server_and_is_the_same_each_time(shown: list[Card]) -> None:
    for caption in ("One.", "One.", "Two."):
        explore(draw, [1, 2], **(WORDS | {"caption": caption}))
    first, again, other = (card.html for card in shown)
    assert first == again
    ids = [parts(card)[0].attrib["id"] for card in shown]
    assert ids[0] == ids[1] != ids[2]
    assert not re.search(
        r"https?:|//[a-z]|@import|url\(", re.sub(r"base64,[\w+/=]+", "", first + other)
    )


def test_no_text_breaks_out_of_the_page(shown: list[Card]) -> None:
    nasty = '</script><b>"{x}" & more'
    explore(draw, [1, 2], label=nasty, caption=nasty, alt=nasty)
    page, frames = parts(shown[0])
    assert shown[0].html.count("</script>") == 1
    assert frames[1][1] == nasty
    assert page.find("figure/input").get("aria-label") == nasty  # type: ignore[union-attr]
    assert page.findtext("figure/figcaption") == nasty


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": list(range(21))}, "2 to 20 values.*not 21"),
        ({"values": [1]}, "2 to 20 values"),
        ({"values": []}, "2 to 20 values"),
        ({"start": 3}, "start one of their indices"),
        ({"start": -1}, "start one of their indices"),
        ({"label": " "}, "a label"),
        ({"caption": ""}, "in words"),
        ({"alt": "frame.png"}, "in words"),
        ({"alt": lambda v: "A line." if v < 3 else ""}, "in words"),
        ({"draw": lambda v: plt.figure(figsize=(v, 2))}, "make them equal"),
    ],
)
def test_explore_refuses(shown: list[Any], change: dict[str, Any], message: str) -> None:
    with pytest.raises(MedbookError, match=message):
        explore(**({"draw": draw, "values": [1, 2, 3]} | WORDS | change))
    assert shown == []


def test_twenty_frames_are_allowed(shown: list[Card]) -> None:
    explore(draw, list(range(20)), **WORDS)
    assert len(parts(shown[0])[1]) == 20


# ---------------------------------------------------------------- in a kernel


def test_in_a_live_kernel_a_widget_redraws(
    shown: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "live", lambda: True)
    drawn: list[float] = []

    def noted(value: float) -> Figure:
        drawn.append(value)
        return draw(value)

    explore(noted, [1.0, 2.0, 0.25], **WORDS, start=1)
    sliders = [thing for thing in shown if isinstance(thing, widgets.SelectionSlider)]
    assert len(sliders) == 1
    assert (sliders[0].label, sliders[0].description) == ("2", "Noise σ (HU)")
    assert drawn == [2.0], "only the value that is asked for is drawn"
    sliders[0].index = 2
    assert drawn == [2.0, 0.25]
    cards = [thing for thing in shown if isinstance(thing, Card)]
    assert repr(cards[-1]) == "Where is it 2? [A line up to 0.25.]"


# ---------------------------------------------------------------- in a browser


def opened(browser: Any, cards: list[Card], folder: Path, script: bool = True) -> Any:
    page = browser.new_context(java_script_enabled=script).new_page()
    page.requests = []
    page.on("request", lambda request: page.requests.append(request.url))
    body = "".join(card.html for card in cards)
    file = folder / "page.html"
    file.write_text(f"<!doctype html><meta charset='utf-8'><body>{body}<p id='end'>End</p>")
    page.goto(file.as_uri())
    return page


def test_arrow_keys_change_one_slider_and_nothing_moves(
    browser: Any, shown: list[Card], tmp_path: Path
) -> None:
    explore(draw, [1, 2, 3], **WORDS)
    explore(draw, [1, 2, 3], **(WORDS | {"label": "Another"}))
    page = opened(browser, shown, tmp_path)
    images, outputs, sliders = (page.locator(tag) for tag in ("img", "output", "input"))
    first, end = images.nth(0).get_attribute("src"), page.locator("#end").bounding_box()
    page.keyboard.press("Tab")  # the slider is reached by the keyboard alone
    page.keyboard.press("ArrowRight")
    assert outputs.all_inner_texts() == ["2", "1"]
    assert images.nth(0).get_attribute("alt") == "A line up to 2."
    assert images.nth(0).get_attribute("src") != first
    assert images.nth(1).get_attribute("src") == first
    assert sliders.nth(0).get_attribute("aria-valuetext") == "2"
    page.keyboard.press("End")
    page.keyboard.press("ArrowRight")
    assert outputs.all_inner_texts() == ["3", "1"]
    page.keyboard.press("Home")
    assert images.nth(0).get_attribute("src") == first
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowUp")
    assert outputs.all_inner_texts() == ["1", "2"]
    assert page.locator("#end").bounding_box() == end
    assert [url for url in page.requests if not url.startswith(("file:", "data:"))] == []


def test_the_same_slider_twice_on_a_page(browser: Any, shown: list[Card], tmp_path: Path) -> None:
    explore(draw, [1, 2, 3], **WORDS)
    page = opened(browser, shown * 2, tmp_path)
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    assert page.locator("output").all_inner_texts() == ["1", "2"]


def test_without_script_there_is_a_picture_and_no_dead_slider(
    browser: Any, shown: list[Card], tmp_path: Path
) -> None:
    explore(draw, [1, 2, 3], **WORDS)
    page = opened(browser, shown, tmp_path, script=False)
    assert page.locator("img").bounding_box()["width"] == 3 * module.FRAME_DPI
    assert not page.locator("input").is_visible()
    assert page.locator("output").inner_text() == "1"

"""Figures: what is emitted, in HTML, in text and in pixels."""

import base64
import io
from collections.abc import Iterator
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from scipy import stats as sps

from medbook.errors import MedbookError
from medbook.show import plots

BLANK = "background:#fff"


@pytest.fixture(autouse=True)
def no_open_figures() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[plots.Card]:
    """What `show` displays."""
    cards: list[plots.Card] = []
    monkeypatch.setattr(plots, "display", cards.append)
    return cards


def picture(html: str) -> Image.Image:
    source = ElementTree.fromstring(html).find("img").get("src")  # type: ignore[union-attr]
    kind, data = source.split(",", 1)  # type: ignore[union-attr]
    assert kind == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(data, validate=True)))


# ---------------------------------------------------------------- show


def test_show_emits_one_figure_with_caption_and_alt(shown: list[plots.Card]) -> None:
    figure, ax = plt.subplots()
    ax.plot([1, 3, 2])
    plots.show(figure, caption='Values < 4 & "rising".', alt='A line, "up" & down.')
    (card,) = shown
    page = ElementTree.fromstring(card._repr_html_())
    assert (page.tag, page.get("class")) == ("figure", "medbook")
    assert page.findtext("figcaption") == 'Values < 4 & "rising".'
    (image,) = page.findall("img")
    assert image.get("alt") == 'A line, "up" & down.'
    assert BLANK in (page.get("style") or "")
    assert BLANK in (image.get("style") or "")
    assert "max-width:100%" in (image.get("style") or "")
    assert image.get("height") is None, "it would distort where a viewer strips the style"
    assert repr(card) == 'Values < 4 & "rising". [A line, "up" & down.]'


def test_the_picture_is_opaque_white_of_known_size_and_has_a_palette(
    shown: list[plots.Card],
) -> None:
    figure = plt.figure(figsize=(4, 3), facecolor="none")
    plots.show(figure, caption="Empty.", alt="Nothing drawn.")
    image = picture(shown[0].html)
    assert image.size == (4 * 130, 3 * 130)
    assert image.mode == "P"
    assert "transparency" not in image.info
    assert image.convert("RGB").getcolors() == [(520 * 390, (255, 255, 255))]


def test_the_figure_is_closed_and_equal_figures_give_equal_bytes(shown: list[plots.Card]) -> None:
    plt.close("all")
    for _ in range(2):
        figure, ax = plt.subplots()
        ax.plot([1, 2])
        plots.show(figure, caption="A line.", alt="A rising line.")
    assert plt.get_fignums() == []
    assert shown[0] == shown[1]


def test_grey_images_are_kept_exactly_and_colours_nearly() -> None:
    rng = np.random.default_rng(0)
    for channels, worst in ((1, 0), (3, 40)):
        pixels = rng.integers(0, 256, (64, 64, channels), np.uint8).repeat(3 // channels, -1)
        figure = plt.figure(figsize=(0.64, 0.64), layout="none")
        figure.figimage(pixels)
        image = Image.open(io.BytesIO(base64.b64decode(plots.data_uri(figure, 100).split(",")[1])))
        error = np.abs(np.asarray(image.convert("RGB")).astype(int) - pixels[::-1][::-1])
        assert error.max() <= worst


def test_long_labels_stay_inside() -> None:
    figure, ax = plt.subplots(figsize=(6, 2))
    ax.set_yticks([0], ["a label that is much longer than the default margin"])
    ax.plot([0, 1], [0, 0])
    image = Image.open(io.BytesIO(base64.b64decode(plots.data_uri(figure, 100).split(",")[1])))
    assert (np.asarray(image.convert("L"))[:, 0] == 255).all(), "no ink is cut off at the left edge"


@pytest.mark.parametrize(
    ("caption", "alt"),
    [("", "A rising line."), (" \n", "A rising line."), ("A line.", ""), ("A line.", "  "),
     ("A line.", "figure_1.png"), ("A line.", "my figure.svg"), ("A line.", "plot")],
)  # fmt: skip
def test_figures_without_words_are_refused(shown: list[plots.Card], caption: str, alt: str) -> None:
    with pytest.raises(MedbookError, match="in words"):
        plots.show(plt.figure(), caption=caption, alt=alt)
    assert shown == []


def test_without_a_notebook_the_text_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    plots.show(plt.figure(), caption="Nothing.", alt="An empty figure.")
    assert capsys.readouterr().out == "Nothing. [An empty figure.]\n"


# ---------------------------------------------------------------- style


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return float(np.dot([0.2126, 0.7152, 0.0722], np.power(channels, 2.2)))


def test_style_tells_lines_apart_in_greyscale_and_on_white() -> None:
    with plt.rc_context():
        plots.style()
        ax = plt.figure().subplots()
        lines = [ax.plot([k, k + 1])[0] for k in range(7)]
    looks = {(round(luminance(x.get_color()), 1), x.get_linestyle()) for x in lines}
    assert len(looks) == 7
    assert all((1 + 0.05) / (luminance(x.get_color()) + 0.05) > 2 for x in lines)
    assert not ax.spines["top"].get_visible()
    assert not ax.spines["right"].get_visible()
    assert ax.xaxis.get_ticklabels()[0].get_fontsize() >= 10


# ---------------------------------------------------------------- image_grid


def test_image_grid_shows_every_image_on_the_full_scale() -> None:
    grey = np.arange(3 * 1 * 5 * 4, dtype=np.uint8).reshape(3, 1, 5, 4)
    colour = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 4), np.uint8)
    figure = plots.image_grid([grey, colour], ["a", "b", "c"], ["grey", "colour"])
    axes = np.array(figure.axes).reshape(2, 3)
    assert [ax.get_title() for ax in axes[0]] == ["a", "b", "c"]
    assert [ax.get_ylabel() for ax in axes[:, 0]] == ["grey", "colour"]
    for k in range(3):
        (image,) = axes[0, k].get_images()
        assert np.array_equal(np.squeeze(image.get_array()), grey[k, 0])
        assert image.get_clim() == (0, 255), "contrast is not stretched image by image"
    assert np.array_equal(axes[1, 1].get_images()[0].get_array(), colour[1].transpose(1, 2, 0))
    assert not axes[1, 2].get_images()


def test_image_grid_takes_one_row_of_one_image() -> None:
    torch = pytest.importorskip("torch")
    figure = plots.image_grid(torch.full((1, 1, 3, 3), 7, dtype=torch.uint8))
    assert len(figure.axes) == 1


@pytest.mark.parametrize(
    ("images", "titles", "labels"),
    [
        (np.zeros((2, 1, 3, 3)), [], []),
        (np.zeros((2, 3, 3), np.uint8), [], []),
        (np.zeros((0, 1, 3, 3), np.uint8), [], []),
        (np.zeros((2, 2, 3, 3), np.uint8), [], []),
        ([], [], []),
        (np.zeros((2, 1, 3, 3), np.uint8), ["one"], []),
        (np.zeros((2, 1, 3, 3), np.uint8), [], ["a", "b"]),
    ],
)
def test_image_grid_refuses(images: object, titles: list[str], labels: list[str]) -> None:
    before = plt.get_fignums()
    with pytest.raises(MedbookError):
        plots.image_grid(images, titles, labels)  # type: ignore[arg-type]
    assert plt.get_fignums() == before


# ---------------------------------------------------------------- intervals


def drawn(names: list[str], values: list) -> tuple[Figure, dict[str, list[np.ndarray]]]:
    figure, ax = plt.subplots()
    plots.intervals(ax, names, values)
    lines: dict[str, list[np.ndarray]] = {"one seed": [], "95 % t interval": [], "mean": []}
    for line in ax.get_lines():
        lines[str(line.get_label()).strip("_")].append(line.get_xydata())
    return figure, lines


def test_intervals_draw_each_seed_the_mean_and_the_t_interval() -> None:
    clean, noise = [0.80, 0.82, 0.87], [0.5, 0.61]
    figure, lines = drawn(["clean", "noise"], [clean, noise])
    for y, values in enumerate((clean, noise)):
        assert lines["one seed"][y][:, 0].tolist() == values
        assert lines["mean"][y].tolist() == [[pytest.approx(np.mean(values)), y]]
        expected = sps.ttest_1samp(values, 0).confidence_interval(0.95)
        assert lines["95 % t interval"][y][:, 0] == pytest.approx(expected)
        assert abs(lines["one seed"][y][0, 1] - y) < 0.5, "dots belong to their line"
    (ax,) = figure.axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["clean", "noise"]
    assert ax.yaxis_inverted(), "the first name is on top"
    assert len(ax.get_legend_handles_labels()[1]) == 3


def test_an_unbounded_interval_is_not_drawn_and_does_not_spoil_the_axis() -> None:
    figure, lines = drawn(["one", "equal"], [[0.7], [0.5, 0.5, 0.5]])
    assert all(np.isinf(line[:, 0]).all() for line in lines["95 % t interval"])
    low, high = figure.axes[0].get_xlim()
    assert 0 < low < 0.5 < 0.7 < high < 1
    figure.canvas.draw()


def test_intervals_needs_a_name_for_each_line() -> None:
    ax = plt.figure().subplots()
    with pytest.raises(MedbookError, match="1 names for 2"):
        plots.intervals(ax, ["a"], [[0.1], [0.2]])


def test_dots_that_would_hide_each_other_are_moved_apart() -> None:
    ax = plt.figure().subplots()
    plots.intervals(ax, ["a", "b"], [[0.5, 0.501, 0.502], [0.1, 0.5, 0.9]])
    close, far = (line.get_ydata() for line in ax.lines if line.get_marker() == "o")
    assert len(set(close)) == 3 and len(set(far)) == 1


@pytest.mark.parametrize("limits", [(0.4, 0.6), (0.0, 0.6), (0.4, 1.0)])
def test_no_limit_cuts_an_interval(limits: tuple[float, float]) -> None:
    ax = plt.figure().subplots()
    plots.intervals(ax, ["a"], [[0.3, 0.5, 0.7]])
    ax.plot([-5, 5], [0, 0])  # other lines may leave the picture
    ax.set_xlim(limits)
    plots.data_uri(ax.figure, dpi=40)
    low, high = ax.get_xlim()
    interval = sps.t.interval(0.95, 2, 0.5, sps.sem([0.3, 0.5, 0.7]))
    assert -1 < low <= interval[0] and interval[1] <= high < 2
    assert low == limits[0] or limits[0] > interval[0]
    assert high == limits[1] or limits[1] < interval[1]

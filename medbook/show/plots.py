"""Figures: one way to show them, and the two kinds that every chapter needs."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from medbook.errors import MedbookError
from medbook.evaluate.stats import t_interval

# Okabe and Ito 2008, "Color universal design"; the line styles tell them apart in greyscale
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
CYCLE = cycler(color=COLOURS, linestyle=("-", "--", "-.", ":", "-", "--", "-."))
STYLE = {"axes.prop_cycle": CYCLE, "axes.spines.top": False, "axes.spines.right": False}
STYLE |= {"figure.figsize": (7, 4), "font.size": 11, "legend.frameon": False, "image.cmap": "gray"}
DOT = 0.012  # width of a dot as part of the width of an axis
WHOLE = "whole"  # marks a line that the limits of its axis must not cut
# A light card in both themes. GitHub strips all styles: image and caption read well without them.
INK = "color:#1a1a1a"
SHEET = f"background:#fff;{INK};color-scheme:light;padding:.5rem;margin:0"


@dataclass(frozen=True, repr=False)
class Card:
    """A figure as HTML for a notebook and as text for a terminal."""

    html: str
    text: str

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return self.html


def style() -> None:
    """Give all figures that follow the book's look."""
    plt.style.use(STYLE)


def show(figure: Figure, *, caption: str, alt: str) -> None:
    """Emit a matplotlib figure once, on white and in 256 colours, and close it.

    Args:
        figure: the caller labels its axes, with units.
        caption: what the figure says.
        alt: what a reader who cannot see it needs to know.

    Raises:
        MedbookError: caption or alt is empty, or alt is a file name.

    >>> show(plt.figure(), caption="Nothing.", alt="An empty figure.")
    Nothing. [An empty figure.]
    """
    check_text(caption, alt)
    display(Card(card(data_uri(figure, dpi=130), alt, caption), f"{caption} [{alt}]"))


def image_grid(
    images: ArrayLike | list[ArrayLike], titles: Sequence[str] = (), labels: Sequence[str] = ()
) -> Figure:
    """Images on one scale (0 black, 255 white): uint8 (N, C, H, W), or a list of such rows.

    >>> image_grid(np.zeros((3, 1, 5, 4), np.uint8), titles=["a", "b", "c"]).axes[2].get_title()
    'c'
    """
    rows = [np.asarray(row) for row in (images if isinstance(images, list) else [images])]
    good = [x.dtype == np.uint8 and x.ndim == 4 and x.shape[1] in (1, 3) and x.size for x in rows]
    if not rows or not all(good):
        raise MedbookError(f"images must be uint8 (N, 1 or 3, H, W), not {[x.shape for x in rows]}")
    shape = len(rows), max(map(len, rows))
    if len(titles) not in (0, shape[1]) or len(labels) not in (0, shape[0]):
        raise MedbookError(f"{len(titles)} titles and {len(labels)} labels for {shape} images")
    height, width = rows[0].shape[2:]
    size = 1.2 * shape[1], 1.2 * shape[0] * height / width + 0.3
    figure, axes = plt.subplots(*shape, squeeze=False, figsize=size, layout="constrained")
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[], frame_on=False)
    for line, row in zip(axes, rows, strict=True):
        for ax, image in zip(line, row, strict=False):  # a shorter row leaves places empty
            ax.imshow(image.transpose(1, 2, 0), cmap="gray", vmin=0, vmax=255)
    for ax, title in zip(axes[0], titles, strict=False):
        ax.set_title(title, fontsize="small")
    for ax, label in zip(axes[:, 0], labels, strict=False):
        ax.set_ylabel(label, rotation=0, ha="right", va="center")
    return figure


def intervals(ax: Axes, names: Sequence[str], values: Sequence[ArrayLike]) -> None:
    """A line a name, the first on top: a dot a seed, the mean, its 95 % t interval if bounded.

    Dots that would hide each other are moved apart. No axis cuts an interval: `show` widens one
    whose limits were set too close.

    >>> intervals(plt.figure().subplots(), ["clean"], [[0.80, 0.82, 0.84]])
    """
    if len(names) != len(values):
        raise MedbookError(f"{len(names)} names for {len(values)} groups of values: give one each")
    groups = [np.atleast_1d(np.asarray(v, dtype=float)) for v in values]
    near = DOT * float(np.ptp(np.concatenate(groups))) if groups else 0.0
    for y, seeds in enumerate(groups):
        mean, low, high, _ = t_interval(seeds)
        mute = "_" if y else ""  # a leading underscore keeps a repeated entry out of the legend
        heights = y + 0.22 + 0.1 * jittered(seeds, near)
        ax.plot(seeds, heights, "o", c="0.6", ms=4, label=mute + "one seed")
        (bar,) = ax.plot([low, high], [y, y], "-", c=COLOURS[0], lw=2)
        bar.set(label=mute + "95 % t interval", gid=WHOLE)
        ax.plot(mean, y, "D", c=COLOURS[0], label=mute + "mean")
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)


def jittered(values: ArrayLike, near: float) -> NDArray[np.float64]:
    """Shifts in [-1, 1] that make values visible which would lie on each other; 0 for the others.

    Args:
        values: (n,) where the dots lie.
        near: two dots that lie no farther apart than this would hide each other.

    >>> jittered([0.5, 0.2, 0.5], near=0.01)
    array([-1.,  0.,  1.])
    """
    x = np.asarray(values, dtype=float)
    order = np.argsort(x, kind="stable")
    first = np.flatnonzero(np.diff(x[order], prepend=-np.inf) > near)
    shifts = np.zeros(len(x))
    for group in np.split(order, first[1:]) if len(x) else []:
        if len(group) > 1:
            shifts[group] = np.linspace(-1, 1, len(group))
    return shifts


def numbers(ax: Axes, values: ArrayLike, form: str = "%.2f") -> None:
    """A table (rows, columns) as a picture, each number on its square.

    >>> numbers(plt.figure().subplots(), [[0.5, 1.0]])
    """
    squares = np.asarray(values, dtype=float)
    middle = (squares.max() + squares.min()) / 2
    ax.imshow(squares, aspect="auto", cmap="gray")
    for (row, column), value in np.ndenumerate(squares):
        ink = "black" if value > middle else "white"
        ax.text(column, row, form % value, color=ink, size=7, ha="center", va="center")


def check_text(caption: str, alt: str) -> None:
    """Refuse an empty caption, and an alternative text that is one word or a file name."""
    if not caption.strip() or len(alt.split()) < 2 or alt.endswith((".png", ".svg", ".jpg")):
        raise MedbookError(f"say in words what is to be seen, not caption {caption!r}, alt {alt!r}")


def card(src: str, alt: str, caption: str, controls: str = "") -> str:
    """The HTML of a figure; `controls` stand between image and caption."""
    return (
        f'<figure class="medbook" style="{SHEET}"><img class="dark-light" src="{src}" '
        f'alt="{escape(alt)}" style="background:#fff;max-width:100%"/>{controls}'
        f'<figcaption style="{INK}">{escape(caption)}</figcaption></figure>'
    )


def data_uri(figure: Figure, dpi: int) -> str:
    """The figure's whole canvas as PNG in a data URI; closes the figure."""
    if figure.get_layout_engine() is None:
        figure.set_layout_engine("constrained")  # labels stay inside, the size stays the same
    for ax in figure.axes:
        _widen(ax)
    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=dpi, facecolor="white")
    plt.close(figure)
    # of Pillow's methods the one with the smallest largest error: 19 of 255 on photographs
    palette = Image.open(drawn).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE)
    palette.save(small, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(small.getvalue()).decode()


def _widen(ax: Axes) -> None:
    """Move the limits of an axis outwards until they hold every line that must be seen whole."""
    ends = [np.asarray(line.get_xdata(), float) for line in ax.lines if line.get_gid() == WHOLE]
    finite = [x[np.isfinite(x)] for x in ends]
    shown = np.concatenate(finite) if finite else np.array([])
    if shown.size:
        low, high = ax.get_xlim()
        room = 0.02 * float(np.ptp(shown))
        ax.set_xlim(
            low if low <= shown.min() else shown.min() - room,
            high if high >= shown.max() else shown.max() + room,
        )

"""A slider over figures: live in a kernel, self-contained HTML in an executed notebook."""

import hashlib
import json
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import ipywidgets as widgets
from IPython.display import display
from matplotlib.figure import Figure

from medbook.errors import MedbookError
from medbook.kernel import live
from medbook.show.plots import Card, card, check_text, data_uri, show

MAX_FRAMES = 20  # each frame is a picture inside the notebook
FRAME_DPI = 90

# Without script (GitHub, an untrusted notebook) the first frame and its value stand alone.
CONTROLS = """<div>{label}: <output>{text}</output></div>
<input type="range" min="0" max="{last}" value="{start}" aria-label="{label}" autocomplete="off" \
style="visibility:hidden;width:20rem;max-width:100%"/>"""
SCRIPT = """<script>
(() => {{
  const frames = {frames};
  for (const page of document.querySelectorAll("#{id}")) {{
    const [img, input, output] = ["img", "input", "output"].map(tag => page.querySelector(tag));
    const draw = () => {{
      [img.src, img.alt, output.value] = frames[input.value];
      input.setAttribute("aria-valuetext", output.value);
    }};
    input.addEventListener("input", draw);
    input.style.visibility = "visible";
    draw();
  }}
}})();
</script>"""


def explore(
    draw: Callable[[Any], Figure],
    values: Sequence[Any],
    *,
    label: str,
    caption: str,
    alt: str | Callable[[Any], str],
    start: int = 0,
) -> None:
    """Show the figures `draw(value)` under a slider.

    Args:
        draw: makes a matplotlib figure, of one size for all values.
        values: where the slider can stand, 2 to 20.
        label: what the values are, with unit.
        caption: what there is to find out.
        alt: what is to be seen, for readers who cannot: one text, or a function of the value.
        start: index of the value that is shown first.

    Raises:
        MedbookError: values, start, texts or figures that do not fit.

    >>> import matplotlib.pyplot as plt
    >>> explore(lambda v: plt.figure(), [1, 2], label="r", caption="Empty.", alt="Empty figure.")
    Empty. [r: 1, 2. Empty figure.]
    """
    if not 2 <= len(values) <= MAX_FRAMES or not 0 <= start < len(values) or not label.strip():
        raise MedbookError(
            f"explore takes 2 to {MAX_FRAMES} values, start one of their indices, and a label, "
            f"not {len(values)} values, start {start}, label {label!r}"
        )
    texts = [f"{value:g}" if isinstance(value, float) else str(value) for value in values]
    alts = [alt(value) if callable(alt) else alt for value in values]
    for each in alts:
        check_text(caption, each)
    if live():

        def redraw(i: int) -> None:
            show(draw(values[i]), caption=caption, alt=alts[i])

        _show_widget(redraw, texts, label, start)
    else:
        frames = [*zip(_frames(draw, values), alts, texts, strict=True)]
        page = _page(frames, label, caption, start)
        display(Card(page, f"{caption} [{label}: {', '.join(texts)}. {alts[start]}]"))


def _show_widget(redraw: Callable[[int], None], texts: list[str], label: str, start: int) -> None:
    options = [(text, i) for i, text in enumerate(texts)]
    slider = widgets.SelectionSlider(options=options, index=start, description=label)
    slider.style.description_width = "initial"
    slider.continuous_update = False
    display(slider, widgets.interactive_output(redraw, {"i": slider}))


def _frames(draw: Callable[[Any], Figure], values: Sequence[Any]) -> list[str]:
    """One data URI a value; equal sizes, so that nothing on the page moves."""
    frames, sizes = [], set()
    for value in values:
        figure = draw(value)
        sizes.add(tuple(figure.get_size_inches()))
        frames.append(data_uri(figure, FRAME_DPI))
    if len(sizes) > 1:
        raise MedbookError(f"draw made figures of {sorted(sizes)} inches: make them equal")
    return frames


def _page(frames: list[tuple[str, str, str]], label: str, caption: str, start: int) -> str:
    content = json.dumps(frames).replace("<", "\\u003c")  # no text may end the script
    name = "explore-" + hashlib.sha256((label + caption + content).encode()).hexdigest()[:12]
    src, alt, text = frames[start]
    controls = CONTROLS.format(
        label=escape(label), text=escape(text), last=len(frames) - 1, start=start
    )
    script = SCRIPT.format(frames=content, id=name)
    return f'<div id="{name}">{card(src, alt, caption, controls)}</div>{script}'

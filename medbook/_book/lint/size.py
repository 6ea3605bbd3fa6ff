"""How much a chapter may hold: words of prose, lines of code, and their width."""

import re
from collections.abc import Iterator

from medbook._book.lint.page import Page, Problems
from medbook._book.markdown import without_fences

WORDS, FURTHER_WORDS = 2200, 600  # for one system, for each further one
LINES, FURTHER_LINES = 420, 130  # of code, with something on them
COLUMNS = 88  # what a page shows of a line of code without scrolling
PROSE_COLUMNS = 160  # in the source, with the leading "# "

# Chapters that were written before these limits, and what they hold: numbers go down, lines go out.
WORDS_HELD = {"diffusion": 2299}
LINES_HELD = {
    "diffusion": 980,
    "image_text_pretraining": 1275,
    "mri_reconstruction": 1207,
    "sparse_view_ct": 1063,
}
SLACK = 20  # an allowance that is more than this above what the chapter holds is lowered

FORMULA = re.compile(r"(?<!\\)\$[^$]+\$")
TARGET = re.compile(r"\]\([^)]*\)")
WORD = re.compile(r"\S*\w\S*")


def words(page: Page) -> Problems:
    """A chapter can be read aloud at one sitting."""
    count = sum(spoken(source) for _, source in page.markdown())
    yield from _within(page, count, "words of prose", WORDS, FURTHER_WORDS, WORDS_HELD)


def lines(page: Page) -> Problems:
    """Its code can be read at one sitting, cells that only draw included; checks are no reading."""
    read = page.code().keys() - page.code("check").keys()
    sources = [page.code()[number].source for number in read]
    count = sum(bool(line.strip()) for source in sources for line in source.splitlines())
    yield from _within(page, count, "lines of code", LINES, FURTHER_LINES, LINES_HELD)


def _within(
    page: Page, count: int, what: str, one: int, further: int, held: dict[str, int]
) -> Problems:
    """The limit for the chapter's systems, or what an older chapter is allowed."""
    limit = one + further * (len(page.chapter.meta["systems"] or [1]) - 1)
    allowed = held.get(page.chapter.id, limit)
    if count > max(limit, allowed):
        yield page.at(0, f"{count} {what}; this chapter has at most {max(limit, allowed)}")
    elif page.chapter.id in held and (count <= limit or count < allowed - SLACK):
        remedy = "take it out" if count <= limit else f"lower it to {count}"
        yield page.at(0, f"{count} {what}, yet lint/size.py allows it {allowed}: {remedy}")


def spoken(markdown: str) -> int:
    r"""Words of Markdown as it is read aloud: no tables, displayed equations, addresses.

    An inline formula is one word.

    >>> spoken("See [the *paper*](https://a.b): $a + b$ - it is short.\n\n$$c$$\n| a | table |")
    7
    """
    text = "\n".join(line for _, line in _flowing(without_fences(markdown)))
    return len(WORD.findall(TARGET.sub("]", FORMULA.sub("formula", text))))


def _flowing(text: str) -> Iterator[tuple[int, str]]:
    """Lines of a Markdown text, counted from 1, without tables and displayed equations."""
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        marks = line.count("$$")
        if not (inside or marks or line.lstrip().startswith("|")):
            yield number, line
        inside ^= marks % 2 == 1


def wrapped(page: Page) -> Problems:
    """Lines of prose are wrapped, so that a change of one word changes one line."""
    for number, text in page.markdown():
        for line, content in _flowing(text):
            width = len(content) + len("# ")
            if width > PROSE_COLUMNS and " " in content.strip() and not content.startswith("#"):
                yield page.at(number, f"{width} columns of prose; wrap at {PROSE_COLUMNS}", line)


def narrow(page: Page) -> Problems:
    """No line of code is cut off on the page."""
    for number, cell in page.code().items():
        for line, content in enumerate(cell.source.splitlines(), 1):
            if len(content) > COLUMNS:
                yield page.at(number, f"{len(content)} columns; a page shows {COLUMNS}", line)


RULES = (words, lines, wrapped, narrow)

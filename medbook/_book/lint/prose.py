"""Checks of a chapter's text: sections, plain Markdown, exercises."""

import re
from itertools import pairwise

from medbook._book.lint.page import Heading, Page, Problems

BEFORE = ("What you will learn", "The problem", "Look at the data")
AFTER = (
    "The experiment", "What the paper claims, what we measure", "Paper and here", "Play with it",
    "Exercises", "Where this breaks", "Go further",
)  # fmt: skip
A_FEW = range(3, 6)  # objectives, exercises
ROLE = re.compile(r"\{[A-Za-z][\w:.+-]*\}\0")  # \0 stands for a code span
CODE_SPAN = re.compile(r"`[^`\n]+`")
DIRECTIVE = re.compile(r"^\s*(`{3,}\{|~{3,}\{|:{3,})")
MACHINE_PATH = re.compile(r"(?<![\w.:/~-])/(home|root|Users|mnt|tmp|work|content)/|\b[A-Z]:\\")


def lines(page: Page) -> Problems:
    """Nothing is left to do, nothing works on one machine only."""
    for number, line in enumerate(page.text.splitlines(), 1):
        if "TODO" in line:
            yield f"{page.where}:{number}: TODO is left"
        if MACHINE_PATH.search(line):
            yield f"{page.where}:{number}: a path of one machine"


def one_title(page: Page) -> Problems:
    """One `#` heading: the title of the front matter, without its subtitle if it has one."""
    titles = [heading for heading in page.headings if heading.level == 1]
    title = str(page.chapter.meta["title"])
    if not titles:
        yield page.at(0, f"no heading `# {title}`")
    for heading in titles[1:]:
        yield page.at(heading.cell, "a second `#` heading: make it `##`", heading.line)
    for heading in titles[:1]:
        if heading.text not in (title, title.split(":")[0]):
            yield page.at(heading.cell, f"the `#` heading is the title, `{title}`", heading.line)


def sections(page: Page) -> Problems:
    """The fixed sections, each once and in order; one a system between data and experiment."""
    found = [heading for heading in page.headings if heading.level == 2]
    names = [heading.text for heading in found]
    fixed = (*BEFORE, *AFTER)
    yield from (page.at(0, f"no section `## {name}`") for name in fixed if name not in names)
    for before, after in pairwise(h for h in found if h.text in fixed):
        if fixed.index(after.text) <= fixed.index(before.text):
            problem = f"`## {after.text}` stands after `## {before.text}`, not before it"
            yield page.at(after.cell, problem, after.line)
    if {BEFORE[-1], AFTER[0]} <= set(names):
        yield from _own_sections(page, found)


def _own_sections(page: Page, found: list[Heading]) -> Problems:
    """Those between data and experiment: the methods."""
    names = [heading.text for heading in found]
    own = range(names.index(BEFORE[-1]) + 1, names.index(AFTER[0]))
    systems, end = len(page.chapter.meta["systems"]), found[names.index(AFTER[0])]
    if len(own) < systems:
        problem = f"{len(own)} sections `##` for {systems} systems stand before this one"
        yield page.at(end.cell, problem, end.line)
    for place, heading in enumerate(found):
        if heading.text not in (*BEFORE, *AFTER) and place not in own:
            problem = f"`## {heading.text}` is no section of a chapter: make it `###`"
            yield page.at(heading.cell, problem, heading.line)


def objectives(page: Page) -> Problems:
    """Three to five objectives."""
    text = page.section("What you will learn")
    count = len(re.findall(r"^(?:[-*]|\d+\.)\s", text, re.MULTILINE))
    if text and count not in A_FEW:
        yield page.at(0, f"{count} objectives under `## What you will learn`, not 3 to 5")


def ingredients(page: Page) -> Problems:
    """What is the same as in the paper and what is not."""
    text = page.section("Paper and here")
    if text and not re.search(r"^\|.*\b(same|scaled|replaced|unverified)\b", text, re.MULTILINE):
        yield page.at(0, "`## Paper and here` has no table of same, scaled, replaced, unverified")


def plain_markdown(page: Page) -> Problems:
    """Reads the same on the site, on GitHub, in Jupyter and in Colab."""
    for number, text in page.markdown():
        for line, content in enumerate(text.splitlines(), 1):
            for what, pattern in (("directive", DIRECTIVE), ("role", ROLE)):
                if pattern.search(content if what == "directive" else CODE_SPAN.sub("\0", content)):
                    yield page.at(number, f"a MyST {what}: only the site shows it", line)


def exercises(page: Page) -> Problems:
    """Three to five exercises, a solution and its check under each."""
    starts = [h for h in page.headings if h.level == 3 and h.text.startswith("Exercise")]
    if len(starts) not in A_FEW:
        yield page.at(0, f"{len(starts)} headings `### Exercise`, not 3 to 5")
    stops = [h.cell for h in page.headings if h.level <= 3] + [len(page.cells) + 1]
    for start in starts:
        stop = min((n for n in stops if n > start.cell), default=start.cell)
        own = set(range(start.cell, stop))
        if not page.code("solution").keys() & own:
            problem = "no code cell tagged `solution` follows this exercise"
            yield page.at(start.cell, problem, start.line)
        elif not page.code("check").keys() & {n + 1 for n in page.code("solution").keys() & own}:
            problem = "the cell after the solution is not tagged `check`"
            yield page.at(start.cell, problem, start.line)


RULES = (
    lines, one_title, sections, objectives, ingredients, plain_markdown, exercises,
)  # fmt: skip

"""Everything in the book's design that a program can check, named by file and cell."""

from medbook._book.lint import book, claims, code, devices, prose, size, thoughts, trials
from medbook._book.lint.page import Page
from medbook._book.project import Chapter, Project
from medbook._book.stored.findings import systems_of

RULES = (
    *prose.RULES, *size.RULES, *code.RULES, *thoughts.RULES, *book.RULES, *trials.RULES,
    *claims.RULES, devices.definitions,
)  # fmt: skip


def check(project: Project, chapters: list[Chapter]) -> list[str]:
    """All problems of these chapters and of the book around them.

    Args:
        project: the checkout.
        chapters: which chapters; the book around them is always checked.

    Returns:
        one line each: `file:cell N: problem` or `file:line: problem`.
    """
    systems = systems_of(project)
    pages = [Page(project, chapter, systems) for chapter in chapters]
    problems = [problem for page in pages for rule in RULES for problem in rule(page)]
    problems += devices.package(project)
    return problems + [problem for rule in book.BOOK_RULES for problem in rule(project, systems)]

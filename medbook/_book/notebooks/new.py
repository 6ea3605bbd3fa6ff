"""The skeleton of a new chapter."""

import re
from pathlib import Path
from string import Template

from medbook._book.markdown import title
from medbook._book.project import Project
from medbook._book.stored.findings import systems_of
from medbook.errors import MedbookError
from medbook.record import results
from medbook.record.claims import System, claims_file

TEMPLATE = Path(__file__).with_name("chapter_template.txt")
NAME = re.compile(r"[a-z][a-z0-9_]*")
METHOD = """# %% [markdown]
# ## {title}
#
# TODO: the idea, and the equation with its number in the paper. Source: {source}

# %% tags=["define"]
def {name}(images):
    \"\"\"TODO: what it does (eq. TODO).\"\"\"
    return images


"""


def create(project: Project, part: str, chapter: str) -> Path:
    """Write a chapter's skeleton and list it in _toc.yml.

    The skeleton runs; what is to be written is marked TODO, and `medbook lint` names each place.

    Args:
        project: the checkout.
        part: folder under chapters/.
        chapter: the new chapter's id.

    Returns:
        the new file.

    Raises:
        MedbookError: a name that cannot be used, or that is used already.
    """
    systems = [s for s in systems_of(project) if s.chapter == chapter]
    _refuse(project, part, chapter, systems)
    toc = project.root / "_toc.yml"
    listed = with_chapter(toc.read_text(encoding="utf-8"), part, chapter)
    path = project.root / "chapters" / part / f"{chapter}.py"
    results.write_atomic(path, skeleton(chapter, systems))
    try:
        results.write_atomic(toc, listed)
    except OSError:
        path.unlink()
        raise
    return path


def skeleton(chapter: str, systems: list[System]) -> str:
    """The text of a new chapter."""
    methods = [
        METHOD.format(
            title=system.title,
            source=system.links.get("paper", "TODO"),
            name=re.sub(r"\W+", "_", system.slug).strip("_").lower(),
        )
        for system in systems
    ]
    ids = [claim.id for s in systems for claim in (*s.claims, *s.controls)]
    claims = [f'# TODO: run.claim("{id}", ours="...", baseline="...")' for id in ids]
    claims += [f'# TODO: run.check("{check.id}", a, b)' for s in systems for check in s.checks]
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        chapter=chapter,
        title=title(chapter),
        systems=", ".join(system.slug for system in systems),
        methods="".join(methods).rstrip(),
        claims="\n".join(claims) or f"# TODO: write the claims into {claims_file(chapter)} first",
    )


def with_chapter(toc: str, part: str, chapter: str) -> str:
    r"""A table of contents with one more chapter, at the end of its part; comments stay.

    >>> toc = "parts:\n  - caption: A\n    chapters:\n      - file: book/notebooks/x\n"
    >>> print(with_chapter(toc, "a", "y"), end="")
    parts:
      - caption: A
        chapters:
          - file: book/notebooks/x
          - file: book/notebooks/y
    """
    lines, caption = toc.splitlines(), f"  - caption: {title(part)}"
    added = [f"      - file: book/notebooks/{chapter}"]
    if caption in lines:
        place = _end_of_part(lines, lines.index(caption))
    else:  # a new part comes after the last that has chapters
        if "parts:" not in lines:
            raise MedbookError("_toc.yml: put a line `parts:` where the parts shall be")
        chapters = [n for n, line in enumerate(lines) if "book/notebooks/" in line]
        place = _end_of_part(lines, chapters[-1] if chapters else lines.index("parts:"))
        added = [caption, "    chapters:", *added]
    return "\n".join([*lines[:place], *added, *lines[place:]]) + "\n"


def _end_of_part(lines: list[str], start: int) -> int:
    following = (n for n in range(start + 1, len(lines)) if lines[n].startswith("  - "))
    return next(following, len(lines))


def _refuse(project: Project, part: str, chapter: str, systems: list[System]) -> None:
    for name in (part, chapter):
        if not NAME.fullmatch(name):
            raise MedbookError(f"{name!r}: use small letters, digits and _ only, a letter first")
    for path in project.root.glob(f"chapters/*/{chapter}.py"):
        where = path.relative_to(project.root).as_posix()
        raise MedbookError(f"there is a chapter {chapter!r} already: {where}")
    for system in systems:
        if system.part != part:
            raise MedbookError(f"book/systems.yml puts {system.slug} into part {system.part!r}")
    if not systems:
        planned = sorted({s.chapter for s in systems_of(project)})
        raise MedbookError(
            f"book/systems.yml has no system for a chapter {chapter!r}: add one, or choose one of "
            + ", ".join(planned)
        )

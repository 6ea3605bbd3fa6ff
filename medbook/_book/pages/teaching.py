"""The generated parts of the teaching guide: picture and table of chapters, courses."""

from collections.abc import Iterator

from medbook._book.markdown import link, table, title
from medbook._book.pages import courses, graph
from medbook._book.pages.courses import Course, Curriculum, Meeting
from medbook._book.project import Project
from medbook._book.stored.findings import systems_of
from medbook.record.claims import System


def picture(project: Project) -> str:
    """Which chapter builds on which, as a picture that scrolls in its own box."""
    links = {id: f"notebooks/{id}.html" for id in finished(project)}
    svg = graph.draw(courses.load(project), links)
    label = "Picture of the chapters, may be scrolled"
    return (
        f'<div role="region" aria-label="{label}" tabindex="0" '
        f'style="overflow-x:auto;margin-bottom:1rem">{svg}</div>'
    )


def chapters(project: Project) -> str:
    """The same as the picture, as a table."""
    plan, done = courses.load(project), finished(project)
    head = ["part", "chapter", "level", "read first", "state"]
    rows = [
        [
            title(topic.part), _name(plan, id, done), topic.level,
            ", ".join(plan.topics[before].title for before in topic.after),
            "finished" if id in done else "planned",
        ]
        for id, topic in plan.topics.items()
    ]  # fmt: skip
    return table(head, rows)


def programme(project: Project) -> str:
    """Every course: what of it can be taught today, and its sessions."""
    plan, done = courses.load(project), finished(project)
    return "\n\n".join(block for course in plan.courses for block in _course(plan, course, done))


def standing(project: Project) -> str:
    """How much of the book is finished, in one paragraph."""
    plan, done = courses.load(project), finished(project)
    systems = len(systems_of(project))
    names = ", ".join(_name(plan, id, done) for id in plan.topics if id in done) or "none"
    return (
        f"The plan covers {systems} systems in {len(plan.topics)} chapters. Finished so far, "
        f"{len(done)} of {len(plan.topics)}: {names}. All others are planned, and the book says so "
        "wherever it lists them."
    )


def finished(project: Project) -> set[str]:
    """Ids of the chapters that `_toc.yml` lists and whose notebook is published."""
    return {id for id in project.listed() if project.notebook(id).exists()}


def _course(plan: Curriculum, course: Course, done: set[str]) -> Iterator[str]:
    yield f"### {course.title}"
    yield course.audience
    ready = [id for id in course.chapters if id in done]
    now = f"{len(ready)} of its {len(course.chapters)} chapters"
    yield f"**What can be taught today:** {_today(course, done)} ({now})."
    if outside := plan.needed(course.chapters):
        names = ", ".join(_name(plan, id, done) for id in outside)
        yield f"**Needed from outside the course:** {names}."
    for number, session in enumerate(course.sessions, 1):
        yield _session(plan, f"{course.unit} {number}", session, done)


def _today(course: Course, done: set[str]) -> str:
    """The sessions whose chapters are all finished."""
    ready = [n for n, s in enumerate(course.sessions, 1) if set(s.chapters) <= done]
    if len(ready) == len(course.sessions):
        return "all of it"
    partly = [n for n, s in enumerate(course.sessions, 1) if set(s.chapters) & done]
    texts = [f"{course.unit.lower()} {n}" for n in ready]
    texts += [f"a part of {course.unit.lower()} {n}" for n in partly if n not in ready]
    return ", ".join(texts) or "nothing"


def _session(plan: Curriculum, number: str, session: Meeting, done: set[str]) -> str:
    names = [
        _name(plan, id, done) + ("" if id in done else " (planned)") for id in session.chapters
    ]
    reading = [_cited(system) for system in session.reading]
    lines = [("Chapters", names), ("Aims", session.objectives), ("Hand in", session.hand_in)]
    lines += [("Read", reading)] if reading else []
    return "\n".join(
        [f"**{number}: {session.title}**", ""]
        + [f"- *{name}:* {'; '.join(texts)}." for name, texts in lines]
    )


def _name(plan: Curriculum, id: str, done: set[str]) -> str:
    return link(plan.topics[id].title, f"notebooks/{id}.ipynb" if id in done else None)


def _cited(system: System) -> str:
    known = [name for name in system.authors if name != "et al."]
    few = len(known) == len(system.authors) <= 2
    names = " and ".join(known) if few else f"{known[0]} et al."
    return link(f"{names} {system.year}", system.links.get("paper"))

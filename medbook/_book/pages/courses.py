"""The chapters in an order in which they can be learnt, and courses over them."""

from collections.abc import Collection
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import Any, ClassVar

from medbook import yamlfile
from medbook._book.project import Project
from medbook._book.stored.findings import systems_of
from medbook.errors import MedbookError
from medbook.record.claims import System
from medbook.yamlfile import STRICT, Located

FILE = "courses.yml"
LEVELS = ("introductory", "intermediate", "advanced")


@dataclass
class ChapterEntry:
    """What `courses.yml` says of a chapter."""

    __pydantic_config__: ClassVar = STRICT

    id: str
    title: str
    level: str
    after: list[str]
    question: str = ""


@dataclass
class CourseEntry:
    """A course of `courses.yml`."""

    __pydantic_config__: ClassVar = STRICT

    id: str
    title: str
    audience: str
    unit: str
    sessions: list[Any]


@dataclass
class MeetingEntry:
    """A session of a course."""

    __pydantic_config__: ClassVar = STRICT

    title: str
    chapters: list[str]
    objectives: list[str]
    hand_in: list[str]
    reading: list[str]


@dataclass(frozen=True)
class Topic:
    """A chapter, finished or planned, as a teacher sees it.

    Attributes:
        id: the chapter's id.
        part: the part of the book that it stands in.
        title: short, for pictures and tables.
        level: one of `LEVELS`.
        after: ids of the chapters to read first.
        question: what the chapter answers; every finished one has one.
    """

    id: str
    part: str
    title: str
    level: str
    after: tuple[str, ...]
    question: str = ""


@dataclass(frozen=True)
class Meeting:
    """One week or day of a course; `reading` are systems, whose papers are read."""

    title: str
    chapters: tuple[str, ...]
    objectives: tuple[str, ...]
    hand_in: tuple[str, ...]
    reading: tuple[System, ...]


@dataclass(frozen=True)
class Course:
    """A course; `unit` is what a session is called, "Week" or "Day"."""

    id: str
    title: str
    audience: str
    unit: str
    sessions: tuple[Meeting, ...]

    @property
    def chapters(self) -> tuple[str, ...]:
        """The chapters that it teaches, in the order of teaching, each once."""
        return tuple(dict.fromkeys(id for s in self.sessions for id in s.chapters))


@dataclass(frozen=True)
class Curriculum:
    """All chapters by id, in the book's order, all courses, and what each part asks."""

    topics: dict[str, Topic]
    courses: tuple[Course, ...]
    parts: dict[str, str]

    def depth(self) -> dict[str, int]:
        """Of each chapter the length of the longest chain of chapters to read before it."""
        depth: dict[str, int] = {}
        for id in _sorter(self.topics).static_order():
            depth[id] = max((depth[before] + 1 for before in self.topics[id].after), default=0)
        return depth

    def needed(self, ids: Collection[str]) -> tuple[str, ...]:
        """The chapters that these build on, directly or through others, without these."""
        found = list(ids)
        for id in found:  # grows while it is read
            found += [before for before in self.topics[id].after if before not in found]
        return tuple(id for id in self.topics if id in found and id not in ids)


def load(project: Project) -> Curriculum:
    """The curriculum that `book/courses.yml` describes.

    Raises:
        MedbookError: the file is not as it must be; file and line are named. It holds every chapter
            of `book/systems.yml` and no other, no chapter builds on itself, and a course teaches
            no chapter before one that it builds on.
    """
    root = yamlfile.mapping(project.root / "book" / FILE)
    systems = systems_of(project)
    topics = _topics(root, {system.chapter: system.part for system in systems})
    _compare_levels(project, root, topics)
    _need_questions(project, root)
    known = {system.slug: system for system in systems}
    courses = yamlfile.entries(root, "courses", CourseEntry, FILE)
    parts = _parts(root, {topic.part for topic in topics.values()})
    return Curriculum(topics, tuple(_course(entry, topics, known) for entry in courses), parts)


def _topics(root: Located, parts: dict[str, str]) -> dict[str, Topic]:
    """The chapters in the order of `parts` (chapter -> part)."""
    topics: dict[str, Topic] = {}
    for entry in yamlfile.entries(root, "chapters", ChapterEntry, FILE):
        _refuse_unknown([entry["id"]], parts, entry, "chapter in systems.yml called")
        _refuse_unknown([entry["level"]], LEVELS, entry, "level")
        _refuse_unknown(entry["after"], parts, entry, "chapter in systems.yml called")
        if entry["id"] in topics:
            raise _wrong(entry, f"chapter {entry['id']} stands here twice")
        topics[entry["id"]] = _topic(entry, parts[entry["id"]])
    if missing := [id for id in parts if id not in topics]:
        raise _wrong(root, f"`chapters` lacks {', '.join(missing)} of systems.yml")
    _refuse_cycle(root, topics)
    return {id: topics[id] for id in parts}


def _parts(root: Located, known: Collection[str]) -> dict[str, str]:
    """What parts ask; those that say nothing ask nothing."""
    parts = root.get("parts", {})
    if not isinstance(parts, dict) or not all(isinstance(text, str) for text in parts.values()):
        raise _wrong(root, "`parts` must say of each part what it asks")
    _refuse_unknown(list(parts), known, root, "part")
    return dict(parts)


def _topic(entry: Located, part: str) -> Topic:
    after, question = tuple(entry["after"]), entry.get("question", "")
    return Topic(entry["id"], part, entry["title"], entry["level"], after, question)


def _sorter(topics: dict[str, Topic]) -> TopologicalSorter[str]:
    return TopologicalSorter({topic.id: topic.after for topic in topics.values()})


def _refuse_cycle(root: Located, topics: dict[str, Topic]) -> None:
    try:
        _sorter(topics).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1]
        (entry,) = (entry for entry in root["chapters"] if entry["id"] == circle[0])
        chain = ", ".join(f"{after} after {id}" for id, after in pairwise(circle))
        raise _wrong(entry, f"chapters build on each other: {chain}") from None


def _compare_levels(project: Project, root: Located, topics: dict[str, Topic]) -> None:
    """A finished chapter states its level itself: both must agree."""
    levels = {chapter.id: chapter.meta["level"] for chapter in project.chapters()}
    for entry in root["chapters"]:
        theirs = levels.get(entry["id"], entry["level"])
        if theirs != entry["level"]:
            raise _wrong(
                entry,
                f"{entry['id']} is {entry['level']} here and {theirs} in the front matter of its "
                "source: make them the same",
            )


def _need_questions(project: Project, root: Located) -> None:
    """The home page shows what a finished chapter asks."""
    finished = {id for id in project.listed() if project.notebook(id).exists()}
    for entry in root["chapters"]:
        if entry["id"] in finished and not entry.get("question", "").endswith("?"):
            raise _wrong(entry, f"{entry['id']} is finished: give it a `question` that ends in ?")


def _course(entry: Located, topics: dict[str, Topic], systems: dict[str, System]) -> Course:
    sessions = yamlfile.entries(entry, "sessions", MeetingEntry, FILE)
    whole = {id for session in sessions for id in session["chapters"]}
    taught: set[str] = set()
    for session in sessions:
        _refuse_unknown(session["chapters"], topics, session, "chapter")
        _refuse_unknown(session["reading"], systems, session, "system in systems.yml called")
        taught |= set(session["chapters"])
        for id in session["chapters"]:
            if late := [before for before in topics[id].after if before in whole - taught]:
                raise _wrong(session, f"{id} is taught before {', '.join(late)}")
    return Course(**entry | {"sessions": tuple(_session(s, systems) for s in sessions)})


def _session(entry: Located, systems: dict[str, System]) -> Meeting:
    return Meeting(
        title=entry["title"],
        chapters=tuple(entry["chapters"]),
        objectives=tuple(entry["objectives"]),
        hand_in=tuple(entry["hand_in"]),
        reading=tuple(systems[slug] for slug in entry["reading"]),
    )


def _refuse_unknown(names: list[str], known: Collection[str], entry: Located, what: str) -> None:
    if unknown := [str(name) for name in names if name not in known]:
        raise _wrong(entry, f"there is no {what} {', '.join(unknown)}")


def _wrong(entry: Located, what: str) -> MedbookError:
    return MedbookError(f"{FILE}:{entry.line}: {what}")

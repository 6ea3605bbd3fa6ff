"""Data cards: what is known about each data set, with pictures of its twin."""

from dataclasses import dataclass
from typing import ClassVar

from medbook._book.markdown import link, table
from medbook._book.pages import records, twin_strips
from medbook._book.project import Chapter, Project
from medbook.data import ENTRIES, Entry, ImageInfo, Info
from medbook.data.entries import File
from medbook.errors import MedbookError
from medbook.yamlfile import STRICT

FILE = "datasets.yml"
SPLITS: dict[type[Entry], list[str]] = {Info: ["train", "val", "test"], ImageInfo: ["all"]}


@dataclass(frozen=True)
class Facts:
    """What `book/datasets.yml` adds to the registry; `splits` holds numbers of images."""

    __pydantic_config__: ClassVar = STRICT

    name: str
    image: str
    splits: dict[str, int]
    split_by: str
    people: str
    artefacts: str
    labels: str
    twin: str


def load(project: Project) -> dict[str, Facts]:
    """The facts of every data set of the registry, by name and in alphabetical order.

    Raises:
        MedbookError: the file is not as it must be; file and line are named.
    """
    root = records.read(project.root / "book" / FILE)
    facts: dict[str, Facts] = {}
    for entry in records.entries(root, "sets", Facts, FILE):
        name, where = entry["name"], f"{FILE}:{entry.line}"
        if name not in ENTRIES or name in facts:
            what = "stands here twice" if name in facts else "is not in the registry"
            raise MedbookError(f"{where}: data set {name} {what}")
        if list(entry["splits"]) != (splits := SPLITS[type(ENTRIES[name])]):
            raise MedbookError(f"{where}: `splits` must be {', '.join(splits)}")
        facts[name] = Facts(**entry)
    if missing := sorted(ENTRIES.keys() - facts.keys()):
        raise MedbookError(f"{FILE}: data sets of the registry are missing: {', '.join(missing)}")
    return {name: facts[name] for name in sorted(facts)}


def overview(project: Project) -> str:
    """A row for each data set."""
    head = ["data set", "licence", "images", "classes", "unit", "not together with", "chapters"]
    chapters = project.chapters()
    rows = [
        [
            link(title(info), f"#{name}"), info.licence, f"{sum(facts.splits.values()):,}",
            len(info.classes) if isinstance(info, Info) else "none", info.unit,
            ", ".join(overlaps(info)) or "none known",
            ", ".join(_users(chapters, name)),
        ]
        for name, facts in load(project).items()
        if (info := ENTRIES[name])
    ]  # fmt: skip
    return table(head, rows)


def cards(project: Project) -> str:
    """A section for each data set; its anchor is the name that loads it."""
    chapters = project.chapters()
    return "\n\n".join(
        _card(facts, ENTRIES[name], _users(chapters, name)) for name, facts in load(project).items()
    )


def title(info: Entry) -> str:
    """The data set as its publishers write it.

    >>> title(ENTRIES["pneumoniamnist"])
    'PneumoniaMNIST'
    """
    return info.credit.split(":")[0]


def overlaps(info: Entry) -> dict[str, str]:
    """The other data sets of the registry that may hold the same images, and from which source.

    >>> overlaps(ENTRIES["organamnist"])
    {'organcmnist': 'LiTS', 'organsmnist': 'LiTS'}
    """
    return {
        other.name: ", ".join(sorted(shared))
        for other in ENTRIES.values()
        if other is not info and (shared := info.collections & other.collections)
    }


def _users(chapters: list[Chapter], name: str) -> list[str]:
    return [
        link(chapter.meta["title"].split(":")[0], f"notebooks/{chapter.id}.ipynb")
        for chapter in chapters
        if name in chapter.meta["data"]
    ]


def _card(facts: Facts, info: Entry, users: list[str]) -> str:
    splits = ", ".join(f"{n:,} {split}" for split, n in facts.splits.items())
    shared = "; ".join(f"{name} (both from {source})" for name, source in overlaps(info).items())
    known = {
        "Name in code": f"`{info.name}`",
        "Licence": info.licence,
        "Origin": info.origin,
        "One image": facts.image,
        "Channels": f"{info.channels} ({'grey' if info.channels == 1 else 'colour'})",
        **(_values(info) if isinstance(info, ImageInfo) else {}),
        "Independent unit": info.unit,
        "Images": splits,
        "Split by": facts.split_by,
        "Not together with": shared or "no overlap known",
        "People": facts.people,
        "Artefacts": facts.artefacts,
        "Labels": facts.labels,
        "Used in": ", ".join(users) or "no chapter yet",
        "Twin": f"{facts.twin}; {twin_strips.count(info)} images, no patient's",
    }
    return "\n\n".join([
        f"({info.name})=\n## {title(info)}",
        "\n".join(f"- **{what}:** {words}" for what, words in known.items()),
        twin_strips.strip(info.name, title(info)),
        *(["Classes:", _classes(info)] if isinstance(info, Info) else []),
        "Files:",
        _files(info),
        f"Credit line to copy:\n\n```text\n{info.credit}\n```",
    ])  # fmt: skip


def _values(info: ImageInfo) -> dict[str, str]:
    """What a number in an image stands for."""
    low, high = info.value_range
    sides = [f"{mm:.4g} mm at {size} px" for size, mm in info.pixel_mm.items()]
    values = f"{info.value_unit}, {low:,.0f} to {high:,.0f}"
    return {"Values": values, "Side of a pixel": ", ".join(sides) or "not stated"}


def _classes(info: Info) -> str:
    """The classes; shares are rounded to whole percent, as the registry holds them."""
    whole = sum(info.shares)
    rows = [
        [label, name, f"{100 * share / whole:.0f} %"]
        for label, (name, share) in enumerate(zip(info.classes, info.shares, strict=True))
    ]
    return table(["label", "class", "share, about"], rows)


def _files(info: Entry) -> str:
    rows = [
        [f"{size} px", f"`{part.path}`", f"`{part.digest}`", _mirrors(part)]
        for size, file in info.files.items()
        for part in (file, *file.parts)
    ]
    return table(["size", "file in the data folder", "hash", "download"], rows)


def _mirrors(file: File) -> str:
    if file.package:
        return f"comes with the Python package {file.path.split('/')[0]}"
    links = [link(f"mirror {n}", url) for n, url in enumerate(file.urls, 1)]
    return ", ".join(links) or "no public mirror: without the file the twin is used"

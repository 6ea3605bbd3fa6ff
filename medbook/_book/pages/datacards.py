"""Data cards: what is known about each data set, with pictures of its twin."""

import math

from medbook._book.markdown import link, table
from medbook._book.pages import twin_strips
from medbook._book.project import Chapter, Project
from medbook.data import ENTRIES, Entry
from medbook.data.entries import File

CHANNELS = {1: " (grey)", 3: " (colour)"}


def overview(project: Project) -> str:
    """A row for each data set."""
    head = ["data set", "licence", "images", "classes", "unit", "not together with", "chapters"]
    chapters = project.chapters()
    rows = [
        [
            link(title(info), f"#{name}"), info.licence, f"{sum(info.card.splits.values()):,}",
            len(info.classes) or "none", info.unit,
            ", ".join(overlaps(info)) or "none known",
            ", ".join(_users(chapters, name)),
        ]
        for name, info in ENTRIES.items()
    ]  # fmt: skip
    return table(head, rows)


def cards(project: Project) -> str:
    """A section for each data set; its anchor is the name that loads it."""
    chapters = project.chapters()
    return "\n\n".join(_card(info, _users(chapters, name)) for name, info in ENTRIES.items())


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


def _card(info: Entry, users: list[str]) -> str:
    card = info.card
    splits = ", ".join(f"{n:,} {split}" for split, n in card.splits.items())
    shared = "; ".join(f"{name} (both from {source})" for name, source in overlaps(info).items())
    known = {
        "Name in code": f"`{info.name}`",
        "Licence": info.licence,
        "Origin": info.origin,
        "One image": card.image,
        "Channels": f"{info.channels}{CHANNELS.get(info.channels, '')}",
        **(_values(info) if not info.classes else {}),
        "Independent unit": info.unit,
        "Images": splits,
        "Split by": card.split_by,
        "Not together with": shared or "no overlap known",
        "People": card.people,
        "Artefacts": card.artefacts,
        "Labels": card.labels,
        "Used in": ", ".join(users) or "no chapter yet",
        "Twin": f"{card.twin}; {twin_strips.count(info)} images, no patient's",
    }
    return "\n\n".join([
        f"({info.name})=\n## {title(info)}",
        "\n".join(f"- **{what}:** {words}" for what, words in known.items()),
        twin_strips.strip(info.name, title(info)),
        *(["Classes:", _classes(info)] if info.classes else []),
        "Files:",
        _files(info),
        f"Credit line to copy:\n\n```text\n{info.credit}\n```",
    ])  # fmt: skip


def _values(info: Entry) -> dict[str, str]:
    """What a number in an image stands for."""
    low, high = info.value_range
    sides = [f"{mm:.4g} mm at {size} px" for size, mm in info.pixel_mm.items()]
    span = f"{low:,.0f} to {high:,.0f}" if math.isfinite(high) else "complex"
    values = f"{info.value_unit}, {span}"
    return {"Values": values, "Side of a pixel": ", ".join(sides) or "not stated"}


def _classes(info: Entry) -> str:
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
        for part in file
    ]
    return table(["size", "file in the data folder", "hash", "download"], rows)


def _mirrors(file: File) -> str:
    if file.package:
        return f"comes with the Python package {file.path.split('/')[0]}"
    links = [link(f"mirror {n}", url) for n, url in enumerate(file.urls, 1)]
    return ", ".join(links) or "no public mirror: without the file the twin is used"

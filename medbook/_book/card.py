"""The card under a chapter's title: papers, data, measured time and memory."""

import yaml

from medbook import claims, results
from medbook._book.markdown import duration, link, table
from medbook._book.project import Chapter, Project
from medbook.profiles import PROFILES
from medbook.results import Results

COLAB = "https://colab.research.google.com/github/"
GITHUB = "https://github.com/"


def card(project: Project, chapter: Chapter) -> str:
    """The card of a chapter as Markdown; its numbers are those of the stored results.

    Args:
        project: the checkout.
        chapter: which one.
    """
    paths = {profile: project.published(chapter.id, profile) for profile in PROFILES}
    stored = {profile: results.load(path) for profile, path in paths.items() if path.exists()}
    parts = [_papers(project, chapter), _data(chapter, stored), _buttons(project, chapter)]
    return "\n\n".join([*filter(None, parts), _costs(stored)])


def repository(project: Project) -> str:
    """Address of the book's repository as `_config.yml` states it; empty if there is none."""
    config = yaml.safe_load((project.root / "_config.yml").read_text(encoding="utf-8"))
    return str(config.get("repository", {}).get("url") or "")


def _papers(project: Project, chapter: Chapter) -> str:
    systems = claims.load_systems(project.root / "book/systems.yml")
    cited = [s for s in systems if s.slug in chapter.meta["systems"]]
    lines = [
        f"- {', '.join(s.authors)} ({s.year}): {link(s.title, s.links.get('paper'))}"
        + (f", {link('code', s.links['code'])}" if "code" in s.links else "")
        for s in cited
    ]
    return "\n".join(["**Papers**", "", *lines]) if lines else ""


def _data(chapter: Chapter, stored: dict[str, Results]) -> str:
    """Data sets and their kind, as the largest stored run used them."""
    if not stored:
        return "**Data** " + ", ".join(chapter.meta["data"])
    used = list(stored.values())[-1]["data"]
    lines = [
        f"- {d['name']}: {d['kind']}, {d['n']:,} images; independent unit: {d['unit']}"
        for d in used
    ]
    return "\n".join(["**Data**", "", *lines]) if lines else "**Data** made by the chapter itself"


def _buttons(project: Project, chapter: Chapter) -> str:
    url = repository(project)
    if not url.startswith(GITHUB):
        return ""
    folder = f"{COLAB}{url.removeprefix(GITHUB).strip('/')}/blob/main/book/notebooks"
    return "**Run it** " + link("Colab", f"{folder}/{chapter.id}.ipynb")


def _costs(stored: dict[str, Results]) -> str:
    """Measured time and peak memory; smoke is what runs without a download."""
    rows = [
        [name, duration(run["seconds"]), f"{run['peak_mib']:,} MiB", run["environment"]["device"]]
        for name, run in stored.items()
    ]
    return table(["profile", "time", "memory", "measured on"], rows) if rows else ""

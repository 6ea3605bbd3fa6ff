"""The card under a chapter's title: ways in, papers, data, measured costs, verdicts."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, starmap

from medbook._book.markdown import duration, framed, link
from medbook._book.project import Chapter, Project
from medbook._book.remote import Remote
from medbook._book.stored.findings import Finding, findings_of, systems_of
from medbook.evaluate.stats import VERDICTS
from medbook.record.results import Results
from medbook.show.measured import MARKS

CLAIMS = "What the paper claims, what we measure"
CLAIMS_ON_SITE = "#what-the-paper-claims-what-we-measure"
# Plain HTML, which every reader of notebooks knows; Markdown goes on after an empty line.
BOX = '<div class="chapter-card">'
UNFOLD = "<details><summary>Which claims?</summary>"

Stored = dict[str, Results]  # profile -> results


@dataclass(frozen=True)
class Links:
    """What a card leads to, which depends on where it is read."""

    ways_in: dict[str, str]
    evidence: str
    scoreboard: str


def notebook_links(remote: Remote | None, chapter: Chapter) -> Links:
    """Links of the committed notebook: it is read in places that agree on no anchors."""
    files = f"book/notebooks/{chapter.id}.ipynb", f"chapters/{chapter.part}/{chapter.id}.py"
    ways = remote.ways_in(*files) if remote else {}
    return Links(ways, f"section *{CLAIMS}*", "the scoreboard of the book")


def site_links(remote: Remote | None, chapter: Chapter, *, colab: bool) -> Links:
    """Links on the site; Colab only if the committed notebook can install itself there."""
    ways = notebook_links(remote, chapter).ways_in
    shown = {name: url for name, url in ways.items() if colab or name != "Open in Colab"}
    return Links(shown, link(CLAIMS, CLAIMS_ON_SITE), link("scoreboard", "../scoreboard.md"))


def card(project: Project, chapter: Chapter, links: Links, new: Results | None = None) -> str:
    """The card of a chapter as plain Markdown; its numbers are those of the stored results.

    Args:
        project: the checkout.
        chapter: which one.
        links: where it leads.
        new: results that are about to be stored.
    """
    stored = project.stored(chapter.id, new)
    ways = " · ".join(link(name, url) for name, url in links.ways_in.items())
    run = [f"- **Run:** {ways}"] if ways else []
    findings = _findings(project, chapter, stored)
    verdicts = _verdicts(findings, links) if findings else []
    return boxed([*run, *facts(project, chapter, new), *verdicts])


def boxed(lines: Sequence[str]) -> str:
    """Lines in a box where styles are known (the site), else as they are."""
    return "\n".join([BOX, "", *lines, "", "</div>"])


def facts(project: Project, chapter: Chapter, new: Results | None = None) -> list[str]:
    """The lines of a card that give no verdict away: level, papers, data, time and memory."""
    stored = project.stored(chapter.id, new)
    lines = [_level(chapter), _papers(project, chapter), _data(chapter, stored), costs(stored)]
    return [f"- {line}" for line in lines if line]


def _level(chapter: Chapter) -> str:
    needed = "; ".join(chapter.meta["prerequisites"]) or "nothing beyond Python"
    return f"**Level:** {chapter.meta['level']}. **You need:** {needed}"


def _papers(project: Project, chapter: Chapter) -> str:
    systems = systems_of(project)
    cited = [
        f"{', '.join(s.authors)} ({s.year}), {link(s.title, s.links.get('paper'))}"
        + (f", {link('code', s.links['code'])}" if "code" in s.links else "")
        for s in systems
        if s.slug in chapter.meta["systems"]
    ]
    return f"**{'Papers' if len(cited) > 1 else 'Paper'}:** {'; '.join(cited)}" if cited else ""


def _data(chapter: Chapter, stored: Stored) -> str:
    """Data sets and their kind, as the largest stored run used them."""
    if not stored:
        return f"**Data:** {', '.join(chapter.meta['data'])}"
    used = list(stored.values())[-1]["data"]
    sets = [f"{d['name']} ({d['kind']}, {d['n']:,} images)" for d in used]
    return f"**Data:** {', '.join(sets) or 'made by the chapter itself'}"


def costs(stored: Stored) -> str:
    """Measured time and peak memory of each profile, and on what."""
    runs = groupby(stored.items(), key=lambda item: item[1]["environment"]["device"])
    measured = [f"{'; '.join(starmap(_cost, profiles))}; on {device}" for device, profiles in runs]
    return f"**Measured:** {'; '.join(measured)}" if measured else ""


def _cost(profile: str, run: Results) -> str:
    gpu = f", GPU {run['device_mib']:,} MiB" if run.get("device_mib") else ""
    return f"{profile} {duration(run['seconds'])}, {run['peak_mib']:,} MiB{gpu}"


def _findings(project: Project, chapter: Chapter, stored: Stored) -> list[Finding]:
    """What the largest stored profile found of the chapter's claims, sorted by verdict."""
    systems = systems_of(project)
    runs = {(chapter.id, profile): run for profile, run in stored.items()}
    found = [f for s in systems if s.chapter == chapter.id for f in findings_of(s, runs)]
    return sorted((f for f in found if f.profile == found[-1].profile), key=_rank)


def _rank(finding: Finding) -> int:
    return VERDICTS.index(finding.verdict) if finding.verdict in VERDICTS else len(VERDICTS)


def _verdicts(findings: Sequence[Finding], links: Links) -> list[str]:
    """Counts at a glance; unfolded, the claims of each verdict and where the numbers stand."""
    data = sorted({f"{f.claim.data} ({f.measured['data']})" for f in findings})
    seeds = [f.measured["n"] for f in findings]
    few, many = min(seeds), max(seeds)
    groups = {verdict: list(same) for verdict, same in groupby(findings, _verdict)}
    papers = Counter(f.verdict for f in findings if f.claim.source == "paper")
    counts = [framed(v, f"{_mark(v)} {n} {v}") for v, n in papers.items()]
    if own := len(findings) - papers.total():
        counts.append(f"and {own} of our own")
    head = (
        f"- **Verdicts** at {findings[0].profile}, {', '.join(data)}, "
        f"{few if few == many else f'{few} to {many}'} {'seed' if many == 1 else 'seeds'}: "
        f"{' '.join(counts)}"
    )
    where = f"Values and intervals: {links.evidence}. Other chapters: {links.scoreboard}."
    claims = [_of_verdict(verdict, same) for verdict, same in groups.items()]
    return [head, "", UNFOLD, "", *claims, "", where, "", "</details>"]


def _of_verdict(verdict: str, findings: list[Finding]) -> str:
    statements = " ".join(_statement(finding) for finding in findings)
    return f"- {_mark(verdict)} **{verdict}:** {statements}"


def _statement(finding: Finding) -> str:
    own = " (our own question)" if finding.claim.source == "ours" else ""
    return f"{finding.claim.statement.rstrip('.')}{own}."


def _mark(verdict: str) -> str:
    return MARKS.get(verdict, "!")


def _verdict(finding: Finding) -> str:
    return finding.verdict

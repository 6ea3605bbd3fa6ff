"""Checks of a chapter's claims file: few claims, margins with a reason, a control a system."""

from collections.abc import Iterable

from medbook._book.lint.page import Page, Problems
from medbook.errors import MedbookError
from medbook.record.claims import Claim, System, claims_file
from medbook.record.first_edition import still

MOST = 6  # claims a system: three that are decided beat twelve that are not


def few(page: Page) -> Problems:
    """A system has at most six claims, and a control beside them."""
    for system in _systems(page):
        where = claims_file(page.chapter.id)
        if len(system.claims) > MOST:
            yield f"{where}: {system.slug} has {len(system.claims)} claims; at most {MOST}"
        if system.claims and not system.controls:
            yield f"{where}: {system.slug} has no control: add a setting without the effect"


def margins(page: Page) -> Problems:
    """Every margin says where it comes from."""
    for claim in _claims(page):
        if not claim.margin_from.strip():
            yield f"{claims_file(page.chapter.id)}: {claim.id}: say where its margin comes from"


def arms(page: Page) -> Problems:
    """The arms that claims name are those that the stored run has entered."""
    try:
        stored = page.project.stored(page.chapter.id)
    except MedbookError:  # another rule says so
        return
    for profile, run in stored.items():
        entered = [arm["name"] for arm in run.get("arms", ())]
        for claim in _claims(page):
            for arm in _named(claim):
                if arm not in entered:
                    where = f"{claims_file(page.chapter.id)}: {claim.id}"
                    yield f"{where}: the stored {profile} run has no arm {arm!r}"


def _named(claim: Claim) -> Iterable[str]:
    for named in claim.arms.values():
        yield from named if isinstance(named, tuple) else (str(named),)


def _claims(page: Page) -> Iterable[Claim]:
    return (claim for s in _systems(page) for claim in (*s.claims, *s.controls))


def _systems(page: Page) -> Iterable[System]:
    if still(page.chapter.id):
        return ()
    return (system for system in page.systems if system.chapter == page.chapter.id)


RULES = (few, margins, arms)

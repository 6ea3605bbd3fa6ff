"""A checkout's own links in what the site is made from: a fork's site leads to the fork."""

from collections.abc import Mapping

import yaml

from medbook._book.notebooks.card import site_links
from medbook._book.notebooks.publish import with_prose_of_today
from medbook._book.notebooks.surroundings import installed_from, other_code, surround, text_of
from medbook._book.project import Project, read_notebook
from medbook._book.remote import Remote


def notebooks(project: Project, remote: Remote | None) -> dict[str, str]:
    """The published notebooks with prose, cards, install cells and citations of this checkout.

    Prose is that of the source as it is now; where the code has changed since, all of it is as it
    was published: see `outlived`.

    Args:
        project: the checkout.
        remote: its repository.

    Returns:
        path in the checkout -> notebook file.
    """
    files = {}
    for chapter in project.chapters():
        path = project.notebook(chapter.id)
        if path.exists():
            notebook = read_notebook(path)
            # Colab opens the committed file, which must install the medbook that it belongs to.
            colab = remote is not None and installed_from(notebook) == remote.url
            if not other_code(chapter, notebook):
                notebook = with_prose_of_today(chapter, notebook)
            links = site_links(remote, chapter, colab=colab)
            surround(notebook, project, chapter, remote, links)
            files[path.relative_to(project.root).as_posix()] = text_of(notebook)
    return files


def outlived(project: Project) -> list[str]:
    """A note for each published notebook that is shown with the prose and code of its run."""
    found = []
    for chapter in project.chapters():
        path = project.notebook(chapter.id)
        if path.exists() and (why := other_code(chapter, read_notebook(path))):
            name = path.relative_to(project.root).as_posix()
            found.append(f"{name}: shown as it was published, {why[0]}: run and publish it")
    return found


def contents(text: bytes, below: Mapping[str, Mapping[str, str]]) -> bytes:
    r"""`_toc.yml` with generated pages below those that lead to them.

    Args:
        text: the file.
        below: page -> pages below it, as `_toc.yml` names them -> how the contents call them.

    >>> contents(b"root: a\nparts: [{chapters: [{file: b}]}]", {"b": {"b/c": "C"}}).split()[-5:]
    [b'-', b'file:', b'b/c', b'title:', b'C']
    """
    toc = yaml.safe_load(text)
    for part in toc.get("parts", []):
        for entry in part["chapters"]:
            if pages := below.get(entry.get("file", "")):
                entry["sections"] = [{"file": p, "title": name} for p, name in pages.items()]
    return str(yaml.safe_dump(toc, allow_unicode=True, sort_keys=False)).encode()


def configuration(text: bytes, remote: Remote | None) -> bytes:
    """`_config.yml` with the buttons "repository" and "open issue" where the theme knows the host.

    There is no edit button: notebooks and half of the pages are generated, so it would lead to
    files that must not be edited or do not exist.
    """
    config = yaml.safe_load(text)
    shown = remote if remote and remote.service else None
    config["repository"] = {"url": shown.url, "branch": shown.branch} if shown else {"url": ""}
    buttons = dict.fromkeys(("use_repository_button", "use_issues_button"), bool(shown))
    config["html"] = config.get("html", {}) | buttons
    return str(yaml.safe_dump(config, allow_unicode=True, sort_keys=False)).encode()

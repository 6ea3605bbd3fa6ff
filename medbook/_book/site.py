"""The site: the book's pages and committed notebooks, rendered by Jupyter Book."""

import hashlib
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import yaml
from rich.console import Console
from rich.markup import escape

from medbook._book import pages
from medbook._book.pages import gallery, links, systems
from medbook._book.project import Project
from medbook._book.remote import find_remote
from medbook._book.runs.failure import ANSI
from medbook._book.runs.lock import alone
from medbook.errors import MedbookError
from medbook.record import results

CONFIG, TOC = "_config.yml", "_toc.yml"
TOOLS = ("jupyter-book", "sphinx", "sphinx-book-theme", "myst-nb")
MATHJAX = "sphinx-mathjax-offline"  # a package that holds the files of MathJax and little else
# The combined component, its fonts, and what its menu loads for readers who use speech.
MATHJAX_PARTS = ("tex-chtml-full.js", "output/chtml/fonts/**/*", "a11y/*", "sre/mathmaps/*")

# Browsers that do not follow a refresh get a link; without the icon they would ask for another one.
FIRST_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>medbook</title>
<link rel="icon" href="_static/favicon.svg"><meta http-equiv="refresh" content="0; url={page}.html">
<a href="{page}.html">Read the book</a></html>
"""


Files = dict[str, bytes]


def build(project: Project, console: Console) -> Path:
    """Render the site, unless nothing has changed since it was rendered last.

    Args:
        project: the checkout.
        console: says what is done.

    Returns:
        the site's first page, `_build/html/index.html`.

    Raises:
        MedbookError: Jupyter Book is missing or too new, a page of `_toc.yml` is missing, or
            Sphinx has something to complain about.
    """
    versions = tool_versions()
    with alone(project, "site"):  # a second call waits, and finds nothing left to do
        return _build(project, versions, console)


def _build(project: Project, versions: dict[str, str], console: Console) -> Path:
    files = staged(project)
    for note in links.outlived(project):
        console.print(f"[yellow]note:[/] {escape(note)}", soft_wrap=True)
    listed = entries(files[TOC])
    _refuse_missing([e for e in listed if not _source(e, files)], "has no source")
    html = project.build / "html"
    stamp, key = html / ".medbook", fingerprint(files, versions)
    if stamp.exists() and stamp.read_text(encoding="utf-8") == key:
        return html / "index.html"
    console.print(f"rendering {len(listed)} pages")
    source = project.build / "site-src"
    stage(files, source)
    rendered = _render(project, source)
    _refuse_missing([e for e in listed if not (rendered / f"{e}.html").exists()], "was not built")
    _add_mathjax(rendered / "_static/mathjax")
    (rendered / "index.html").write_text(FIRST_PAGE.format(page=listed[0]), encoding="utf-8")
    shutil.rmtree(html, ignore_errors=True)
    rendered.rename(html)
    results.write_atomic(stamp, key)
    return html / "index.html"


def tool_versions() -> dict[str, str]:
    """Versions of what renders the site.

    Raises:
        MedbookError: something is missing, or Jupyter Book is 2 or newer: it ignores _config.yml.
    """
    try:
        found = {tool: version(tool) for tool in (*TOOLS, MATHJAX)}
    except PackageNotFoundError as error:
        raise MedbookError(f"{error.name} is not installed: pip install 'medbook[book]'") from None
    if int(found["jupyter-book"].split(".")[0]) >= 2:
        raise MedbookError(
            f"jupyter-book {found['jupyter-book']} is installed, which ignores _config.yml and "
            "builds no page: pip install 'jupyter-book>=1.0.4,<2'"
        )
    return found


def staged(project: Project) -> Files:
    """What Sphinx gets to see: path in the checkout -> content, the generated pages among it."""
    book = project.root / "book"
    paths = [project.root / CONFIG, project.root / TOC]
    paths += [p for p in book.rglob("*") if p.is_file() and p.suffix in (".md", ".ipynb")]
    paths += [p for p in (book / "_static").rglob("*") if p.is_file()]
    files = {p.relative_to(project.root).as_posix(): p.read_bytes() for p in sorted(paths)}
    remote = find_remote(project.root)
    files[CONFIG] = links.configuration(files[CONFIG], remote)
    files[TOC] = links.contents(files[TOC], {"book/scoreboard": systems.entries(project)})
    made = pages.generated(project) | links.notebooks(project, remote)
    texts = {name: text.encode() for name, text in made.items()}
    return files | texts | gallery.pictures(project)


def entries(toc: bytes) -> list[str]:
    r"""The pages that a table of contents lists.

    >>> entries(b"root: a\nparts: [{chapters: [{file: b, sections: [{file: c}]}]}]")
    ['a', 'b', 'c']
    """
    found: list[str] = []

    def collect(node: object) -> None:
        if isinstance(node, dict):
            found.extend(str(node[key]) for key in ("root", "file") if key in node)
            node = list(node.values())
        for child in node if isinstance(node, list) else []:
            collect(child)

    collect(yaml.safe_load(toc))
    return found


def fingerprint(files: Files, versions: dict[str, str]) -> str:
    """Changes with any byte of the staged files and any version."""
    sha = hashlib.sha256(repr(sorted(versions.items())).encode())
    for name in sorted(files):
        sha.update(f"{name}\0{len(files[name])}\0".encode() + files[name])
    return sha.hexdigest()


def stage(files: Files, folder: Path) -> None:
    """Make a folder hold these files and no others; what is the same stays as it is."""
    for old in sorted(folder.rglob("*")):
        if old.is_file() and old.relative_to(folder).as_posix() not in files:
            old.unlink()
    for name, content in files.items():
        path = folder / name
        if not path.exists() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def _render(project: Project, source: Path) -> Path:
    """Run Jupyter Book, a warning being an error; the folder of the pages."""
    out = project.build / "site"
    shutil.rmtree(out / "_build/html", ignore_errors=True)  # no page of an older build stays
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build"]
    command += [str(source), "--path-output", str(out), "-W", "-n", "--keep-going", "-q"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=project.root)
    if done.returncode:
        # else an unchanged page would not be read, and its warning not given, the next time
        shutil.rmtree(out, ignore_errors=True)
        log = (done.stdout + done.stderr).replace(f"{source}/", "")
        raise MedbookError(f"the site cannot be rendered:\n{complaints(log)}")
    return out / "_build/html"


def complaints(log: str) -> str:
    r"""The warnings and errors in Sphinx's output, or its end if there are none.

    >>> complaints("reading\nbook/a.md:3: WARNING: no such file\ndone")
    'book/a.md:3: WARNING: no such file'
    """
    lines = ANSI.sub("", log).splitlines()
    found = [line for line in lines if "WARNING" in line or "ERROR" in line]
    return "\n".join(dict.fromkeys(found)) or "\n".join(lines[-20:])


def _source(entry: str, files: Files) -> bool:
    return any(f"{entry}{suffix}" in files for suffix in ("", ".md", ".ipynb"))


def _refuse_missing(names: list[str], what: str) -> None:
    if names:
        raise MedbookError(
            f"{TOC} lists what {what}: {', '.join(names)} (notebooks: run and publish the chapter)"
        )


def _add_mathjax(target: Path) -> None:
    """MathJax goes into the site: reading a page needs no other server."""
    spec = find_spec(MATHJAX)
    assert spec and spec.origin  # its version was found
    folder = Path(spec.origin).parent / "static/mathjax"
    for part in MATHJAX_PARTS:
        for path in folder.glob(part):
            if path.is_file():
                copy = target / path.relative_to(folder)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)

"""Inside a stock Colab: do the notebooks' install cell and every chapter work, and nothing break?

Arguments: folder of a checkout, folder to work in. Uses what the image brings; medbook and what it
needs are installed by the notebooks' own first cell, from this checkout instead of GitHub.
"""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat


def install_cell(checkout: Path, url: str) -> str:
    """Source of the install cell of a notebook whose repository is at this address."""
    file = checkout / "medbook/_book/notebooks/surroundings.py"
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "INSTALL":
            return str(ast.literal_eval(node.value)).format(url=url)
    raise SystemExit("medbook/_book/notebooks/surroundings.py defines no INSTALL")


def prepared(notebook: nbformat.NotebookNode, install: str) -> nbformat.NotebookNode:
    """A committed notebook as Colab would run it: no outputs, its own install cell replaced."""
    cells = [cell for cell in notebook.cells if cell["id"] != "install"]
    first = [nbformat.v4.new_code_cell(source) for source in ("import google.colab", install)]
    return nbformat.v4.new_notebook(cells=first + cells, metadata=notebook.metadata)


def repository(checkout: Path, folder: Path) -> str:
    """Commit a checkout's committed files anew; the address without the `.git` of the cell.

    The checkout itself will not do: if it is shallow, pip's partial clone of it does not end.
    """
    copy = folder / "medbook.git"
    copy.mkdir()
    read = ["git", "-c", "safe.directory=*", "-C", str(checkout), "archive", "HEAD"]
    archive = subprocess.run(read, check=True, stdout=subprocess.PIPE).stdout
    subprocess.run(["tar", "--extract"], check=True, input=archive, cwd=copy)
    write = ["git", "-c", "user.name=medbook", "-c", "user.email=medbook@localhost"]
    for step in (["init", "-q"], ["add", "--all", "--force"], ["commit", "-q", "-m", "medbook"]):
        subprocess.run([*write, *step], check=True, cwd=copy)
    return copy.with_suffix("").as_uri()


def versions() -> dict[str, str]:
    """Installed distributions, as a new process sees them."""
    command = [sys.executable, "-m", "pip", "list", "--format=json", "--disable-pip-version-check"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {package["name"]: package["version"] for package in json.loads(listed)}


def changed(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """What is no longer there, or in another version."""
    return [f"{n} {old} -> {after.get(n)}" for n, old in before.items() if after.get(n) != old]


def execute(notebook: Path, folder: Path, install: str) -> None:
    """Run a notebook in a folder of its own, so that it finds medbook only where pip put it."""
    from nbclient import NotebookClient

    scratch = folder / notebook.stem
    scratch.mkdir()
    client = NotebookClient(
        prepared(nbformat.read(notebook, 4), install),
        timeout=1200,
        kernel_name="python3",
        resources={"metadata": {"path": str(scratch)}},
    )
    try:
        client.execute()
    finally:  # a cell whose pip fails raises nothing
        print(*(output.get("text", "") for output in client.nb.cells[1].outputs), sep="")
    code = f"from medbook import chapter; print(chapter.load({notebook.stem!r}).__file__)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=scratch)


def main(checkout: Path, folder: Path) -> None:
    """All notebooks, then a look at what has become of the image's own packages."""
    notebooks = sorted((checkout / "book/notebooks").glob("*.ipynb"))
    if not notebooks:
        raise SystemExit("book/notebooks has no notebook: nothing was tested")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ["MEDBOOK_PROFILE"] = "smoke"
    install = install_cell(checkout, repository(checkout, folder))
    before = versions()
    print(f"Python {sys.version.split()[0]}, torch {before['torch']}, numpy {before['numpy']}")
    for notebook in notebooks:
        execute(notebook, folder, install)
        print(f"{notebook.stem}: ran", flush=True)
    after = versions()
    added = sorted(f"{name} {after[name]}" for name in after.keys() - before.keys())
    print("installed:", ", ".join(added))
    if broken := changed(before, after):
        raise SystemExit(f"the installation changed what Colab brings: {', '.join(broken)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

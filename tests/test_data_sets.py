"""One file per data set: dropped into the folder, it is loaded, has its card and its state."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from medbook import data
from medbook.data import sets
from medbook.errors import MedbookError

ROOT = Path(__file__).parents[1]
TOY = '''
"""A toy set: one grey square."""

import numpy as np

from medbook.data.entries import Arrays, Card, Entry, File


def read(paths, size):
    return {"all": Arrays(np.load(paths[0]))}


def twin(size):
    return {"all": Arrays(np.arange(2 * size**2, dtype=np.float32).reshape(2, 1, size, size))}


ENTRY = Entry(
    name="toy", unit="square", licence="CC0 1.0", origin="nowhere", credit="Toy: nobody",
    channels=1, collections=frozenset({"toys"}), files={8: File("toy/toy.npy", "sha256:0")},
    read=read, twin=twin,
    card=Card(image="a square", splits={"all": 2}, split_by="not split", twin="squares"),
)
'''
SHOW = """
import sys
from pathlib import Path
from rich.console import Console
import medbook
from medbook import data
from medbook._book import keys, status
from medbook._book.pages import datacards
from medbook._book.project import Project
print(medbook.start("unlearnable_examples", "smoke").load("toy").images.shape)
print("[Toy](#toy) | CC0 1.0 | 2 | none | square" in datacards.overview(Project(Path(sys.argv[1]))))
print("## Toy" in datacards._card(data.ENTRIES["toy"], []))
Console(width=200).print(status._data())
"""
OTHERS = """
from medbook import chapter, data
from medbook.data.real_or_twin import obtain
from medbook.trials.fingerprint import definitions
print([obtain(e, min(e.files), "twin").sha256 for n, e in data.ENTRIES.items() if n != "toy"])
print(definitions(chapter.load("structured_sparsity").trial))
"""


@pytest.fixture(scope="module")
def with_toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose medbook has one data set more."""
    folder = tmp_path_factory.mktemp("with_toy")
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("medbook", "chapters", "book"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copy(ROOT / "_toc.yml", folder)
    (folder / "medbook/data/sets/toy.py").write_text(TOY)
    return folder


def answer(code: str, folder: Path) -> list[str]:
    """Lines that code prints with the medbook of a folder."""
    environment = os.environ | {"PYTHONPATH": str(folder), "MEDBOOK_OFFLINE": "1"}
    environment.pop("MEDBOOK_DATA", None)
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_new_data_set_changes_nothing_of_the_others(with_toy: Path) -> None:
    more, before = answer(OTHERS, with_toy), answer(OTHERS, ROOT)
    assert more == before and len(before) == 2


def test_a_new_file_is_a_new_data_set(with_toy: Path) -> None:
    shape, overview, card, *table = answer(SHOW, with_toy)
    assert shape == "torch.Size([2, 1, 8, 8])" and overview == card == "True"
    assert any("toy" in row and "twin (there is no public mirror)" in row for row in table)


def test_the_registry_is_what_lies_in_the_folder() -> None:
    files = {path.stem for path in (ROOT / "medbook/data/sets").glob("*.py")} - {"__init__"}
    assert set(data.ENTRIES) == files and list(data.ENTRIES) == sorted(files)


@pytest.mark.parametrize("text", ["", "ENTRY = 1", TOY.replace('name="toy"', 'name="tot"')])
def test_a_module_without_its_entry_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    (tmp_path / "broken_toy.py").write_text(text)
    monkeypatch.setattr(sets, "__path__", [str(tmp_path)])
    with pytest.raises(MedbookError, match=r"medbook\.data\.sets\.broken_toy must define ENTRY"):
        sets.discovered()
    sys.modules.pop("medbook.data.sets.broken_toy")

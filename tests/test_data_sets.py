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
print([data.ENTRIES[name].twin(28)["train"].images.sum() for name in ("breastmnist", "pathmnist")])
print(static_definitions("structured_sparsity", ["trial"]))
Console(width=200).print(status._data())
"""


def test_a_new_file_is_a_new_data_set(tmp_path: Path) -> None:
    package = tmp_path / "medbook"
    shutil.copytree(ROOT / "medbook", package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "data/sets/toy.py").write_text(TOY)
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "MEDBOOK_OFFLINE": "1"}
    environment.pop("MEDBOOK_DATA", None)
    answer = subprocess.run(
        [sys.executable, "-c", SHOW, str(ROOT)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert answer.returncode == 0, answer.stderr
    shape, overview, card, *table = answer.stdout.splitlines()
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

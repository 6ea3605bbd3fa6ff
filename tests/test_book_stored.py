"""The results that the book stores: nothing of what was measured is lost or changed in silence."""

import ast
from collections.abc import Iterator

import pytest

from medbook import paths
from medbook._book.project import find_project
from medbook._book.stored import ledger
from medbook.record import results
from medbook.trials.closures import NO_CHAPTER_CODE

# Digests of all measured values; at laptop of effects, intervals and verdicts, too. A new run that
# measures other numbers changes its line here, and nothing else does.
MEASURED = {
    "diffusion.laptop": "91bd85b3953ee79f",
    "diffusion.smoke": "1bd23fd779d7fdfc",
    "image_similarity.laptop": "d9af1c4281aa7253",
    "image_similarity.smoke": "62ca80ce3c83c434",
    "image_text_pretraining.laptop": "ecd59ee172472911",
    "image_text_pretraining.smoke": "dfb423842547a5d5",
    "mri_reconstruction.laptop": "df8c84b60494fce8",
    "mri_reconstruction.smoke": "43bf9cd09d785c72",
    "sparse_view_ct.laptop": "8ed9abe5e694d8ba",
    "sparse_view_ct.smoke": "561b0c9be8c301e5",
    "unlearnable_examples.laptop": "b9b41603bd3cc193",
    "unlearnable_examples.smoke": "60db1a839b3b6f71",
    "structured_sparsity.laptop": "9b12185962091965",
    "structured_sparsity.smoke": "5ce0a7bff75c0b4e",
}
DECIDED = ("id", "hash", "verdict", "effect", "low", "high", "n", "effects")


def measured(run: results.Results) -> str:
    numbers = results.numbers(run)
    if run["profile"] == "smoke":
        return numbers
    claims = [[claim[part] for part in DECIDED] for claim in run["claims"]]
    return results.digest({"numbers": numbers, "claims": claims})


@pytest.mark.parametrize("name", sorted(MEASURED))
def test_stored_numbers_are_those_that_were_measured(name: str) -> None:
    run = results.load(find_project().results / f"{name}.json")
    assert measured(run) == MEASURED[name]


def test_every_stored_claim_is_the_one_that_was_measured() -> None:
    """The list of what was measured; publishing appends to it."""
    project = find_project()
    for name in sorted(MEASURED):
        run = results.load(project.results / f"{name}.json")
        if run["profile"] != "smoke":
            assert list(ledger.contradictions(project, run)) == []


def test_an_edit_of_one_public_function_leaves_nine_in_ten_results_as_they_are() -> None:
    """Which results rest on a function, by the definitions that their trials reached."""
    project = find_project()
    stored = [project.stored(chapter.id)["smoke"]["trials"] for chapter in project.chapters()]
    reached = [{name for t in trials.values() for name in t["definitions"]} for trials in stored]
    functions = list(public_functions())
    untouched = sum(name not in names for name in functions for names in reached)
    assert len(functions) > 200 and all(reached)
    share = untouched / len(functions) / len(reached)
    assert share > 0.9, share


def public_functions() -> Iterator[str]:
    for file in paths.PACKAGE.rglob("*.py"):
        if set(NO_CHAPTER_CODE) & set(file.relative_to(paths.PACKAGE).parts):
            continue
        module = file.parent.name if file.stem == "__init__" else file.stem
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            defines = isinstance(node, ast.FunctionDef | ast.ClassDef)
            if defines and not node.name.startswith("_"):
                yield f"{module}.{node.name}"

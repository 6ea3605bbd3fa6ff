"""What publishing changes in an executed notebook, and what it refuses."""

import copy
import errno
import shutil
from pathlib import Path

import nbformat
import pytest
from book_fixtures import Book
from nbformat.v4 import new_code_cell, new_notebook, new_output

from medbook._book.checks.sound import unsound
from medbook._book.keys import code_cells, key_of, sources_of
from medbook._book.notebooks import publish
from medbook._book.notebooks.surroundings import installed_from
from medbook._book.project import Chapter
from medbook._book.runs.plan import Plan, make_plan, mark
from medbook._book.stored.state import judge
from medbook.errors import MedbookError
from medbook.record import cases, results

CELLS = """
# %%
x = 1

# %% [markdown]
# Some text.

# %% tags=["nbval-check-output"]
print(x)
"""


@pytest.fixture
def chapter(book: Book) -> Chapter:
    book.add("one", CELLS)
    return book.project.select(["one"])[0]


def executed(chapter: Chapter, *outputs: dict) -> nbformat.NotebookNode:
    """As papermill leaves a notebook; the outputs are those of the last cell."""
    notebook = copy.deepcopy(chapter.notebook())
    notebook.cells.insert(2, new_code_cell("profile = 'laptop'", metadata={
        "tags": ["injected-parameters"]}))  # fmt: skip
    for number, cell in enumerate(notebook.cells, 7):
        cell.metadata["papermill"] = {"duration": 0.123, "start_time": "2020-01-01"}
        cell.metadata["execution"] = {"iopub.execute_input": "2020-01-01"}
        if cell.cell_type == "code":
            cell.execution_count = number
    notebook.cells[-1].outputs = [nbformat.from_dict(output) for output in outputs]
    notebook.metadata["papermill"] = {"duration": 1.0}
    notebook.metadata["widgets"] = {"state": {}}
    return notebook


def stream(text: str, name: str = "stdout") -> dict:
    return new_output("stream", name=name, text=text)


def result(**data: str) -> dict:
    renamed = {kind.replace("_", "/"): text for kind, text in data.items()}
    return new_output("execute_result", data=renamed, execution_count=99)


def normalised(book: Book, chapter: Chapter, *outputs: dict) -> nbformat.NotebookNode:
    return publish.normalised(chapter, executed(chapter, *outputs))


def test_what_differs_from_run_to_run_is_dropped(book: Book, chapter: Chapter) -> None:
    bar = new_output("display_data", data={publish.WIDGETS + "-view+json": {}, "text/plain": "0%"})
    outputs = [stream("1", "stderr"), bar, stream("a"), stream("b"), result(text_plain="'c'")]
    notebook = normalised(book, chapter, *outputs)
    nbformat.validate(notebook)
    text = nbformat.writes(notebook)
    assert "papermill" not in text and "2020-01-01" not in text and "stderr" not in text
    assert [cell["id"] for cell in notebook.cells] == [f"cell-{n}" for n in range(1, 6)]
    ours = code_cells(notebook)
    assert [cell.source for cell in ours] == [c.source for c in code_cells(chapter.notebook())]
    assert [cell.execution_count for cell in ours] == [1, 2, 3]
    assert ours[-1].metadata == {"tags": ["nbval-check-output"]}
    assert [output.get("text") for output in ours[-1].outputs] == ["ab", None]
    assert ours[-1].outputs[1].execution_count == 3
    assert notebook.metadata["accelerator"] == "GPU"
    assert notebook.metadata["kernelspec"]["name"] == "python3"
    assert nbformat.writes(normalised(book, chapter, *outputs)) == text
    assert nbformat.writes(publish.normalised(chapter, notebook)) == text


def test_prose_is_that_of_the_source(book: Book, chapter: Chapter) -> None:
    before = executed(chapter, stream("a"))
    book.edit("chapters/trust/one.py", "# Some text.", "# Other text.\n\n# %% [markdown]\n# More.")
    notebook = publish.normalised(chapter, before)
    prose = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    assert prose == ["# One", "Other text.", "More."]
    assert notebook.cells[-1].outputs[0].text == "a"


@pytest.mark.parametrize(
    "text", ["{root}/_build/x.png", "{home}/data/x.npz", "/home/ann/x", "see /Users/ann", "{tmp}/x"]
)
@pytest.mark.parametrize("make", [stream, lambda text: result(text_html=text)])
def test_a_path_of_this_machine_is_refused(
    book: Book, chapter: Chapter, monkeypatch: pytest.MonkeyPatch, text: str, make
) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/somewhere/ann"))
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/somewhere/tmp")
    text = text.format(root=book.root, home="/somewhere/ann", tmp="/somewhere/tmp")
    notebook = normalised(book, chapter, make(text))
    with pytest.raises(MedbookError, match=r"one\.ipynb: cell 3 prints a path of this machine"):
        publish._refuse_machine_paths(book.project, "one.ipynb", notebook)


@pytest.mark.parametrize("text", ["https://example.org/home/x", "and/or", "1/2", "chapters/a.py"])
def test_other_slashes_are_no_paths(book: Book, chapter: Chapter, text: str) -> None:
    notebook = normalised(book, chapter, stream(text))
    publish._refuse_machine_paths(book.project, "one.ipynb", notebook)


def test_a_large_notebook_is_refused_and_its_largest_cell_named() -> None:
    cells = [new_code_cell("x", outputs=[result(image_png="A" * n)]) for n in (10, 3 * 2**19, 500)]
    with pytest.raises(MedbookError, match=r"one\.ipynb: 1\.5 MiB.*cell 2 \(1\.5 MiB\)"):
        publish._refuse_large("one.ipynb", new_notebook(cells=cells))
    publish._refuse_large("one.ipynb", new_notebook(cells=[cells[0], cells[2]]))


def test_what_was_not_run_is_not_published(book: Book, chapter: Chapter) -> None:
    with pytest.raises(MedbookError, match="run `medbook run one --profile laptop --seed 3` first"):
        publish.publish(book.project, chapter, "laptop", seed=3)
    assert list((book.root / "book/results").iterdir()) == []


@pytest.mark.slow
def test_the_published_notebook_has_card_and_citation_and_a_way_to_install(published: Book) -> None:
    [chapter] = published.project.chapters()
    path = published.project.notebooks / "clean.ipynb"
    before = nbformat.read(path, 4)
    assert [cell["id"] for cell in before.cells[:2]] == ["cell-1", "card"]
    published.served_at("git@github.com:fork/book.git")
    (published.root / "CITATION.cff").write_text(
        "{title: The book, version: 1, authors: [{name: We}]}"
    )
    publish.publish(published.project, chapter, "laptop")
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    ids = [cell["id"] for cell in notebook.cells]
    assert ids[:3] == ["install", "cell-1", "card"] and ids[-1] == "cite"
    assert ids.count("card") == ids.count("cite") == ids.count("install") == 1
    assert installed_from(notebook) == "https://github.com/fork/book"
    assert "[Open in Colab]" in notebook.cells[2].source
    publish.publish(published.project, chapter, "smoke")
    assert nbformat.read(path, 4) == notebook


def forget_runs(book: Book) -> None:
    """As on another machine, where nothing was run."""
    shutil.rmtree(book.root / "_build/run")


@pytest.mark.slow
def test_prose_is_published_without_a_run(published: Book) -> None:
    [chapter] = published.project.chapters()
    path = published.project.notebooks / "clean.ipynb"
    outputs = [cell.outputs for cell in code_cells(nbformat.read(path, 4))]
    stored = published.project.published("clean", "laptop").read_bytes()
    forget_runs(published)
    published.edit("chapters/trust/clean.py", "# # Clean", "# # Clean\n# A new sentence.")
    published.served_at("https://github.com/fork/book")
    assert publish.publish(published.project, chapter, "laptop") == [path]
    notebook = nbformat.read(path, 4)
    assert "A new sentence." in notebook.cells[1].source and any(outputs)
    assert [cell.outputs for cell in code_cells(notebook)] == outputs
    assert installed_from(notebook) == "https://github.com/fork/book"
    assert published.project.published("clean", "laptop").read_bytes() == stored
    assert not unsound(published.project, chapter, "laptop")
    text = path.read_bytes()
    publish.publish(published.project, chapter, "laptop")
    assert path.read_bytes() == text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "old", "new", "reason"),
    [
        ("chapters/trust/clean.py", "CANDIDATES = 41", "CANDIDATES = 43", "CANDIDATES"),
        ("book/claims/clean.yml", "margin: 0.1", "margin: 0.2", "claim clean-1"),
        ("../medbook/evaluate/stats.py", "LEVEL = 0.95", "LEVEL = 0.9", "stats.LEVEL"),
        ("book/notebooks/clean.ipynb", '"results": "', '"results": "0', "not of the stored run"),
        ("book/results/clean.laptop.json", '"n": ', '"n": 1', "changed after it was measured"),
    ],
)  # fmt: skip
def test_outputs_of_other_code_or_claims_are_not_kept(
    published: Book, file: str, old: str, new: str, reason: str
) -> None:
    [chapter] = published.project.chapters()
    forget_runs(published)
    published.edit(file, old, new)
    before = (published.project.notebooks / "clean.ipynb").read_bytes()
    command = "run `medbook run clean --profile laptop` first"
    with pytest.raises(MedbookError, match=rf"clean: {command}: .*{reason}"):
        publish.publish(published.project, chapter, "laptop")
    assert (published.project.notebooks / "clean.ipynb").read_bytes() == before


@pytest.mark.slow
def test_only_the_published_seed_is_refreshed(published: Book) -> None:
    [chapter] = published.project.chapters()
    with pytest.raises(MedbookError, match="--seed 1` first: seed 0 is published"):
        publish.publish(published.project, chapter, "laptop", seed=1)


def as_if_run_now(plan: Plan, chapter: Chapter) -> None:
    """Make the last run one of today's sources, with the same numbers."""
    measured = results.load(plan.results(chapter))
    measured["key"] = key_of(plan.project, chapter, plan.profile, plan.seed_of(chapter))
    for trial in measured["trials"].values():
        trial["definitions"] = sources_of(plan.project).current(chapter.id, trial["definitions"])
    results.save(measured, plan.results(chapter))
    notebook = nbformat.read(plan.notebook(chapter), 4)
    notebook.metadata["medbook"] = mark(results.load(plan.results(chapter)))
    nbformat.write(notebook, plan.notebook(chapter))


@pytest.mark.slow
def test_a_run_vouched_for_by_smoke_keeps_its_outputs(published: Book) -> None:
    """A lock that changed does not matter as long as the smoke numbers are the stored ones."""
    [chapter] = published.project.chapters()
    published.edit("ci/lock.txt", "numpy==2.0", "numpy==2.1")
    with pytest.raises(MedbookError, match="not checked: run `medbook run clean --profile smoke`"):
        publish.publish(published.project, chapter, "laptop")
    as_if_run_now(make_plan(published.project, "smoke"), chapter)
    assert publish.publish(published.project, chapter, "laptop") == [
        published.project.notebooks / "clean.ipynb"
    ]


@pytest.mark.slow
def test_a_definition_vouched_for_by_smoke_is_published(published: Book) -> None:
    [chapter] = published.project.chapters()
    published.edit("chapters/trust/clean.py", "CANDIDATES = 41", "CANDIDATES = 40 + 1")
    as_if_run_now(make_plan(published.project, "smoke"), chapter)
    assert judge(published.project, chapter, "laptop") == ("checked by smoke", ["CANDIDATES"])
    [path] = publish.publish(published.project, chapter, "laptop")
    assert "CANDIDATES = 40 + 1" in path.read_text()
    assert not unsound(published.project, chapter, "laptop")


@pytest.mark.slow
def test_smoke_does_not_vouch_for_outputs_under_another_cell(published: Book) -> None:
    [chapter] = published.project.chapters()
    published.edit("chapters/trust/clean.py", "CANDIDATES = 41", "CANDIDATES = 40 + 1")
    published.edit("chapters/trust/clean.py", "[0.0] * len(test)", "[0] * len(test)")
    as_if_run_now(make_plan(published.project, "smoke"), chapter)
    assert judge(published.project, chapter, "laptop").name == "checked by smoke"
    with pytest.raises(MedbookError, match=r"first: chapters/trust/clean\.py cell 6"):
        publish.publish(published.project, chapter, "laptop")


def run_again(plan: Plan, chapter: Chapter) -> None:
    """Another smoke run with the same numbers: it took a minute more."""
    measured = results.load(plan.results(chapter))
    measured["seconds"] += 60
    results.save(measured, plan.results(chapter))
    as_if_run_now(plan, chapter)


@pytest.mark.slow
@pytest.mark.parametrize("full", ["clean.smoke.json", "clean.ipynb"])
def test_a_disk_that_fills_up_leaves_results_and_notebook_as_they_were(
    published: Book, monkeypatch: pytest.MonkeyPatch, full: str
) -> None:
    [chapter] = published.project.chapters()
    run_again(make_plan(published.project, "smoke"), chapter)
    pair = published.project.published("clean", "smoke"), published.project.notebook("clean")
    written = [pair[0], cases.beside(pair[0]), pair[1]]
    before = [path.read_bytes() for path in pair]
    write = Path.write_bytes

    def fill_up(path: Path, text: str, **options: str) -> int:
        if full in path.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, text, **options)

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(Path, "write_bytes", fill_up)
        publish.publish(published.project, chapter, "smoke")
    assert [path.read_bytes() for path in pair] == before
    assert publish.publish(published.project, chapter, "smoke") == written
    assert [path.read_bytes() != old for path, old in zip(pair, before, strict=True)] == [True] * 2
    assert unsound(published.project, chapter, "laptop") == []


@pytest.mark.slow
def test_scores_of_cases_are_published_beside_the_results(published: Book) -> None:
    [chapter] = published.project.chapters()
    path = published.project.published("clean", "laptop")
    stored = results.load(path)
    scores = cases.load(stored, path)["scores/right"]
    assert scores.mean(1).tolist() == pytest.approx(stored["metrics"]["accuracy"]["values"])
    assert unsound(published.project, chapter, "laptop") == []
    cases.beside(path).write_bytes(b"PK")
    [found] = unsound(published.project, chapter, "laptop")
    assert found.startswith("book/results/clean.laptop.json: clean.laptop.npz: damaged")


@pytest.mark.slow
def test_results_and_notebook_of_two_runs_are_noticed(published: Book) -> None:
    """As when the machine stops between the two."""
    [chapter] = published.project.chapters()
    notebook = published.project.notebook("clean")
    before = notebook.read_bytes()
    run_again(make_plan(published.project, "smoke"), chapter)
    publish.publish(published.project, chapter, "smoke")
    notebook.write_bytes(before)
    [message] = unsound(published.project, chapter, "laptop")
    assert message.startswith("book/notebooks/clean.ipynb: its card is not of the stored results")


def test_trials_of_two_kinds_of_machine_are_refused(chapter: Chapter) -> None:
    one = {"trial": {"machines": ["CPU (AVX2)"]}, "judge": {"machines": ["CPU (AVX2)"]}}
    publish._refuse_mixed(chapter, {"trials": one})
    one["judge"]["machines"] = ["CPU (AVX512)"]
    with pytest.raises(MedbookError, match=r"^one: .* on CPU \(AVX2\) and on CPU \(AVX512\): run"):
        publish._refuse_mixed(chapter, {"trials": one})

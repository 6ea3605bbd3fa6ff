"""Verification of a published chapter: whatever is changed is found and named."""

import io
import json
import shutil
import time

import nbformat
import pytest
from book_fixtures import PEEK, Book, quick
from rich.console import Console

from medbook._book.checks import cells, verify
from medbook._book.checks.sample import check_trials
from medbook._book.checks.sound import unsound
from medbook._book.keys import code_cells
from medbook._book.notebooks.publish import publish
from medbook._book.runs import execute, pace
from medbook._book.runs.outcomes import told
from medbook._book.runs.plan import load_run, make_plan, outdated
from medbook._book.stored.state import judge
from medbook.errors import MedbookError
from medbook.record import results

SMOKE, LAPTOP = "book/results/clean.smoke.json", "book/results/clean.laptop.json"
NOTEBOOK = "book/notebooks/clean.ipynb"
HELPER = "SIGN_TEST_N = 6"  # of stats, which the trial reaches
NONE_COMPUTED = "no trial was computed: the store had all of them"

pytestmark = pytest.mark.slow


def check(book: Book, *names: str, leaks: bool = False) -> verify.Report:
    chapters = book.project.select(list(names))
    return verify.verify(book.project, chapters, "smoke", Console(), leaks=leaks)


def rewrite(book: Book, path: str, change) -> None:
    """Change a results file as somebody would who also corrects the digest."""
    content = results.load(book.root / path)
    change(content)
    results.save(content, book.root / path)


def change_output(book: Book, number: int, old: str, new: str) -> None:
    """Change what a source cell printed in the committed notebook."""
    path = book.root / NOTEBOOK
    notebook = nbformat.read(path, 4)
    cell = code_cells(notebook)[number - 1]
    assert old in cell.outputs[0].text
    cell.outputs[0].text = cell.outputs[0].text.replace(old, new)
    nbformat.write(notebook, path)


def test_what_was_published_passes_and_a_second_time_nothing_is_executed(
    published: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check(published, leaks=True) == verify.Report()

    def forbidden(*_, **__):
        raise AssertionError("something was executed")

    monkeypatch.setattr("subprocess.Popen", forbidden)
    assert check(published, leaks=True) == verify.Report()


def test_one_digit_in_a_stored_result_is_named(published: Book) -> None:
    content = json.loads((published.root / SMOKE).read_text())
    value = content["metrics"]["accuracy"]["values"][0]
    published.edit(SMOKE, f"[{value},", f"[{value + 0.1},")
    failures = check(published).failures
    assert any(f.startswith(f"{SMOKE}: changed after it was measured") for f in failures)
    assert any(f.startswith(f"{SMOKE}: metrics/accuracy: mean") for f in failures)


def test_a_consistent_forgery_is_found_by_measuring_again(published: Book) -> None:
    def change(content: dict) -> None:
        content["metrics"]["images"]["values"] = [601.0]
        content["metrics"]["images"]["mean"] = 601.0

    rewrite(published, SMOKE, change)
    assert f"{SMOKE}: metrics/images: 601 stored, 600 here: differs" in check(published).failures


def test_results_of_another_profile_are_checked_too(published: Book) -> None:
    rewrite(published, LAPTOP, lambda content: content["claims"][0].update(verdict="opposite"))
    failures = check(published).failures
    assert any(f.startswith(f"{LAPTOP}: claims/clean-1: verdict 'opposite'") for f in failures)
    assert (
        f"{NOTEBOOK}: does not belong to the stored results: publish the chapter again" in failures
    )


def test_a_replication_that_is_a_copy_is_named(published: Book) -> None:
    copy = "replications/laptop-seed7/clean.laptop.json"
    results.save(results.load(published.root / LAPTOP) | {"seed": 7}, published.root / copy)
    beside = (published.root / LAPTOP).with_suffix(".npz")
    shutil.copy(beside, (published.root / copy).with_suffix(".npz"))
    message = f"{copy}: weights of arms of seed 7 are those of seed 0 in the book"
    assert check(published).failures == [message]


def check_cells(book: Book, which: cells.Which = "changed") -> tuple[bool, list[str], str]:
    """Was the notebook executed again, what failed, and what was said about it."""
    said = io.StringIO()
    [found] = cells.check_cells(book.project, book.project.chapters(), which, Console(file=said))
    return found.executed, found.failures, said.getvalue()


def test_a_notebook_is_executed_again_if_something_changed_or_if_asked_for(published: Book) -> None:
    assert check_cells(published, "all") == (
        (False, [], "not executed again, passed on this machine before: clean\n")
    )
    shutil.rmtree(published.project.build / "verify")  # as on another machine
    assert check_cells(published) == (
        (False, [], "not executed again, nothing changed since it was published: clean\n")
    )
    assert check_cells(published, "all") == (
        (True, [], "notebook executed again: clean (asked for)\n")
    )
    published.edit("../medbook/evaluate/stats.py", HELPER, "SIGN_TEST_N = 5")
    executed, failures, said = check_cells(published)
    assert (executed, failures) == (True, [])
    assert said.startswith("notebook executed again: clean (stale: stats.SIGN_TEST_N")


@pytest.mark.parametrize("which", ["changed", "all"])
def test_a_changed_check_cell_is_named(published: Book, which: cells.Which) -> None:
    """Whether it is executed again or compared with the smoke run."""
    change_output(published, 4, "28", "29")
    executed, [failure], _ = check_cells(published, which)
    assert executed == (which == "all")
    assert failure.startswith(f"{NOTEBOOK}: cell 4 (print(tuple(data.train.images.shape[1:])))")
    assert r"'(1, 29, 29)\n' == '(1, 28, 28)\n'" in failure


def test_a_committed_cell_that_no_longer_runs_is_named(published: Book) -> None:
    """As when medbook changes under a notebook: the source is changed along with it."""
    for file in (NOTEBOOK, "chapters/trust/clean.py"):
        published.edit(file, "CANDIDATES = 41", "CANDIDATES = 1 / 0")
    _, failures, _ = check_cells(published)
    assert failures == [f"{NOTEBOOK}: cell 3 (import hashlib): ZeroDivisionError: division by zero"]


@pytest.mark.parametrize(
    ("expression", "limit", "says"),
    [
        ("import os; os.kill(os.getpid(), 9)", 600,
         "the kernel died: signal 9 (SIGKILL): out of memory?"),
        ("import os; os.kill(os.getpid(), 11)", 600,
         "the kernel died: signal 11 (SIGSEGV): a library crashed: `medbook status`"),
        ("import time; time.sleep(300)", 25,
         "stopped: no cell and no trial has finished for 25 s, the limit here is 25 s"),
    ],
)  # fmt: skip
def test_a_notebook_whose_kernel_dies_or_stands_still_is_named_within_seconds(
    published: Book, monkeypatch: pytest.MonkeyPatch, expression: str, limit: int, says: str
) -> None:
    monkeypatch.setattr(pace, "LEAST_SECONDS", limit)
    monkeypatch.setattr(pace, "PATIENCE", 0.1)
    for file in (NOTEBOOK, "chapters/trust/clean.py"):
        published.edit(file, "import hashlib", f"{expression}; import hashlib")
    before = time.monotonic()
    _, [failure], _ = check_cells(published, "all")
    assert failure.startswith(f"{NOTEBOOK}: cell 3 ({expression}; import hashlib): {says}")
    assert time.monotonic() - before < 120


@pytest.mark.parametrize("file", [NOTEBOOK, "chapters/trust/clean.py"])
def test_a_notebook_cell_that_is_not_the_sources_is_named(published: Book, file: str) -> None:
    published.edit(file, "CANDIDATES = 41", "CANDIDATES = 42")
    [chapter] = published.project.chapters()
    messages = unsound(published.project, chapter, "laptop")
    assert messages == [f"{NOTEBOOK}: cell 3 is not the source's (chapters/trust/clean.py)"]


def test_a_check_that_was_switched_off_is_named(published: Book) -> None:
    path = published.root / NOTEBOOK
    notebook = nbformat.read(path, 4)
    code_cells(notebook)[3].metadata.pop("tags")
    nbformat.write(notebook, path)
    [chapter] = published.project.chapters()
    messages = unsound(published.project, chapter, "laptop")
    assert messages == [f"{NOTEBOOK}: cell 4 has other tags than the source"]


def test_a_missing_notebook_and_missing_results_are_named(published: Book) -> None:
    (published.root / NOTEBOOK).unlink()
    (published.root / SMOKE).unlink()
    failures = check(published).failures
    assert f"{NOTEBOOK}: missing: publish the chapter" in failures
    assert any(failure.startswith(f"{SMOKE}: no such results file") for failure in failures)


def test_only_what_a_trial_reaches_makes_a_result_stale(published: Book) -> None:
    [chapter] = published.project.chapters()
    plan = make_plan(published.project, "laptop")
    assert judge(published.project, chapter, "laptop") == ("current", [])
    assert judge(published.project, chapter, "gpu").name == "missing"
    published.edit("../medbook/evaluate/stats.py", "LEVEL = 0.95", "LEVEL = 0.950  # per cent")
    assert outdated(plan, chapter) == []  # the same constant
    published.edit("../medbook/evaluate/stats.py", "MAX_SEEDS = 1000", "MAX_SEEDS = 1001")
    assert judge(published.project, chapter, "laptop") == ("current", [])
    assert outdated(plan, chapter) == ["stats.MAX_SEEDS"]
    published.edit("../medbook/evaluate/stats.py", HELPER, "SIGN_TEST_N = 5")
    found = judge(published.project, chapter, "laptop")
    assert str(found).startswith("stale: stats.SIGN_TEST_N, not checked: run `medbook run clean")


def test_a_changed_figure_asks_for_a_replay_of_seconds(published: Book) -> None:
    [chapter] = published.project.chapters()
    published.edit("chapters/trust/clean.py", "print(tuple", "print(1); print(tuple")
    cell = "chapters/trust/clean.py cell 4"
    assert judge(published.project, chapter, "laptop") == ("replay", [cell])
    for profile in ("smoke", "laptop"):
        plan = make_plan(published.project, profile)
        [outcome] = execute.run([plan], [chapter], Console())
        assert outcome.state == "ran"
        assert told(published.project.trials, "clean", profile, 0) == [NONE_COMPUTED]
    publish(published.project, chapter, "laptop")
    assert judge(published.project, chapter, "laptop") == ("current", [])
    shutil.rmtree(published.project.trials)
    published.edit("chapters/trust/clean.py", "print(1)", "print(2)")
    found = judge(published.project, chapter, "laptop")
    assert found == ("replay", [cell, "3 of 3 trials are not stored here"])


def test_equal_smoke_numbers_keep_a_changed_laptop_result(published: Book) -> None:
    [chapter] = published.project.chapters()
    changed = "stats.SIGN_TEST_N"
    published.edit("../medbook/evaluate/stats.py", HELPER, "SIGN_TEST_N = 5")
    execute.run([make_plan(published.project, "smoke")], [chapter], Console())
    [line] = told(published.project.trials, "clean", "smoke", 0)
    assert line == f"trial: 2 computed: {changed} changed"
    found = judge(published.project, chapter, "laptop")
    assert found == ("checked by smoke", [changed])
    assert judge(published.project, chapter, "smoke") == found
    # ... but not if the smoke numbers that belong to it were others
    rewrite(published, LAPTOP, lambda r: r.update(smoke="0" * 16))
    found = judge(published.project, chapter, "laptop")
    assert found == ("stale", [changed, "the smoke numbers stored now are others"])
    rewrite(published, SMOKE, lambda r: r.update(agrees=["0" * 16]))  # ... unless these agree
    assert judge(published.project, chapter, "laptop").name == "checked by smoke"
    publish(published.project, chapter, "smoke")
    shutil.rmtree(published.root / "_build")  # a clone: what is stored tells
    assert judge(published.project, chapter, "laptop") == ("checked by smoke", [changed])
    assert judge(published.project, chapter, "smoke") == ("current", [])


def test_smoke_numbers_that_differ_vouch_for_nothing(published: Book) -> None:
    [chapter] = published.project.chapters()
    published.edit("../medbook/evaluate/stats.py", HELPER, "SIGN_TEST_N = 5")
    execute.run([make_plan(published.project, "smoke")], [chapter], Console())
    rewrite(published, SMOKE, lambda r: r["metrics"]["images"].update(values=[601.0]))
    smoke = results.load(published.root / SMOKE)
    rewrite(published, LAPTOP, lambda r: r.update(smoke=results.numbers(smoke)))
    found = judge(published.project, chapter, "laptop")
    assert found == ("stale", ["stats.SIGN_TEST_N", "smoke metrics/images differs"])


def test_verify_takes_no_smoke_trial_from_the_store(published: Book) -> None:
    [chapter] = published.project.chapters()
    plan = make_plan(published.project, "smoke")
    execute.run([plan], [chapter], Console(), force=True)
    assert outdated(plan, chapter) == []
    fresh = make_plan(published.project, "smoke", fresh=True)
    assert outdated(fresh, chapter) == ["it took trials from the store"]
    assert check(published) == verify.Report()
    assert outdated(fresh, chapter) == []


def test_trials_computed_again_must_give_the_same(published: Book) -> None:
    chapters = published.project.chapters()
    [sampled] = check_trials(published.project, chapters, 2, Console())
    assert (sampled.trials, sampled.failures) == (2, [])
    plan = make_plan(published.project, "laptop")
    stored, notebook = load_run(plan, chapters[0])
    stored["metrics"]["accuracy"]["values"][0] += 0.1  # as if a trial gave something else then
    execute._store(plan, chapters[0], stored, nbformat.writes(notebook))
    [sampled] = check_trials(published.project, chapters, 9, Console())
    assert sampled == (chapters[0], 3, ["clean: metrics/accuracy differs"])
    shutil.rmtree(published.project.trials)
    with pytest.raises(MedbookError, match="run `medbook run clean --profile laptop`"):
        check_trials(published.project, chapters, 1, Console())


def test_a_revised_claim_is_stale_whatever_smoke_says(published: Book) -> None:
    [chapter] = published.project.chapters()
    published.edit("book/claims/clean.yml", "margin: 0.1", "margin: 0.05")
    found = judge(published.project, chapter, "laptop")
    assert found == ("stale", ["claim clean-1"])
    messages = unsound(published.project, chapter, "laptop")
    assert [text for text in messages if "should be" not in text] == [
        f"{LAPTOP}: claims/clean-1: revised after the result: run again with a new base seed",
        f"{NOTEBOOK}: its card is not of the stored results: publish the chapter again",
    ]


def test_a_claim_without_a_value_is_named(published: Book) -> None:
    published.edit("book/claims/clean.yml", "- id: clean-1", "- id: clean-2")
    [chapter] = published.project.chapters()
    messages = unsound(published.project, chapter, "smoke")
    assert messages == [
        f"{SMOKE}: claims/clean-2: stands in book/claims/clean.yml but has no value",
        f"{SMOKE}: claims/clean-1: has a value but does not stand in book/claims/clean.yml",
    ]


def test_a_chapter_that_peeks_at_the_test_labels_is_caught(published: Book) -> None:
    shutil.rmtree(published.project.notebooks)  # only the leak check is of interest
    published.add("peek", PEEK, claims=("peek-1",))
    failures = check(published, "peek", leaks=True).failures
    where = "chapters/trust/peek.py"
    assert f"{where}: metrics/validation accuracy depends on the test labels" in failures
    parts = "(weights, validation, learned)"
    assert f"{where}: arms/filter {parts} depends on the test labels" in failures
    assert not any("metrics/accuracy " in failure for failure in failures)  # of course it does


def test_a_leak_check_that_shows_nothing_says_so(published: Book) -> None:
    published.add("idle", quick("idle"))
    report = verify.Report()
    chapters = published.project.select(["idle"])
    verify.check_leaks(published.project, chapters, Console(), report)
    assert report.failures == []
    assert report.notes == [
        'chapters/trust/idle.py: no metric on "test" changed: the check shows nothing'
    ]


def test_a_chapter_without_fixed_seeds_is_not_called_leaking(published: Book) -> None:
    published.add("loose", quick("loose", metrics='{"noise": {"on": "train", "x": time.time()}}'))
    report = verify.Report()
    chapters = published.project.select(["loose"])
    verify.check_leaks(published.project, chapters, Console(), report)
    assert report.failures == [
        "chapters/trust/loose.py: two equal smoke runs differ: seed every generator"
    ]


def test_publishing_again_changes_nothing(published: Book) -> None:
    [chapter] = published.project.chapters()
    before = {path: (published.root / path).read_bytes() for path in (SMOKE, LAPTOP, NOTEBOOK)}
    publish(published.project, chapter, "laptop")
    publish(published.project, chapter, "smoke")
    assert {path: (published.root / path).read_bytes() for path in before} == before


def test_a_smoke_run_beyond_its_budget_is_named(published: Book) -> None:
    [chapter] = published.project.chapters()
    run = {"profile": "smoke", "seconds": 59.0, "peak_mib": 1500}
    assert verify.over_budget(chapter, run) == []  # a busy machine
    slow, large = verify.over_budget(chapter, run | {"seconds": 61.0, "peak_mib": 1600})
    assert "seconds 61.0" in slow and "peak_mib 1600" in large
    assert verify.over_budget(chapter, run | {"profile": "laptop", "seconds": 999.0}) == []


def test_times_are_no_leak() -> None:
    def with_metrics(value: float) -> dict:
        common = {"values": [value], "on": "nothing", "kind": "seeded"}
        units = {"time": "s", "error": "mm"}
        return {"metrics": {name: common | {"unit": u} for name, u in units.items()}, "arms": []}

    assert verify.leaking(with_metrics(1.0), with_metrics(2.0)) == ["metrics/error"]

"""The command line: one clear line for what a reader can mend, and the right exit code."""

import subprocess
import sys

import pytest
from book_fixtures import BROKEN, Book, quick

from medbook import paths
from medbook._book import cli, status


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Run the command; its exit code, its output, its messages."""

    def run(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["medbook", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capsys.readouterr()
        return end.value.code or 0, out, err

    return run


def test_outside_a_checkout_the_error_is_one_line(call, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = call("status")
    assert code == 2 and out == ""
    assert err.count("\n") == 1 and "lies in no checkout of the book" in err


@pytest.mark.parametrize("command", ["run", "verify", "publish", "lint"])
def test_an_unknown_chapter_is_named_with_those_near_it(call, book, monkeypatch, command) -> None:
    book.add("unlearnable", quick("unlearnable"))
    monkeypatch.chdir(book.root)
    code, _, err = call(command, "unlernable")
    assert code == 2 and "there is no chapter 'unlernable'; near it: unlearnable" in err


def test_an_unknown_profile_is_refused(call, book, monkeypatch) -> None:
    monkeypatch.chdir(book.root)
    code, _, err = call("run", "--profile", "desktop")
    assert code == 2 and "unknown profile 'desktop'" in err


def test_chapters_stand_in_the_order_of_the_contents(book: Book) -> None:
    for id in ("a", "scan", "scan_ct", "unlisted"):
        book.add(id, quick(id))
    lines = "".join(f"      - file: book/notebooks/{id}\n" for id in ("scan_ct", "scan", "a"))
    toc = f"format: jb-book\nroot: book/intro\nparts:\n  - chapters:\n{lines}"
    (book.root / "_toc.yml").write_text(toc)
    assert [c.id for c in book.project.chapters()] == ["scan_ct", "scan", "a", "unlisted"]


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_help_lists_the_commands(call, arguments) -> None:
    code, out, _ = call(*arguments)
    assert code == 0
    for command in ("run", "verify", "publish", "site", "lint", "new", "status"):
        assert command in out


def test_an_error_of_the_system_names_the_file_and_what_helps(call, book, monkeypatch) -> None:
    monkeypatch.chdir(book.root)
    (book.root / "_toc.yml").unlink()
    (book.root / "_toc.yml").symlink_to("chapters")  # a folder where a file should be
    code, _, err = call("status")
    assert (code, err) == (2, f"error: {book.root}/_toc.yml cannot be used: Is a directory\n")


def test_other_exceptions_are_bugs_and_keep_their_traceback(call, monkeypatch) -> None:
    def bug() -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(cli, "find_project", bug)
    with pytest.raises(KeyError, match="a bug"):
        call("status")


@pytest.mark.slow
def test_run_tells_what_it_did_and_fails_with_the_chapter(call, book: Book, monkeypatch) -> None:
    book.add("broken", BROKEN)
    book.add("working", quick("working"))
    monkeypatch.chdir(book.root)
    code, out, err = call("run", "--profile", "smoke", "--out", "pool", "--seed", "2")
    assert code == 2
    assert "working (seed 2): ran" in out and "broken (seed 2): failed" in out
    assert err.startswith("failed: chapters/trust/broken.py:")
    assert (book.root / "pool/smoke-seed2/working.smoke.json").exists()
    code, out, _ = call("run", "working", "--profile", "smoke", "--out", "pool", "--seed", "2")
    assert (code, out) == (0, "working (seed 2): up to date\n")
    code, out, _ = call("run", "working", "--profile", "smoke", "--out", "pool", "--force")
    assert code == 0 and "working: ran" in out


@pytest.mark.slow
def test_verify_and_publish_and_status_of_a_published_book(call, published: Book) -> None:
    code, out, err = call("verify")
    assert (code, err) == (0, "") and "verified: clean; 30 numbers compared" in out
    assert out.splitlines()[0] == "clean: up to date, numbers equal 30 of 30"
    assert "| metrics/images |" not in out
    row = "| metrics/images | 600 | 600 | equal |"
    assert row in (published.root / "_build/verify/clean.smoke.md").read_text()
    assert row in call("verify", "--verbose")[1]
    code, out, _ = call("publish", "clean", "--profile", "laptop")
    assert code == 0 and "wrote book/results/clean.laptop.json" in out
    assert "1 claims" in (published.root / "README.md").read_text()
    published.edit("book/results/clean.smoke.json", '"n_train": 200', '"n_train": 201')
    code, _, err = call("verify")
    assert code == 2
    assert "failed: book/results/clean.smoke.json: changed after it was measured" in err
    code, out, _ = call("status")
    assert code == 0 and "current" in out and "pneumoniamnist" in out and "cores" in out


def test_status_says_how_to_mend_what_would_fail(book: Book, monkeypatch) -> None:
    book.add("one", quick("one"))
    monkeypatch.setattr(status, "find_spec", lambda name: None if name == "nbval" else object())
    monkeypatch.setattr(status.profiles, "memory_gib", lambda: 2.0)
    monkeypatch.setattr(status.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(status, "DISK_GIB", 1e9)
    monkeypatch.setattr(status, "real_files", lambda name: [])
    monkeypatch.setenv("MEDBOOK_DATA", str(book.root / "nowhere"))
    monkeypatch.setenv("MEDBOOK_OFFLINE", "1")
    (book.root / "ci/lock.txt").write_text("# a comment\nnumpy==0.1\nrich==0.1 ; python\nnone==1\n")
    found = dict(status.problems(book.project))
    assert next(iter(found)) == "nbval is not installed"
    assert "2.0 GiB of memory, laptop may take 6.0" in found
    assert not any("smoke may take" in problem for problem in found)
    assert "no CUDA device, profile gpu does not run" in found
    assert any("GiB of disk left" in problem for problem in found)
    assert any(f"MEDBOOK_DATA is {book.root}/nowhere" in problem for problem in found)
    assert found["pneumoniamnist: laptop takes the twin"].startswith("unset MEDBOOK_OFFLINE")
    [lock] = [problem for problem in found if "ci/lock.txt" in problem]
    assert "numpy" in lock and "rich" in lock and "none" not in lock


def test_a_healthy_machine_has_no_problems(book: Book, monkeypatch) -> None:
    monkeypatch.setattr(status.profiles, "memory_gib", lambda: 16.0)
    monkeypatch.setattr(status.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(status, "DISK_GIB", 0.0)
    monkeypatch.setattr(status, "find_spec", lambda name: object())
    monkeypatch.delenv("MEDBOOK_DATA", raising=False)
    (book.root / "ci/lock.txt").unlink()
    assert list(status.problems(book.project)) == []


def test_chapters_do_not_load_the_build_tool() -> None:
    tools = ("typer", "papermill", "sphinx", "nbformat")
    code = f"import sys, medbook; print([name for name in {tools} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=paths.PACKAGE.parent, capture_output=True, text=True
    )
    assert done.stdout == "[]\n"


def test_status_promises_no_download_that_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEDBOOK_OFFLINE", raising=False)
    assert status._without_file("mednist") == "twin (there is no public mirror)"
    assert status._without_file("pneumoniamnist") == "download, else twin"
    monkeypatch.setenv("MEDBOOK_OFFLINE", "1")
    assert status._without_file("pneumoniamnist") == "twin"

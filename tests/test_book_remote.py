"""Where a book is served: the address of its git remote, and links made from it."""

import subprocess

import pytest
from book_fixtures import Book

from medbook._book.remote import Remote, find_remote, parse

NOTEBOOK, SOURCE = "book/notebooks/one.ipynb", "chapters/trust/one.py"


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("https://github.com/owner/name", "https://github.com/owner/name"),
        ("https://github.com/owner/name.git", "https://github.com/owner/name"),
        ("https://github.com/owner/name/", "https://github.com/owner/name"),
        ("https://ann:secret@GitHub.com/owner/name.git", "https://github.com/owner/name"),
        ("http://example.org:8080/owner/name", "https://example.org:8080/owner/name"),
        ("git@github.com:owner/name.git", "https://github.com/owner/name"),
        ("github.com:owner/na.me", "https://github.com/owner/na.me"),
        ("ssh://git@github.com/owner/name.git", "https://github.com/owner/name"),
        ("ssh://git@example.org:2222/owner/name.git", "https://example.org/owner/name"),
        ("git://example.org/owner/name.git", "https://example.org/owner/name"),
        ("git@gitlab.com:group/sub/name.git", "https://gitlab.com/group/sub/name"),
    ],
)
def test_addresses_of_the_web(address: str, url: str) -> None:
    found = parse(address)
    assert found and Remote(*found, "main").url == url


@pytest.mark.parametrize(
    "address",
    ["", "/srv/git/name.git", "../name", "file:///srv/name.git", r"C:\git\name", "C:/git/name",
     "work:owner/name", "https://github.com/", "https://github.com/owner", "ssh:///owner/name"],
)  # fmt: skip
def test_other_addresses_are_none(address: str) -> None:
    assert parse(address) is None


def test_the_branch_is_the_default_one_else_the_current_one(book: Book) -> None:
    assert find_remote(book.root) is None
    book.served_at("git@github.com:fork/book.git")
    remote = find_remote(book.root)
    assert remote and (remote.url, remote.branch) == ("https://github.com/fork/book", "main")
    git = ["git", "-C", str(book.root), "symbolic-ref"]
    subprocess.run([*git, "HEAD", "refs/heads/a/draft"], check=True)
    assert find_remote(book.root) == Remote("github.com", "fork/book", "a/draft")
    subprocess.run([*git, "refs/remotes/origin/HEAD", "refs/remotes/origin/trunk"], check=True)
    assert find_remote(book.root) == Remote("github.com", "fork/book", "trunk")


def test_the_repository_around_a_folder_is_not_taken_for_its_own(book: Book) -> None:
    book.served_at("https://github.com/someone/else")
    assert find_remote(book.root / "chapters") is None


def test_without_git_there_is_no_remote(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    book.served_at("https://github.com/owner/name")
    monkeypatch.setenv("PATH", str(book.root))
    assert find_remote(book.root) is None


def test_github_opens_notebooks_everywhere() -> None:
    assert Remote("github.com", "owner/name", "main").ways_in(NOTEBOOK, SOURCE) == {
        "Open in Colab": "https://colab.research.google.com/github/owner/name/blob/main/"
        "book/notebooks/one.ipynb",
        "Open in Binder": "https://mybinder.org/v2/gh/owner/name/main"
        "?labpath=book%2Fnotebooks%2Fone.ipynb",
        "Download": f"https://github.com/owner/name/raw/main/{NOTEBOOK}",
        "Source": f"https://github.com/owner/name/blob/main/{SOURCE}",
    }  # fmt: skip


def test_gitlab_opens_them_in_binder_only() -> None:
    ways = Remote("gitlab.com", "group/sub/name", "a/b").ways_in(NOTEBOOK, SOURCE)
    assert list(ways) == ["Open in Binder", "Download", "Source"]
    assert ways["Open in Binder"].startswith("https://mybinder.org/v2/gl/group%2Fsub%2Fname/a%2Fb?")
    assert ways["Download"] == f"https://gitlab.com/group/sub/name/-/raw/a/b/{NOTEBOOK}"
    own = Remote("gitlab.example.org", "group/name", "main").ways_in(NOTEBOOK, SOURCE)
    assert list(own) == ["Download", "Source"]  # mybinder.org builds from gitlab.com only


@pytest.mark.parametrize("host", ["example.org", "notgitlab.example.org", "github.com.example.org"])
def test_another_host_gets_a_link_to_the_repository(host: str) -> None:
    ways = Remote(host, "owner/name", "main").ways_in(NOTEBOOK, SOURCE)
    assert ways == {"Source": f"https://{host}/owner/name"}

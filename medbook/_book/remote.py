"""Where the book's repository is served on the web, as the git remote of a checkout says."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

COLAB = "https://colab.research.google.com/github"
BINDER = "https://mybinder.org/v2"
# git@host:owner/name. A host without a dot is a name of somebody's ssh configuration, or a drive.
SCP_FORM = re.compile(r"(?:[^@/]+@)?([\w-]+(?:\.[\w-]+)+):(?!/)(.+)")


@dataclass(frozen=True)
class Remote:
    """A repository: `https://<host>/<path>`, links leading to one branch of it."""

    host: str
    path: str
    branch: str

    @property
    def url(self) -> str:
        """Address of the repository."""
        return f"https://{self.host}/{self.path}"

    @property
    def service(self) -> str:
        """Whose addresses of files are known: "github", "gitlab", or "" for another host."""
        if self.host == "github.com":
            return "github"
        return "gitlab" if "gitlab" in self.host.split(".") else ""

    def file(self, path: str, view: str = "blob") -> str:
        """Address of a file: to be read ("blob") or downloaded ("raw"); else of the repository."""
        place = f"{view}/{quote(self.branch)}/{quote(path)}"
        return {
            "github": f"{self.url}/{place}",
            "gitlab": f"{self.url}/-/{place}",
        }.get(self.service, self.url)

    def ways_in(self, notebook: str, source: str) -> dict[str, str]:
        """Addresses that open a notebook: Colab and Binder where they can, download, source.

        Args:
            notebook: path of the notebook in the repository.
            source: path of the chapter's source.
        """
        branch = quote(self.branch, safe="")
        lab = f"{branch}?labpath={quote(notebook, safe='')}"
        ways = {}
        if self.service == "github":
            ways["Open in Colab"] = f"{COLAB}/{self.path}/blob/{quote(self.branch)}/{notebook}"
            ways["Open in Binder"] = f"{BINDER}/gh/{self.path}/{lab}"
        if self.host == "gitlab.com":
            ways["Open in Binder"] = f"{BINDER}/gl/{quote(self.path, safe='')}/{lab}"
        if self.service:
            ways["Download"] = self.file(notebook, "raw")
        return ways | {"Source": self.file(source)}


def find_remote(root: Path) -> Remote | None:
    """The repository that `origin` of a checkout names; None if that is no address on the web.

    Args:
        root: top folder of the checkout.
    """
    found = parse(_git(root, "remote", "get-url", "origin"))
    if not found:
        return None
    default = _git(root, "symbolic-ref", "--short", "refs/remotes/origin/HEAD")
    current = _git(root, "symbolic-ref", "--short", "HEAD")
    return Remote(*found, default.removeprefix("origin/") or current or "main")


def parse(address: str) -> tuple[str, str] | None:
    """Host and path of a git address; user, password and the port of ssh are left out.

    >>> parse("git@github.com:owner/name.git")
    ('github.com', 'owner/name')
    >>> parse("/srv/git/name.git")
    """
    if scp := SCP_FORM.fullmatch(address):
        host, path = scp.groups()
    else:
        parts = urlsplit(address)
        if parts.scheme not in ("https", "http", "ssh", "git") or not parts.hostname:
            return None
        web = parts.scheme in ("https", "http")
        host = f"{parts.hostname}:{parts.port}" if web and parts.port else parts.hostname
        path = parts.path
    path = path.strip("/").removesuffix(".git")
    return (host.lower(), path) if "/" in path else None


def _git(root: Path, *arguments: str) -> str:
    """What a git command prints; nothing if it fails, or if there is no git or no repository."""
    command = ["git", f"--git-dir={root / '.git'}", *arguments]  # not a repository further up
    try:
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""

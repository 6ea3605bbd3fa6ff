"""A tiny book in a temporary folder, with chapters that run in a second or two."""

import subprocess
from pathlib import Path
from textwrap import dedent

from medbook._book.project import Project

HEAD = """\
# ---
# jupyter:
#   kernelspec: {{display_name: Python 3, language: python, name: python3}}
#   medbook:
#     title: {title}
#     summary: A fixture.
#     systems: [{systems}]
#     data: [pneumoniamnist]
#     level: easy
#     prerequisites: []
# ---

# %% [markdown]
# # {title}

# %% tags=["parameters"]
profile = "auto"
seed = 0
"""

# Difference of the class means as a filter, with the threshold that is best on the `tune` split.
CLEAN = """
# %%
import medbook

run = medbook.start("clean", profile, seed)
data = run.load("pneumoniamnist")
tune = data.val

# %% tags=["define"]
import hashlib
from dataclasses import dataclass

import torch
from medbook.data.record import Record, Split
from medbook.evaluate.stats import t_interval
from medbook.learn.training import TrainingLog

CANDIDATES = 41

@dataclass(frozen=True)
class Job:
    data: Record
    tune: Split
    seed: int

def flat(split):
    return split.images.flatten(1).double() / 255  # (N, D)

def accuracy(scores, labels, threshold):
    return float(t_interval(((scores > threshold).long() == labels).double()).mean)

def trial(job):
    train = job.data.train.balanced(200, seed=job.seed)
    x = flat(train)
    w = x[train.labels == 1].mean(0) - x[train.labels == 0].mean(0)  # (D,)
    thresholds = (x @ w).quantile(torch.linspace(0, 1, CANDIDATES, dtype=torch.float64))
    best = max(thresholds, key=lambda t: accuracy(flat(job.tune) @ w, job.tune.labels, t))
    found = [accuracy(flat(s) @ w, s.labels, best) for s in (job.data.val, job.data.test)]
    digest = hashlib.sha256(f"{w.sum():.9f} {best:.9f}".encode()).hexdigest()[:16]
    right = ((flat(job.data.test) @ w > best).long() == job.data.test.labels).double()
    return TrainingLog((), len(train), 1, len(w) + 1, 0.1, digest), *found, right

# %% tags=["nbval-check-output"]
print(tuple(data.train.images.shape[1:]))

# %%
seeds = run.seeds(run.scale(smoke=2, laptop=3, gpu=3))
outcomes = run.map(trial, [Job(data, tune, s) for s in seeds])
logs, validation, test, right = zip(*outcomes)
run.arm("filter", logs, validation=validation, floor=0.5)
run.arm("zero")

# %%
run.record("validation accuracy", validation, on="validation", arm="filter")
run.record("accuracy", test, on="test", arm="filter")
units = torch.arange(len(data.test))
run.record("right", torch.stack(right), on="test", arm="filter", units=units)
run.record("zero", [0.0] * len(test), on="nothing", arm="zero")
run.record("images", len(data.train), on="nothing", kind="exact")
run.claim("clean-1", ours="accuracy", baseline="zero")

# %%
print(run.finish().name)
"""

# The same, but the threshold is chosen on the test labels.
PEEK = CLEAN.replace("tune = data.val", "tune = data.test").replace("clean", "peek")

# Writes its results without medbook, to be quick; `wait` is a file that makes it hang.
QUICK = """
# %%
import hashlib, json, os, time
from pathlib import Path

while Path("{wait}").exists():
    time.sleep(0.05)

# %%
results = {{
    "schema": 2, "chapter": "{id}", "profile": profile, "seed": seed, "environment": {{}},
    "seconds": 0.1, "peak_mib": 1, "device_mib": 0, "data": [], "arms": [], "metrics": {metrics},
    "claims": [],
}}
text = json.dumps(results, sort_keys=True)
results["digest"] = hashlib.sha256(text.encode()).hexdigest()[:16]
path = Path(os.environ["MEDBOOK_OUT"]) / f"{id}.{{profile}}.json"
path.write_text(json.dumps(results))
"""

# One claim without any data, to be quick.
CLAIMING = """
# %%
import medbook

run = medbook.start("{id}", profile, seed)
run.seeds(2)
run.arm("filter")
run.arm("zero")
run.record("one", [1.0, 2.0], on="nothing", arm="filter")
run.record("none", [0.0, 0.0], on="nothing", arm="zero")
# %%
run.claim("{claim}", ours="one", baseline="none")
# %%
run.finish()
"""

BROKEN = """
# %%
# a comment first
x = 1
raise ValueError("this cell raises")
"""

KILLED = """
# %%
import os, signal
from pathlib import Path

log = Path("{log}")
log.write_text((log.read_text() if log.exists() else "") + "started ")
if log.read_text().count("started") <= {deaths}:
    os.kill(os.getpid(), signal.SIGKILL)
"""

CLAIM = """
  - id: {id}
    statement: The filter is right at all.
    kind: greater
    metric: accuracy
    better: higher
    margin: {margin}
    arms: {{ours: filter, baseline: zero}}
    data: pneumoniamnist
    profile: laptop
    paper: not stated
    margin_from: the smallest difference that a reader would notice
"""


class Book:
    """Builder of a project: chapters are added to part `trust`."""

    root: Path

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("chapters/trust", "book/claims", "book/results", "book/notebooks", "ci"):
            (root / folder).mkdir(parents=True)
        (root / "_toc.yml").write_text("format: jb-book\nroot: book/intro\n")
        (root / "_config.yml").write_text("title: A book\n")
        (root / "ci/lock.txt").write_text("numpy==2.0\n")
        (root / "book/systems.yml").write_text("[]\n")
        (root / "README.md").write_text("<!-- systems -->\n<!-- /systems -->\n")

    @classmethod
    def at(cls, root: Path) -> "Book":
        """A book that was made before."""
        book = cls.__new__(cls)
        book.root = root
        return book

    @property
    def project(self) -> Project:
        return Project(self.root)

    def source(self, chapter: str) -> Path:
        return self.root / f"chapters/trust/{chapter}.py"

    def add(self, chapter: str, cells: str, *, claims: tuple[str, ...] = ()) -> None:
        """Add a chapter and a system `<chapter>` with the claims of these ids."""
        head = HEAD.format(title=chapter.capitalize(), systems=chapter)
        self.source(chapter).write_text(head + dedent(cells))
        systems = self.root / "book/systems.yml"
        before = systems.read_text().removeprefix("[]\n")
        entry = (
            f"- slug: {chapter}\n  title: About {chapter}\n  authors: [Someone]\n  year: 2024\n"
            f'  links: {{paper: "https://example.org/{chapter}"}}\n  part: trust\n'
            f"  chapter: {chapter}\n"
        )
        systems.write_text(before + entry)
        if claims:
            texts = "".join(CLAIM.format(id=id, margin=0.1) for id in claims)
            (self.root / f"book/claims/{chapter}.yml").write_text(f"{chapter}:\n  claims:{texts}")

    def served_at(self, address: str) -> None:
        """Make the book a git repository, on branch main, whose `origin` has this address."""
        for command in (["init", "-q", "-b", "main"], ["remote", "add", "origin", address]):
            subprocess.run(["git", "-C", str(self.root), *command], check=True)

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace a text that must be there."""
        file = self.root / path
        text = file.read_text()
        assert old in text, f"{path} does not contain {old!r}"
        file.write_text(text.replace(old, new))


def quick(id: str, wait: str = "/nonexistent", metrics: str = "{}") -> str:
    return QUICK.format(id=id, wait=wait, metrics=metrics)

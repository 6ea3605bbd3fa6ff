"""Workflows call scripts and nothing else; the scripts refuse early and write where they say."""

import importlib.util
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement

from medbook._book.notebooks import surroundings
from medbook._book.remote import Remote

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
SCRIPTS = [ROOT / ".ci/run", *sorted((ROOT / "ci").glob("*.sh"))]
SOURCED = "env.sh"
CALL = re.compile(r"bash (\.ci/run|ci/[\w-]+\.sh)( [\w.${} -]+)?")
PINNED = re.compile(r"[\w-]+/[\w-]+@[0-9a-f]{40}")


def workflow(path: Path) -> dict:
    return yaml.load(path.read_text(), yaml.BaseLoader)  # `on` stays a string


def jobs(path: Path) -> dict[str, dict]:
    return workflow(path)["jobs"]


def steps(path: Path) -> list[dict]:
    return [step for job in jobs(path).values() for step in job.get("steps", [])]


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"ci_{name}", ROOT / f"ci/{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_there_are_workflows_for_changes_weeks_and_releases():
    assert [path.name for path in WORKFLOWS] == ["release.yml", "test.yml", "weekly.yml"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_only_call_scripts_that_exist(path):
    runs = [step["run"] for step in steps(path) if "run" in step]
    calls = [CALL.fullmatch(run) for run in runs]
    assert runs and all(calls), runs
    assert all((ROOT / call[1]).is_file() for call in calls)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_use_pinned_actions(path):
    used = [step["uses"] for step in steps(path) if "uses" in step]
    assert used and all(PINNED.fullmatch(action) for action in used), used


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_get_few_rights_and_little_time(path):
    assert workflow(path)["permissions"] == {} and "concurrency" in workflow(path)
    for job in jobs(path).values():
        assert "permissions" in job
        assert "uses" in job or int(job["timeout-minutes"]) <= 90
    writing = {name for name, job in jobs(path).items() if "write" in job["permissions"].values()}
    assert writing == ({"pages", "attach"} if path.name == "release.yml" else set())


@pytest.mark.parametrize(("name", "job"), [("weekly", "notebooks"), ("release", "build")])
def test_every_week_and_before_a_release_all_notebooks_are_executed(name, job):
    calls = [step.get("run") for step in jobs(ROOT / f".github/workflows/{name}.yml")[job]["steps"]]
    assert "bash ci/notebooks.sh" in calls
    assert "bash ci/release.sh" not in calls[: calls.index("bash ci/notebooks.sh")]
    assert "medbook verify --notebooks all\n" in (ROOT / "ci/notebooks.sh").read_text()


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_stop_at_the_first_failure(path):
    code = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    if path.name == SOURCED:
        assert not os.access(path, os.X_OK)
    else:
        assert code[0] == "set -euo pipefail" and os.access(path, os.X_OK)


def test_the_oldest_versions_are_the_lower_bounds_of_what_users_install():
    pyproject = """
        [project]
        dependencies = ["numpy>=1.24", "torch >= 2.2", "types"]
        [project.optional-dependencies]
        book = ["jupyter-book>=1.0.4,<2"]
        test = ["pytest>=8"]
    """
    assert script("oldest").constraints(pyproject) == [
        "numpy==1.24", "torch==2.2", "jupyter-book==1.0.4",
    ]  # fmt: skip
    whole = script("oldest").constraints((ROOT / "pyproject.toml").read_text())
    assert {"torch", "numpy", "torchmetrics", "jupyter-book"} <= {x.split("==")[0] for x in whole}


def test_binder_and_conda_get_the_locked_versions_without_cuda():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *conda, pip = environment["dependencies"]
    assert "python=3.11" in conda
    assert pip["pip"][:2] == [
        "--extra-index-url https://download.pytorch.org/whl/cpu",
        "-c ci/lock.txt",
    ]
    assert "-e .[book]" in pip["pip"]
    # Nothing here may need another version than the lock gives. torchvision is not in the lock.
    named = {Requirement(line).name for line in pip["pip"] if not line.startswith("-")}
    assert named == {"torchvision"}


def test_colab_runs_the_install_cell_of_the_notebooks():
    remote = Remote("example.org", "someone/book", "main")
    cell = surroundings._install_cell(remote)
    assert script("colab").install_cell(ROOT, remote.url) == cell.source


def test_colab_replaces_the_install_cell_and_keeps_the_others():
    v4 = nbformat.v4
    cells = [v4.new_code_cell("old", id="install"), v4.new_code_cell("x = 1", id="cell-1")]
    notebook = v4.new_notebook(cells=cells, metadata={"colab": {}})
    made = script("colab").prepared(notebook, "new")
    assert [cell.source for cell in made.cells] == ["import google.colab", "new", "x = 1"]
    assert made.metadata == notebook.metadata


def test_colab_installs_what_a_shallow_checkout_has_committed(tmp_path):
    full, shallow = tmp_path / "full", tmp_path / "a bü"
    full.mkdir()

    def git(*arguments: object) -> None:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *map(str, arguments)]
        subprocess.run(command, cwd=full, check=True, timeout=60)

    git("init", "-q")
    for number in ("first", "second"):
        (full / "file").write_text(number)
        git("add", "file")
        git("commit", "-q", "-m", number)
    git("clone", "-q", "--depth=1", full.as_uri(), shallow)
    (shallow / "file").write_text("not committed")
    (tmp_path / "work").mkdir()
    url = script("colab").repository(shallow, tmp_path / "work")
    git("clone", "-q", "--filter=blob:none", f"{url}.git", tmp_path / "as pip")
    assert (tmp_path / "as pip/file").read_text() == "second"


def test_colab_names_what_an_installation_changed():
    before, after = (
        {"torch": "2", "numpy": "1", "tqdm": "4"},
        {"torch": "2", "numpy": "2", "new": "1"},
    )
    assert script("colab").changed(before, after) == ["numpy 1 -> 2", "tqdm 4 -> None"]


def test_needed_leaves_out_what_the_node_has_and_what_only_that_needs(tmp_path):
    needed = script("needed")
    freeze = tmp_path / "node.txt"
    freeze.write_text("# node\nScikit_Learn==1.0\n-e /some/where\nmatplotlib @ file:///x.whl\n")
    assert needed.frozen(freeze) == {"scikit-learn", "matplotlib"}
    everything = needed.needed(Requirement("medbook[book]"), "3.12.3", needed.THE_NODES_OWN)
    assert {"papermill", "jupytext", "monai", "matplotlib", "kiwisolver"} <= set(everything)
    assert not {"torch", "numpy", "sympy", "medbook", "hypothesis"} & set(everything)
    without = needed.THE_NODES_OWN | {"matplotlib"}
    fewer = needed.needed(Requirement("medbook[book]"), "3.12.3", without)
    assert {"matplotlib", "kiwisolver"} <= set(everything) - set(fewer)
    assert set(fewer) < set(everything)


# Stands for a node's Python: answers the questions of ci/gpu.sh, and writes what a run would.
FAKE_PYTHON = """\
#!/usr/bin/env bash
case "$*" in
    *"import torch"*) [[ $GPU == yes ]] || { echo "torch 2 sees no GPU" >&2; exit 1; } ;;
    *"medbook._book.cli"*)
        [[ "${*:3}" == "run $4 --profile gpu" ]] || exit 9
        if [[ $4 == slow ]]; then
            mkdir -p "$MEDBOOK_TRIALS"
            echo done >"$MEDBOOK_TRIALS/one"
            exec sleep 60
        fi
        echo "ran $4 with data in $MEDBOOK_DATA"
        if [[ $4 == broken ]]; then echo nb >_build/run/gpu/broken.failed.ipynb; exit 1; fi
        echo json >_build/run/gpu/$4.gpu.json
        echo nb >_build/run/gpu/$4.ipynb ;;
    *missing.py*) printf '%s\\n' "$2"/typer-1-py3-none-any.whl ;;
    *"pip"*" install "*) echo "$*" >>"$PIP_LOG" ;;
    *) echo "$*" ;;
esac
"""


@pytest.fixture
def node(tmp_path):
    """A checkout's scripts and two chapters on a node with a fake Python."""
    (tmp_path / "book ü/_build/run/gpu").mkdir(parents=True)
    (tmp_path / "book ü/chapters/trust").mkdir(parents=True)
    for chapter in ("broken", "filters"):
        (tmp_path / f"book ü/chapters/trust/{chapter}.py").write_text("")
    shutil.copytree(ROOT / "ci", tmp_path / "book ü/ci")
    python = tmp_path / "bin/python3"
    python.parent.mkdir()
    python.write_text(FAKE_PYTHON)
    python.chmod(0o755)
    return tmp_path


def gpu(node: Path, *chapters: str, **variables: str) -> subprocess.CompletedProcess:
    environment = {
        "PATH": f"{node / 'bin'}:{os.environ['PATH']}", "HOME": str(node), "GPU": "yes",
        "OUT": "out put", "MEDBOOK_DATA": "data", "PIP_LOG": str(node / "pip.log"),
    }  # fmt: skip
    command = ["bash", str(node / "book ü/ci/gpu.sh"), *chapters]
    return subprocess.run(
        command, cwd=node, env=environment | variables, capture_output=True, text=True
    )


def test_gpu_writes_flat_files_of_all_chapters_though_one_fails(node):
    done = gpu(node)
    assert done.returncode == 1, done.stderr
    made = {path.name: path.read_text() for path in (node / "out put").iterdir()}
    assert set(made) == {
        "filters.gpu.json", "filters.gpu.ipynb", "broken.gpu.failed.ipynb",
        "environment.txt", "log.txt",
    }  # fmt: skip
    assert f"ran filters with data in {node / 'data'}\n" in made["log.txt"]
    assert not (node / "pip.log").exists()


def test_gpu_runs_the_chapters_asked_for_with_what_was_missing(node):
    done = gpu(node, "filters", WHEELS="wheels")
    assert done.returncode == 0, done.stderr
    assert not list((node / "out put").glob("broken*"))
    [install] = (node / "pip.log").read_text().splitlines()
    assert "--no-index --no-deps" in install
    assert install.endswith(f"{node}/wheels/typer-1-py3-none-any.whl")


def test_gpu_keeps_what_is_done_before_the_limit_in_the_order_given(node):
    begun = time.monotonic()
    done = gpu(node, "filters", "slow", "broken", LIMIT="3")
    assert done.returncode == 2 and time.monotonic() - begun < 20
    made = {path.name: path for path in (node / "out put").iterdir()}
    assert set(made) == {
        "filters.gpu.json", "filters.gpu.ipynb", "trials", "environment.txt", "log.txt",
    }  # fmt: skip
    assert (made["trials"] / "one").read_text() == "done\n"
    assert made["log.txt"].read_text().splitlines() == [
        f"ran filters with data in {node / 'data'}",
        "slow: stopped at the limit of 3 s; its finished trials are kept",
        "broken: not begun, the limit of 3 s is over",
    ]


def test_gpu_runs_chapters_in_the_order_given(node):
    done = gpu(node, "filters", "broken", "edges", LIMIT="60")
    lines = (node / "out put/log.txt").read_text().splitlines()
    assert [line.split()[1] for line in lines] == ["filters", "broken", "edges"]
    assert done.returncode == 1 and (node / "out put/edges.gpu.json").exists()


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"GPU": "no"}, "torch 2 sees no GPU"),
        ({"LIMIT": "15 min"}, "LIMIT is 15 min: give whole seconds"),
        ({"OUT": ""}, "OUT is not set"),
        ({"PYTHON": "python9"}, "python9 is not on the PATH"),
    ],
)
def test_gpu_refuses_in_one_line_and_leaves_nothing(node, variables, line):
    done = gpu(node, **variables)
    assert done.returncode == 2 and line in done.stderr
    assert len(done.stderr.splitlines()) == 1 and done.stdout == ""
    assert not (node / "out put").exists()


def test_a_release_refuses_a_tag_of_another_version():
    tagged = os.environ | {"GITHUB_REF_TYPE": "tag", "GITHUB_REF_NAME": "v0.0.0"}
    done = subprocess.run(
        ["bash", "ci/release.sh"], cwd=ROOT, env=tagged, capture_output=True, text=True
    )
    assert done.returncode == 2 and "The tag is v0.0.0" in done.stderr

"""Which profile runs."""

import os
from pathlib import Path

import pytest
import torch

from medbook.errors import MedbookError
from medbook.record import profiles


@pytest.fixture(autouse=True)
def plain_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEDBOOK_PROFILE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(profiles, "memory_gib", lambda: 16.0)


def test_auto_prefers_the_variable_then_the_gpu_then_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert profiles.resolve() == "laptop"
    monkeypatch.setattr(profiles, "memory_gib", lambda: 2.0)
    assert profiles.resolve("auto") == "smoke"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert profiles.resolve() == "gpu"
    monkeypatch.setenv("MEDBOOK_PROFILE", "laptop")
    assert profiles.resolve() == "laptop"
    assert profiles.resolve("smoke") == "smoke", "a name that is asked for wins"


@pytest.mark.parametrize("given", ["auto", ""])
def test_the_variable_may_say_auto_or_nothing(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDBOOK_PROFILE", given)
    assert profiles.resolve() == "laptop"


@pytest.mark.parametrize("name", ["", "Smoke", "large"])
def test_unknown_profiles_are_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MedbookError, match="choose one of auto, smoke, laptop, gpu"):
        profiles.resolve(name)
    monkeypatch.setenv("MEDBOOK_PROFILE", "large")
    with pytest.raises(MedbookError, match=r"'large' \(from MEDBOOK_PROFILE\)"):
        profiles.resolve()


def test_gpu_needs_one() -> None:
    with pytest.raises(MedbookError, match="choose laptop"):
        profiles.resolve("gpu")


def test_choose() -> None:
    sizes = {"smoke": 20, "laptop": [600], "gpu": None}
    assert [profiles.choose(name, **sizes) for name in profiles.PROFILES] == [20, [600], None]


@pytest.mark.parametrize(("limit", "expected"), [("max", 8.0), (str(3 * 2**30), 3.0), (None, 8.0)])
def test_memory_is_what_the_container_may_use(
    limit: str | None, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2**21}.__getitem__)

    def limit_file(path: Path) -> str:
        if limit is None or path.name != "memory.max":
            raise FileNotFoundError(path)
        return limit

    monkeypatch.setattr(Path, "read_text", limit_file)
    assert profiles.memory_gib() == expected


def test_a_system_that_does_not_tell_its_memory_counts_as_a_laptop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()

    def unknown(name: str) -> int:
        raise ValueError(name)

    monkeypatch.setattr(os, "sysconf", unknown)
    assert profiles.memory_gib() > profiles.SMOKE_BELOW_GIB

"""One function over many items: order, numbers and thread settings stay the same."""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch

from medbook.trials.parallel import one_thread, peak_mib, side_by_side, threads


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def parallel_map(function: Callable[[Any], Any], items: Sequence[Any], jobs: int) -> list[Any]:
    """The values in the order of the items."""
    values = dict(side_by_side(function, items, jobs=jobs))
    return [values[k] for k in range(len(items))]


def train(seed: int) -> list[float]:
    """Numbers that depend on the order of summation, so on the number of threads."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(300, 300, generator=generator)
    for _ in range(3):
        x = torch.tanh(x @ x.T / 20)
    return x.sum(0)[:5].tolist()


def test_order_and_numbers_do_not_depend_on_jobs() -> None:
    seeds = [5, 1, 4]
    alone, together = parallel_map(train, seeds, jobs=1), parallel_map(train, seeds, jobs=2)
    assert together == alone
    assert alone[0] == parallel_map(train, [5], jobs=2)[0]
    assert len({tuple(values) for values in alone}) == 3


def test_closures_and_functions_of_a_notebook_work_in_processes() -> None:
    scope: dict = {"__name__": "__main__"}  # as a notebook defines its functions
    exec("import os\noffset = 10\ndef shifted(x):\n    return x + offset, os.getpid()", scope)
    values = parallel_map(scope["shifted"], [1, 2, 3], jobs=2)
    assert [value for value, _ in values] == [11, 12, 13]
    assert os.getpid() not in {process for _, process in values}
    factor = 3
    assert parallel_map(lambda x: factor * x, [1, 2], jobs=2) == [3, 6]


@pytest.mark.parametrize("jobs", [1, 2])
def test_each_item_gets_one_thread_and_the_caller_gets_his_back(jobs: int) -> None:
    assert parallel_map(lambda _: torch.get_num_threads(), [0, 1], jobs=jobs) == [1, 1]
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_of_an_item_reaches_the_caller(jobs: int) -> None:
    def fail(x: int) -> int:
        raise ZeroDivisionError(f"item {x}")

    with pytest.raises(ZeroDivisionError, match="item"):
        parallel_map(fail, [1, 2], jobs=jobs)
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("jobs", [1, 2])
def test_nothing_to_do(jobs: int) -> None:
    assert parallel_map(abs, [], jobs=jobs) == []


def test_one_thread_is_restored_after_an_error() -> None:
    with pytest.raises(KeyError), one_thread():
        assert torch.get_num_threads() == 1
        raise KeyError
    assert torch.get_num_threads() == 2


def test_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDBOOK_THREADS", "3")
    assert threads() == 3
    monkeypatch.delenv("MEDBOOK_THREADS")
    assert 1 <= threads() <= (os.cpu_count() or 1)


def test_peak_memory_grows_with_what_is_held() -> None:
    before = peak_mib()
    block = torch.ones((before + 200) * 2**20 // 4)  # more than was ever held, pages touched
    assert peak_mib() >= before + 200 > 200
    assert len(block)

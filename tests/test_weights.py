"""Pretrained weights: trained once, kept under a name that changes with the code."""

import pytest
import torch
from torch import nn

from medbook import chapter, pretrained
from medbook.errors import MedbookError

NAME = "unlearnable_examples/test-0"


class Counting:
    """Trains a small network, each time with other weights, and counts how often."""

    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return nn.Linear(3, 2)


def only(folder):
    (file,) = folder.rglob("*.safetensors")
    return file


def test_the_second_call_trains_nothing_and_gives_the_same_weights(tmp_path):
    train = Counting()
    first, second = (pretrained(NAME, train, tmp_path) for _ in range(2))
    assert train.calls == 1 and first.keys() == second.keys() == {"weight", "bias"}
    assert all(torch.equal(first[key], second[key]) for key in first)
    nn.Linear(3, 2).load_state_dict(second)


def test_another_name_is_another_network(tmp_path):
    train = Counting()
    one, other = (pretrained(f"unlearnable_examples/test-{k}", train, tmp_path) for k in (0, 1))
    assert train.calls == 2 and not torch.equal(one["weight"], other["weight"])


def test_weights_may_be_given_and_need_not_be_contiguous(tmp_path):
    wide = torch.arange(6.0).reshape(2, 3)
    given = {"a": wide.T, "b": torch.tensor(3), "c": wide.double(), "half": wide.bfloat16()}
    for _ in range(2):
        found = pretrained(NAME, lambda: given, tmp_path)
        assert all(torch.equal(found[k], given[k]) for k in given)
        assert all(found[k].dtype == given[k].dtype for k in given)


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"x" * 99])
def test_a_damaged_file_is_not_used(tmp_path, damage):
    train = Counting()
    pretrained(NAME, train, tmp_path)
    file = only(tmp_path)
    file.write_bytes(damage(file.read_bytes()))
    again = pretrained(NAME, train, tmp_path)
    assert train.calls == 2
    assert torch.equal(pretrained(NAME, train, tmp_path)["weight"], again["weight"])


def test_changed_definitions_are_trained_anew(tmp_path, monkeypatch):
    train = Counting()
    pretrained(NAME, train, tmp_path)
    source = chapter.defining_source
    monkeypatch.setattr(chapter, "defining_source", lambda text: source(text) + "\nx = 1")
    pretrained(NAME, train, tmp_path)
    assert train.calls == 2 and len(list(tmp_path.rglob("*.safetensors"))) == 2


def test_a_training_that_fails_leaves_nothing_behind(tmp_path):
    def fails():
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        pretrained(NAME, fails, tmp_path)
    assert not list(tmp_path.rglob("*.safetensors"))
    assert pretrained(NAME, Counting(), tmp_path)


@pytest.mark.parametrize("name", ["plain", "../up/x", "unlearnable_examples/../x", "a/b/c", "a/"])
def test_names_that_are_no_names_are_refused(tmp_path, name):
    with pytest.raises(MedbookError, match="named"):
        pretrained(name, Counting(), tmp_path)


def test_the_chapter_must_exist(tmp_path):
    with pytest.raises(MedbookError, match="no chapter"):
        pretrained("no_such_chapter/x", Counting(), tmp_path)


def test_the_cache_is_the_users(tmp_path, monkeypatch):
    monkeypatch.setattr("medbook.data.sources.pooch.os_cache", lambda name: tmp_path / name)
    pretrained(NAME, Counting())
    assert only(tmp_path).is_relative_to(tmp_path / "medbook/pretrained/unlearnable_examples")

"""Words, captions drawn, the text tower, and its guessing of hidden words."""

import pytest
import torch

from medbook.learn.text import MASK, PAD, UNKNOWN, TextTower, Words, one_of, read, words_of


def test_words_are_cut_as_said():
    assert words_of("No x-ray of 12 mm: 3.5!") == ["no", "x", "ray", "of", "1", "2", "mm", "3", "5"]
    assert words_of("") == []


def test_numbers_do_not_depend_on_the_order_of_sentences():
    some = ["a mass", "no nodule"]
    assert Words(some).number == Words(some[::-1]).number
    words = Words(some)
    assert len(words) == 5 + 4
    assert words(["nodule cat"], 3).tolist() == [[words.number["nodule"], UNKNOWN, PAD]]
    assert words(["a a a a"], 2).shape == (1, 2) and words([], 4).shape == (0, 4)


def test_captions_are_drawn_evenly_and_never_an_empty_one():
    words = Words(["a b c"])
    ways = words.ways([["a", "b"], ["c"]] * 2000, 3)
    torch.manual_seed(0)
    drawn = one_of(ways)
    assert drawn.shape == (4000, 1)  # cut to the longest that was drawn
    first = (drawn[0::2, 0] == words.number["a"]).float().mean()
    assert abs(first - 0.5) < 0.04 and (drawn[1::2, 0] == words.number["c"]).all()


def test_padding_changes_nothing():
    torch.manual_seed(0)
    tower = TextTower(12, width=16, heads=2).eval()
    short = torch.tensor([[5, 6, 7]])
    long = torch.tensor([[5, 6, 7, PAD, PAD]])
    torch.testing.assert_close(tower(short), tower(long))
    assert not torch.allclose(tower(short), tower(short.flip(1)))  # the order of words counts


@pytest.mark.slow
def test_hidden_words_are_guessed_better_with_time_and_without_peeping():
    torch.manual_seed(0)
    pairs = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12]]).repeat(32, 1)
    tower = TextTower(13, width=32, heads=2)
    log = read(tower, pairs, steps=150, seed=0, batch_size=32)
    assert log.losses[-1] < 0.3 < log.losses[0]
    hidden = pairs[:2].clone()
    hidden[:, 2] = MASK
    guess = (tower.eval().states(hidden) @ tower.words.weight.T)[:, 2].argmax(1)
    assert guess.tolist() == [7, 11]

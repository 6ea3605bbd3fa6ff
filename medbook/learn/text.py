"""Sentences for networks: a word-level tokenizer and a small transformer, both trained on the spot.

Sentences are numbers (n, T), int64, filled up with `PAD` on the right.
"""

import re
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medbook.learn.training import TrainingLog, fit

PAD, UNKNOWN, MASK, START, END = range(5)  # numbers that are no words
LENGTH, LONG = 24, 80  # words of a long sentence, of a long report


def words_of(sentence: str) -> list[str]:
    """Words in lower case, and digits one by one.

    >>> words_of("About 14 mm, left-sided.")
    ['about', '1', '4', 'mm', 'left', 'sided']
    """
    return re.findall(r"[a-z]+|\d", sentence.lower())


class Words:
    """A tokenizer whose vocabulary is that of given sentences; other words are `UNKNOWN`.

    >>> Words(["No mass.", "A mass."])(["A new mass."], 4).tolist()
    [[5, 1, 6, 0]]
    """

    def __init__(self, sentences: Iterable[str]) -> None:
        """Collect the words of the sentences; their numbers follow the alphabet."""
        known = sorted({word for sentence in sentences for word in words_of(sentence)})
        self.number = {word: k for k, word in enumerate(known, END + 1)}

    def __len__(self) -> int:
        """How many numbers there are, with those that are no words."""
        return END + 1 + len(self.number)

    def __call__(self, sentences: Sequence[str], length: int = LENGTH) -> Tensor:
        """Numbers (n, length); what is longer is cut off."""
        rows = [[self.number.get(w, UNKNOWN) for w in words_of(s)][:length] for s in sentences]
        filled = [row + [PAD] * (length - len(row)) for row in rows]
        return torch.tensor(filled, dtype=torch.long, device="cpu").view(len(rows), length)

    def ways(self, captions: Sequence[Sequence[str]], length: int = LENGTH) -> Tensor:
        """All captions of each image: (n, most captions, length) int16, missing ones all `PAD`.

        >>> Words(["a b"]).ways([["a"], ["a", "a b"]], 2).tolist()
        [[[5, 0], [0, 0]], [[5, 0], [5, 6]]]
        """
        most = max(map(len, captions))
        rows = self([s for c in captions for s in (*c, *[""] * (most - len(c)))], length)
        return rows.view(len(captions), most, length).short()


def one_of(ways: Tensor) -> Tensor:
    """A caption of each image, drawn evenly by torch's own generator.

    Args:
        ways: (B, S, T) from `Words.ways`; each image has at least one.

    Returns:
        (B, L) int64, L the length of the longest that was drawn.

    >>> one_of(torch.tensor([[[5, 6, 0], [0, 0, 0]]])).tolist()
    [[5, 6]]
    """
    many = (ways[:, :, 0] != PAD).sum(1)
    chosen = (torch.rand(len(ways), device=ways.device) * many).long()
    drawn = ways[torch.arange(len(ways), device=ways.device), chosen].long()
    return drawn[:, : int((drawn != PAD).sum(1).max())]


class TextTower(nn.Module):
    """A transformer over words; the features of a sentence are the largest over its words.

    >>> TextTower(9, width=8, heads=2)(torch.tensor([[5, 6, 0]])).shape
    torch.Size([1, 8])
    """

    def __init__(
        self, vocabulary: int, width: int = 128, layers: int = 2, heads: int = 4,
        longest: int = LONG,
    ) -> None:  # fmt: skip
        """Random weights; `longest` is the greatest number of words of a sentence."""
        super().__init__()
        self.words = nn.Embedding(vocabulary, width, padding_idx=PAD)
        nn.init.normal_(self.words.weight, std=width**-0.5)
        self.places = nn.Parameter(0.02 * torch.randn(longest, width))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, heads, 2 * width, dropout=0.0, batch_first=True, norm_first=True
            )
            for _ in range(layers)
        )

    def states(self, sentences: Tensor) -> Tensor:
        """Features of each word: (B, T) to (B, T, width)."""
        x = self.words(sentences) + self.places[: sentences.shape[1]]
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=sentences == PAD)
        return x

    def forward(self, sentences: Tensor) -> Tensor:
        """Features of each sentence: (B, T) to (B, width)."""
        empty = (sentences == PAD)[..., None]
        return self.states(sentences).masked_fill(empty, -torch.inf).amax(1)


def read(
    tower: TextTower, sentences: Tensor, *, steps: int, seed: int, batch_size: int = 64
) -> TrainingLog:
    """Train a text tower in place to guess hidden words; one in seven is hidden.

    Source: masked language model of Devlin et al. 2019 (BERT), section 3.1, hidden words always
    replaced by `MASK`.

    >>> read(TextTower(9), torch.tensor([[5, 6, 7, 8]] * 8), steps=2, seed=0).steps
    2
    """
    guesser = _Guesser(tower)
    return fit(
        guesser, sentences.float(), sentences, steps=steps, seed=seed, batch_size=batch_size,
        augment=_hide, loss=_of_hidden,
    )  # fmt: skip


class _Guesser(nn.Module):
    """Float sentences (B, T) to logits (B, T, words), together with the sentences."""

    def __init__(self, tower: TextTower) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, sentences: Tensor) -> tuple[Tensor, Tensor]:
        return self.tower.states(sentences.long()) @ self.tower.words.weight.T, sentences


def _hide(sentences: Tensor, generator: torch.Generator) -> Tensor:
    drawn = torch.rand(sentences.shape, generator=generator, device=sentences.device)
    return torch.where((drawn < 1 / 7) & (sentences != PAD), float(MASK), sentences)


def _of_hidden(given: tuple[Tensor, Tensor], sentences: Tensor) -> Tensor:
    logits, shown = given
    hidden = (shown == MASK).nonzero(as_tuple=True)
    total = F.cross_entropy(logits[hidden].float(), sentences[hidden], reduction="sum")
    return total / max(len(hidden[0]), 1)  # a small batch may hide nothing

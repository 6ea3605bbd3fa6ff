"""How good are fixed features? Logistic regression with its ROC curve, and retrieval."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.functional.classification import binary_auroc

from medbook.refuse import need, need_finite, need_matrix, told

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # of the penalty on squared weights, tried on validation


class Features(NamedTuple):
    """What a split is to a fixed encoder: features (n, d) float and labels (n, K) of 0 and 1."""

    h: Tensor
    y: Tensor


def auc(scores: Tensor, labels: Tensor) -> float:
    """Area under the ROC curve, mean over the columns of (n, K) in which both labels occur.

    Returns:
        0 to 1; 0.5 if no column has both.

    Raises:
        MedbookError: other shapes, a score that is NaN, a label that is neither 0 nor 1.

    >>> auc(torch.tensor([[0.1], [2.0]]), torch.tensor([[0], [1]]))
    1.0
    """
    _need_labels(labels, len(scores))
    need(scores.shape == labels.shape, f"scores are {told(scores)}, labels {told(labels)}")
    unknown = int(scores.isnan().sum())
    need(not unknown, f"{unknown} of the scores, {told(scores)}, are NaN: they have no order")
    both = (labels.amin(0) != labels.amax(0)).nonzero().flatten().tolist()
    # ranks: the metric would take numbers outside 0 to 1 for logits and round large ones to ties
    ranks = [scores[:, k].unique(return_inverse=True)[1] / len(scores) for k in both]
    areas = [binary_auroc(r, labels[:, k].long()) for r, k in zip(ranks, both, strict=True)]
    return float(torch.stack(areas).mean()) if areas else 0.5


def logistic(h: Tensor, y: Tensor, strength: float) -> nn.Linear:
    """Logistic regression of each column of y on h, to convergence.

    Args:
        h: (n, d), about standardised.
        y: (n, K) of 0 and 1.
        strength: > 0, of the penalty on squared weights and offset, which also bounds them where a
            column holds one label only.

    Raises:
        MedbookError: no rows, features that are not finite, other labels, no penalty.

    >>> logistic(torch.tensor([[-1.0], [1.0]]), torch.tensor([[0], [1]]), 0.1).weight.item() > 0
    True
    """
    need_matrix(h=h)
    _need_labels(y, len(h))
    need(strength > 0, f"strength is {strength}: the weights stay finite only if it is > 0")
    head = nn.utils.skip_init(nn.Linear, h.shape[1], y.shape[1]).to(h)  # draws no weights
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    search = torch.optim.LBFGS(head.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        search.zero_grad()
        fitted = F.binary_cross_entropy_with_logits(head(h), y.to(h))
        value = fitted + strength * sum(p.square().sum() for p in head.parameters())
        value.backward()
        return value

    with torch.enable_grad():
        search.step(loss)
    return head


def probe(pool: Features, rows: Tensor, val: Features, test: Features) -> tuple[float, float]:
    """AUC on val and test of a linear classifier trained on some rows of the pool.

    Features are standardised by the whole pool, which needs no labels; the strength of the penalty
    is the one of `STRENGTHS` that is best on val.
    """
    need(len(pool.h) > 1, f"the pool is {told(pool.h)}: two rows or more have a spread")
    mean, spread = pool.h.mean(0), pool.h.std(0) + 1e-6
    train, choose, last = ((part.h - mean) / spread for part in (pool, val, test))
    best = (-math.inf, 0.0)
    for strength in STRENGTHS:
        head = logistic(train[rows], pool.y[rows], strength)
        with torch.no_grad():
            if (at := auc(head(choose), val.y)) > best[0]:
                best = at, auc(head(last), test.y)
    return best


def nearest(queries: Tensor, groups: Tensor, items: Tensor, kinds: Tensor, k: int) -> float:
    """Precision at k: share of the k items closest to a query that are of its group, mean.

    Args:
        queries: (q, d); closeness is the cosine.
        groups: (q,) what each query asks for.
        items: (n, d).
        kinds: (n,) what each item is.
        k: at least 1; at most n are counted.

    >>> nearest(torch.eye(2), torch.tensor([0, 1]), torch.eye(2), torch.tensor([0, 1]), 1)
    1.0
    """
    need_matrix(queries=queries, items=items)
    _need_kinds(queries, groups, k)
    _need_kinds(items, kinds, k)
    cosine = F.normalize(queries.float(), dim=1) @ F.normalize(items.float(), dim=1).T
    best = cosine.topk(min(k, len(items)), dim=1).indices
    return float((kinds[best] == groups[:, None]).float().mean())


def nearest_others(h: Tensor, kinds: Tensor, k: int = 10) -> float:
    """Precision at k among items (n, d), each a query for all others, features centred.

    >>> h = torch.tensor([[1.0, 0.0], [1.0, 0.1], [-1.0, 0.0], [-1.0, 0.1]])
    >>> nearest_others(h, torch.tensor([0, 0, 1, 1]), 1)
    1.0
    """
    need_matrix(h=h)
    need(len(h) > 1, f"h is {told(h)}: an item needs others to be compared with")
    _need_kinds(h, kinds, k)
    h = F.normalize(h.float() - h.float().mean(0), dim=1)
    cosine = (h @ h.T).fill_diagonal_(-torch.inf)
    best = cosine.topk(min(k, len(h) - 1), dim=1).indices
    return float((kinds[best] == kinds[:, None]).float().mean())


def _need_labels(labels: Tensor, n: int) -> None:
    right = labels.ndim == 2 and len(labels) == n
    need(right, f"labels are {told(labels)}: give {n} rows, (n, K)")
    need_finite(labels=labels)
    binary = ((labels == 0) | (labels == 1)).all()
    low, high = labels.min(), labels.max()
    need(binary, f"labels, {told(labels)}, range from {low} to {high}: give 0 or 1")


def _need_kinds(items: Tensor, kinds: Tensor, k: int) -> None:
    right = kinds.shape == items.shape[:1]
    need(right, f"{told(items)} have kinds {told(kinds)}: give one per row, (n,)")
    need(k >= 1, f"k is {k}: count at least 1 item")

"""How good are fixed features? Logistic regression with its ROC curve, and retrieval."""

import math
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn import functional as F

from medbook.refuse import need, need_finite, need_matrix, told

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # of the penalty on squared weights, tried on validation


class Features(NamedTuple):
    """What a split is to a fixed encoder: features (n, d) float and labels (n, K) of 0 and 1."""

    h: Tensor
    y: Tensor


def auc(scores: Tensor, labels: Tensor) -> float:
    """Area under the ROC curve, 0 to 1: mean over the columns of scores and labels, (n, K) each.

    Raises:
        MedbookError: other shapes, a label that is neither 0 nor 1, a column in which a score is
            NaN or all labels are the same.

    >>> auc(torch.tensor([[0.1], [2.0]]), torch.tensor([[0], [1]]))
    1.0
    """
    _need_labels(labels, len(scores))
    need(scores.shape == labels.shape, f"scores are {told(scores)}, labels {told(labels)}")
    columns = zip(scores.detach().cpu().T, labels.cpu().T, strict=True)
    return float(np.mean([_area(s, y, k) for k, (s, y) in enumerate(columns)]))


def _area(scores: Tensor, labels: Tensor, k: int) -> float:
    """Area under the ROC curve of column k, (n,) each."""
    unknown = int(scores.isnan().sum())
    need(not unknown, f"{unknown} of the scores in column {k} are NaN: they have no order")
    only = f"column {k} holds the label {int(labels[0])} alone"
    need(labels.min() < labels.max(), f"{only}: an area needs 0 and 1, so leave the column out")
    return roc_auc_score(labels.numpy(), rankdata(scores.numpy()))  # infinite ones have an order


def auc_cases(scores: Tensor, labels: Tensor) -> Tensor:
    """One number a case whose mean is the area under the ROC curve.

    For a case of class c the number is A + N / N_c (V - A): A is the area, V the share of the other
    class that the case is ranked right against (half for ties), N_c the size of its class. So a
    bootstrap within classes, `strata=labels`, has the variance of DeLong's estimate.
    Source: DeLong, DeLong and Clarke-Pearson 1988, eqs. 5 to 7.

    Args:
        scores: (N,), larger for class 1; infinite ones have an order, too.
        labels: (N,) of 0 and 1.

    Returns:
        (N,) float64, on the CPU.

    Raises:
        MedbookError: other shapes, a label that is neither 0 nor 1, a NaN, one class alone.

    >>> auc_cases(torch.tensor([0.1, 0.4, 0.3, 0.9]), torch.tensor([0, 0, 1, 1])).mean().item()
    0.75
    """
    need(scores.ndim == 1, f"scores are {told(scores)}: give those of one class, (N,)")
    _need_labels(labels[:, None] if labels.ndim == 1 else labels, len(scores))
    area = auc(scores[:, None], labels[:, None])
    s, sick = scores.detach().cpu().double().numpy(), labels.cpu().numpy() == 1
    among_all = rankdata(s)
    right = np.empty(len(s))
    for own in (sick, ~sick):  # cases of the other class that rank below
        right[own] = (among_all[own] - rankdata(s[own])) / (~own).sum()
    right[~sick] = 1 - right[~sick]
    share = np.where(sick, sick.mean(), 1 - sick.mean())
    return torch.from_numpy(area + (right - area) / share)


def logistic(h: Tensor, y: Tensor, strength: float) -> tuple[Tensor, Tensor]:
    """Logistic regression of each column of y on h, to convergence.

    Args:
        h: (n, d), about standardised.
        y: (n, K) of 0 and 1.
        strength: > 0, of the penalty on squared weights, beside the mean loss.

    Returns:
        weights (K, d) and offsets (K,). A column with one label only has nothing to separate:
        its weights and its offset are 0.

    Raises:
        MedbookError: no rows, features that are not finite, other labels, no penalty.

    >>> weight, offset = logistic(torch.tensor([[-1.0], [1.0]]), torch.tensor([[0], [1]]), 0.1)
    >>> weight.item() > 0
    True
    """
    need_matrix(h=h)
    _need_labels(y, len(h))
    need(strength > 0, f"strength is {strength}: the weights stay finite only if it is > 0")
    weight, offset = h.new_zeros(y.shape[1], h.shape[1]), h.new_zeros(y.shape[1])
    x = h.detach().cpu().double().numpy()
    for k, labels in enumerate(y.cpu().numpy().T):
        if labels.min() < labels.max():
            model = LogisticRegression(C=1 / (2 * len(h) * strength), max_iter=1000)
            model.fit(x, labels)
            weight[k] = torch.from_numpy(model.coef_[0]).to(h)
            offset[k] = float(model.intercept_[0])
    return weight, offset


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
        if (at := auc(F.linear(choose, *head), val.y)) > best[0]:
            best = at, auc(F.linear(last, *head), test.y)
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

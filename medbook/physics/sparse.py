"""A linear operator given by a sparse matrix: batches, any device, gradients."""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from medbook.errors import MedbookError
from medbook.refuse import need


class SparseOperator:
    """y = M x for each image of a batch, and its adjoint by transposition.

    The matrix is copied to a device and a precision when an input first asks for them. Gradients
    of `A` are taken with `AT` and the other way round. Under autocast it computes in float32.

    >>> operator = SparseOperator(csr_matrix([[1.0, 2.0]]), domain=(1, 2), range=(1,))
    >>> operator.A(torch.ones(5, 1, 1, 2)).shape, operator.AT(torch.ones(1)).tolist()
    (torch.Size([5, 1, 1]), [[1.0, 2.0]])
    """

    def __init__(self, matrix: csr_matrix, domain: Sequence[int], range: Sequence[int]) -> None:
        """Keep a matrix.

        Args:
            matrix: (prod(range), prod(domain)) float64.
            domain: shape of one x.
            range: shape of one y.

        Raises:
            MedbookError: a matrix of another shape.
        """
        wanted = math.prod(range), math.prod(domain)
        need(
            matrix.shape == wanted,
            f"the matrix is {matrix.shape}: from {tuple(domain)} to {tuple(range)} it is {wanted}",
        )
        self.domain, self.range = tuple(domain), tuple(range)
        self.matrix = matrix
        self._copies: dict[tuple[torch.device, torch.dtype], tuple[Tensor, Tensor]] = {}

    def A(self, x: Tensor) -> Tensor:
        """M x: (..., *domain) to (..., *range)."""
        return self._apply(x, self.domain, self.range, adjoint=False)

    def AT(self, y: Tensor) -> Tensor:
        """M^T y: (..., *range) to (..., *domain)."""
        return self._apply(y, self.range, self.domain, adjoint=True)

    def _apply(
        self, x: Tensor, given: tuple[int, ...], wanted: tuple[int, ...], *, adjoint: bool
    ) -> Tensor:
        leading = x.shape[: max(0, x.ndim - len(given))]
        if tuple(x.shape[len(leading) :]) != given or not x.is_floating_point():
            raise MedbookError(
                f"expected real floating-point numbers of shape (..., {str(given)[1:-1]}), not "
                f"{x.dtype} of shape {tuple(x.shape)}"
            )
        if x.dtype in (torch.bfloat16, torch.float16):
            x = x.float()
        there, back = self._copy(x.device, x.dtype)
        pair = (back, there) if adjoint else (there, back)
        return _Product.apply(x.reshape(-1, pair[0].shape[1]), *pair).reshape(*leading, *wanted)

    def _copy(self, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """The matrix and its transpose on a device."""
        key = (device, dtype)
        if key not in self._copies:
            both = (self.matrix, self.matrix.T.tocsr())
            self._copies[key] = (_tensor(both[0], *key), _tensor(both[1], *key))
        return self._copies[key]

    def __getstate__(self) -> dict[str, Any]:
        """What travels to another process: not the copies."""
        return self.__dict__ | {"_copies": {}}


class _Product(torch.autograd.Function):
    """Rows of x times a sparse matrix; torch has no gradient for this layout."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, matrix: Tensor, transposed: Tensor) -> Tensor:
        ctx.pair = transposed, matrix
        with torch.autocast(x.device.type, enabled=False):
            if len(x) == 1:  # a vector: nearly twice as fast as a matrix of one column
                return (matrix @ x[0])[None]
            return (matrix @ x.t()).t()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return _Product.apply(grad, *ctx.pair), None, None


def _tensor(matrix: csr_matrix, device: torch.device, dtype: torch.dtype) -> Tensor:
    parts = matrix.indptr, matrix.indices, matrix.data
    ends, columns, values = (torch.from_numpy(part) for part in parts)
    # 32-bit indices are what the sparse libraries of CPU and GPU compute with
    arrays = ends.to(torch.int32), columns.to(torch.int32), values.to(dtype)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        tensor = torch.sparse_csr_tensor(*arrays, matrix.shape, check_invariants=True)
    return tensor.to(device)

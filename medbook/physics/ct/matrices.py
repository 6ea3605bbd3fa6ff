"""The two sparse matrices of a CT scan: line integrals, and interpolation back into the image."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix

from medbook.physics.ct.geometry import Geometry

EDGE = 1e-7  # of a pixel: what is nearer to a grid line lies on it
CHUNK = 1 << 17  # crossings of rays with grid lines that are held at a time: they fit the cache

Floats = NDArray[np.floating]


def system_matrix(geometry: Geometry) -> csr_matrix:
    """Length of each ray within each pixel, in mm.

    A ray is cut where it crosses the grid lines of the image; the middle of a piece tells its
    pixel. A piece that runs along a grid line belongs half to the pixel on either side.
    Source: Siddon 1985, doi:10.1118/1.595715.

    Returns:
        (views * bins, size * size) float64; pixels in rows from the top left one.
    """
    size = geometry.size
    origins, directions = (t.numpy() for t in geometry.rays())
    lines = (np.arange(size + 1) - size / 2) * geometry.pixel_mm
    step = max(1, CHUNK // (2 * size + 2))
    parts = []
    for start in range(0, len(origins), step):
        here = slice(start, start + step)
        ray, *rest = _pieces(origins[here], directions[here], lines)
        parts.append((ray + start, *rest))
    rays, pixels, lengths = (np.concatenate(part) for part in zip(*parts, strict=True))
    return coo_matrix((lengths, (rays, pixels)), shape=(len(origins), size * size)).tocsr()


def _pieces(origin: Floats, direction: Floats, lines: Floats) -> tuple[NDArray[Any], ...]:
    """Ray, pixel and length of every piece inside of the image."""
    with np.errstate(divide="ignore", invalid="ignore"):
        # distance along the ray to each vertical and each horizontal grid line
        t = [(lines - origin[:, k, None]) / direction[:, k, None] for k in (0, 1)]
    crossings = np.sort(np.nan_to_num(np.concatenate(t, 1), nan=0, posinf=0, neginf=0), 1)
    length = np.diff(crossings)  # (rays, 2 size + 1)
    pixel, size = lines[1] - lines[0], len(lines) - 1
    ray, k = np.nonzero(length > EDGE * pixel)
    length, middle = length[ray, k], (crossings[ray, k] + crossings[ray, k + 1]) / 2
    x, y = ((origin[ray, a] + middle * direction[ray, a] - lines[0]) / pixel for a in (0, 1))
    along = (np.abs(x - np.rint(x)) < EDGE) | (np.abs(y - np.rint(y)) < EDGE)
    length = np.where(along, length / 2, length)
    # x and y count pixels from the lower left corner
    nudged = [(ray, x + EDGE, y + EDGE, length)]
    nudged.append((ray[along], x[along] - EDGE, y[along] - EDGE, length[along]))
    ray, x, y, length = (np.concatenate(part) for part in zip(*nudged, strict=True))
    column, row = np.floor(x), size - 1 - np.floor(y)
    inside = (row >= 0) & (row < size) & (column >= 0) & (column < size)
    return ray[inside], (row * size + column)[inside].astype(np.int32), length[inside]


def backprojection_matrix(geometry: Geometry) -> csr_matrix:
    """Weighted linear interpolation of every view at the place where a pixel projects to.

    Returns:
        (size * size, views * bins) float64: sum over the views, not yet times pi / views.
    """
    size, views, bins = geometry.size, geometry.views, geometry.bins
    axis = (
        torch.arange(size, dtype=torch.float64, device="cpu") - (size - 1) / 2
    ) * geometry.pixel_mm
    y, x = torch.meshgrid(-axis, axis, indexing="ij")
    index, weight = geometry.detector(x.reshape(-1), y.reshape(-1))  # (pixels, views)
    left = index.floor()
    bin = torch.stack([left, left + 1], -1)  # (pixels, views, 2)
    share = torch.stack([left + 1 - index, index - left], -1) * weight[..., None]
    share = torch.where((bin >= 0) & (bin < bins), share, 0.0)
    column = bin.clamp(0, bins - 1) + torch.arange(views, device="cpu")[:, None] * bins
    ends = np.arange(size * size + 1, dtype=np.int32) * (2 * views)
    parts = share.reshape(-1).numpy(), column.reshape(-1).to(torch.int32).numpy(), ends
    matrix = csr_matrix(parts, shape=(size * size, views * bins))
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix

"""The CT operators against the ASTRA toolbox, where it is installed (extra `oracles`).

Its matrix is the same one in float32. Only a ray along a grid line differs: there it counts for
the pixels on one side, here for half of either; so the scans have an even number of bins.
"""

import numpy as np
import pytest
import torch

from medbook.phantom import Ellipsoids
from medbook.physics.ct import FanBeam, ParallelBeam, Projector
from medbook.physics.ct.matrices import system_matrix

astra = pytest.importorskip("astra")


def parallel(size, views=10):
    return ParallelBeam(size=size, views=views, pixel_mm=1.5, bins=2 * size + 4, pitch_mm=1.13)


def fan(size, views=10):
    return FanBeam(
        size=size, views=views, pixel_mm=1.5, bins=2 * size + 4, pitch_mm=2.3,
        source_mm=3.0 * size, detector_mm=1.7 * size,
    )  # fmt: skip


def projector_of(g):
    """ASTRA's line projector of a scan: its conventions of image, angle and detector are ours."""
    half = g.size * g.pixel_mm / 2
    image = astra.create_vol_geom(g.size, g.size, -half, half, -half, half)
    scan = (g.pitch_mm, g.bins, g.angles.numpy())
    if isinstance(g, FanBeam):
        flat = astra.create_proj_geom("fanflat", *scan, g.source_mm, g.detector_mm)
        return astra.create_projector("line_fanflat", flat, image)
    return astra.create_projector("line", astra.create_proj_geom("parallel", *scan), image)


@pytest.mark.parametrize("make", [parallel, fan])
@pytest.mark.parametrize("size", [1, 8, 17])
def test_the_matrix_value_by_value(make, size):
    g = make(size)
    theirs = astra.matrix.get(astra.projector.matrix(projector_of(g)))
    ours = system_matrix(g)
    assert theirs.shape == ours.shape and theirs.sum() > 10
    np.testing.assert_allclose(ours.toarray(), theirs.toarray(), atol=5e-4)


@pytest.mark.parametrize("make", [parallel, fan])
def test_projection_and_backprojection(make):
    g = make(40)
    rng, projector = np.random.default_rng(0), projector_of(g)
    x = rng.standard_normal((40, 40)).astype(np.float32)
    y = rng.standard_normal((g.views, g.bins)).astype(np.float32)
    _, there = astra.create_sino(x, projector)
    _, back = astra.create_backprojection(y, projector)
    scan = Projector(g)
    for ours, theirs in ((scan.A(torch.tensor(x)), there), (scan.AT(torch.tensor(y)), back)):
        assert np.linalg.norm(ours.numpy() - theirs) < 1e-4 * np.linalg.norm(theirs)


def test_fbp_has_the_same_scale():
    """ASTRA's on the CPU projects back with the transposed matrix: the same up to its moire."""
    g = ParallelBeam(size=65, views=180, bins=93)
    disc = Ellipsoids.from_angle([[[6.0, -4.0]]], [[[20.0, 12.0]]], [[0.4]], [[0.7]])
    y = disc.line_integrals(*g.rays()).reshape(g.views, g.bins)
    projector = projector_of(g)
    sinogram = astra.data2d.create(
        "-sino", astra.projector.projection_geometry(projector), y.numpy()
    )
    image = astra.data2d.create("-vol", astra.projector.volume_geometry(projector))
    settings = astra.astra_dict("FBP") | {
        "ProjectorId": projector, "ProjectionDataId": sinogram, "ReconstructionDataId": image,
    }  # fmt: skip
    algorithm = astra.algorithm.create(settings)
    astra.algorithm.run(algorithm)
    theirs, ours = astra.data2d.get(image), Projector(g).fbp(y).numpy()
    inside = disc.image(65, 1.0)[0, 0].numpy() > 0.69
    assert ours[inside].mean() == pytest.approx(0.7, rel=0.01)
    assert theirs[inside].mean() == pytest.approx(ours[inside].mean(), rel=0.01)
    assert np.linalg.norm(theirs - ours) < 0.1 * np.linalg.norm(ours)
    assert np.linalg.norm(theirs.T - ours) > 0.3 * np.linalg.norm(ours)

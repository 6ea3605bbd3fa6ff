"""The same CT scans in scikit-image and in the ASTRA toolbox."""

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

import numpy as np
from skimage.transform import iradon, radon

from medbook.physics.ct import FanBeam, Geometry, ParallelBeam

ASTRA = find_spec("astra") is not None
MATRIX = "line, kept as a matrix"

Arms = dict[tuple[str, str], tuple[Callable[[], object], int]]  # (program, operation): work, images


def skimage_arms(geometry: Geometry, x: np.ndarray) -> Arms:
    """Parallel beam; the angles are ours, in degrees."""
    degrees, name = np.rad2deg(geometry.angles.numpy()), "scikit-image"
    y = radon(x, degrees, circle=True)
    return {
        (name, "A"): (lambda: radon(x, degrees, circle=True), 1),
        (name, "fbp"): (lambda: iradon(y, degrees, circle=True), 1),
    }


def astra_arms(geometry: Geometry, x: np.ndarray, y: np.ndarray) -> tuple[Arms, dict[str, float]]:
    """Its projectors on the CPU, and how far their line integrals of x are from y."""
    import astra

    arms: Arms = {}
    differences = {}
    parallel = isinstance(geometry, ParallelBeam)
    for kind in ("line", MATRIX, *["linear"] * parallel):
        name, projector = f"ASTRA, {kind}", astra_projector(geometry, kind)
        image = astra.data2d.create("-vol", astra.projector.volume_geometry(projector), x)
        sinogram = astra.data2d.create("-sino", astra.projector.projection_geometry(projector), y)
        work = {"A": "FP", "AT": "BP"} | ({"fbp": "FBP"} if parallel and kind != MATRIX else {})
        runs = {one: _run(projector, theirs, image, sinogram) for one, theirs in work.items()}
        runs["A"]()
        differences[name] = np.linalg.norm(astra.data2d.get(sinogram) - y) / np.linalg.norm(y)
        arms |= {(name, one): (run, 1) for one, run in runs.items()}
    return arms, differences


def astra_projector(geometry: Geometry, kind: str) -> int:
    """The same image, angles and detector as ours."""
    import astra

    half = geometry.size * geometry.pixel_mm / 2
    image = astra.create_vol_geom(geometry.size, geometry.size, -half, half, -half, half)
    detector = geometry.pitch_mm, geometry.bins, geometry.angles.numpy()
    if isinstance(geometry, FanBeam):
        distances = geometry.source_mm, geometry.detector_mm
        scan = astra.create_proj_geom("fanflat", *detector, *distances)
        projector = astra.create_projector("line_fanflat", scan, image)
    else:
        scan = astra.create_proj_geom("parallel", *detector)
        projector = astra.create_projector("linear" if kind == "linear" else "line", scan, image)
    if kind != MATRIX:
        return projector
    kept = astra.create_proj_geom("sparse_matrix", *detector, astra.projector.matrix(projector))
    return astra.create_projector("sparse_matrix", kept, image)


def _run(projector: int, kind: str, image: int, sinogram: int) -> Callable[[], object]:
    """An ASTRA algorithm on data that are its own already."""
    import astra

    target = "VolumeDataId" if kind == "FP" else "ReconstructionDataId"
    settings = {"ProjectorId": projector, "ProjectionDataId": sinogram, target: image}
    return partial(astra.algorithm.run, astra.algorithm.create(astra.astra_dict(kind) | settings))

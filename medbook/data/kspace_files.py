"""What is known about each set of measured k-space, and how its file is read."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medbook.data.entries import File, KSpaceInfo

Measured = NDArray[np.complex64]
"""K-space (C, H, W), 0 where nothing was measured, zero frequency at (H // 2, W // 2)."""

_COMMIT = "b21dcdcfac8557ebb4c2bda1e9faf2cb1e1b6a33"
KSPACES = {
    "mri_brain_8coil": KSpaceInfo(
        name="mri_brain_8coil",
        channels=8,
        unit="slice (one)",
        licence="BSD-3-Clause",
        origin="data/cartesian_ksp.npy of github.com/mikgroup/sigpy-mri-tutorial",
        credit="8-coil brain k-space: SigPy MRI tutorial, mikgroup, UC Berkeley, "
        "github.com/mikgroup/sigpy-mri-tutorial; BSD-3-Clause; turned by half a turn",
        collections=frozenset({"SigPy MRI tutorial"}),
        files={
            230: File(
                "mri_brain_8coil/cartesian_ksp.npy",
                "sha256:bcfd07b767d26602bfccd08329321be57d500dc3f6b208cccddeb59162573045",
                (
                    "https://raw.githubusercontent.com/mikgroup/sigpy-mri-tutorial/"
                    f"{_COMMIT}/data/cartesian_ksp.npy",
                ),
            )
        },
        shape=(230, 180),
        calibration=24,
    )
}


def read(path: Path) -> Measured:
    """The complex conjugate of the stored k-space, which has the front of the head on top.

    The file has it at the bottom. Conjugating k-space turns the image by half a turn about its
    pixel (H // 2, W // 2) and conjugates it, and leaves every point where it was measured. It does
    not mirror the head, but which side is the patient's right is not stated.

    Raises:
        ValueError: not an array of complex numbers (C, H, W).
    """
    stored = np.load(path, allow_pickle=False)
    if stored.ndim != 3 or stored.dtype != np.complex64:
        raise ValueError(f"expected complex64 (C, H, W), found {stored.dtype} {stored.shape}")
    return stored.conj()

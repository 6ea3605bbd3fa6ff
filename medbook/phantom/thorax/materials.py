"""What things are made of: three materials, and how much each attenuates at two energies.

Attenuation is a sum, mu = soft * mu_water + bone * mu_bone + metal * mu_metal, and so are line
integrals. Bone and metal are counted as what they add to the water whose place they take: leaving
bone out turns it into soft tissue, which is what bone suppression wants.
"""

import torch
from torch import Tensor

from medbook.errors import MedbookError
from medbook.physics.ct.measure import MU_WATER

MATERIALS = "soft", "bone", "metal"
AIR, LUNG, FAT, WATER, BLOOD, MUSCLE, LIVER = 0.0, 0.25, 0.92, 1.01, 1.05, 1.05, 1.06  # of water

# cm^2/g at 40 keV and at 70 keV (log-log between 60 and 80): water, cortical bone (ICRU-44, 1.92
# g/cm^3), iron (7.87 g/cm^3). Source: Hubbell and Seltzer 1995, NIST tables of X-ray mass
# attenuation coefficients. Water at 70 keV is MU_WATER, as everywhere in this book.
WATER_LOW, BONE_LOW, BONE_HIGH, IRON_LOW, IRON_HIGH = 0.2683, 0.6655, 0.2617, 3.629, 0.8256
ENERGIES = {
    "low": (
        0.1 * WATER_LOW, 0.1 * (1.92 * BONE_LOW - WATER_LOW), 0.1 * (7.87 * IRON_LOW - WATER_LOW)
    ),
    "high": (MU_WATER, 0.192 * BONE_HIGH - MU_WATER, 0.787 * IRON_HIGH - MU_WATER),
}  # 1/mm of water, of what cortical bone adds, of what iron adds  # fmt: skip


def attenuation(paths: Tensor, energy: str = "high", bones: bool = True) -> Tensor:
    """Line integrals at an energy from lengths of the three materials.

    Args:
        paths: (n, 3, ...) mm of soft tissue (as water), cortical bone and iron.
        energy: "low" (40 keV) or "high" (70 keV, which chest CT has, too).
        bones: False takes bone for the soft tissue in its place.

    Returns:
        (n, 1, ...) dimensionless; or 1/mm where paths are shares of a volume.

    Raises:
        MedbookError: another energy.

    >>> attenuation(torch.tensor([[100.0, 10.0, 0.0]])[..., None], "high").flatten()
    tensor([2.2305])
    """
    if energy not in ENERGIES:
        raise MedbookError(f"energy is {energy!r}: give one of {', '.join(ENERGIES)}")
    soft, bone, metal = ENERGIES[energy]
    mu = torch.tensor([soft, bone * bones, metal], dtype=paths.dtype, device=paths.device)
    return torch.einsum("nc...,c->n...", paths, mu)[:, None]

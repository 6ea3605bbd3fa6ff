"""Scans of images and masks by name (`medbook.physics.mri.simulate`, `families`)."""

import numpy as np
import pytest
import torch

from medbook.errors import MedbookError
from medbook.evaluate.timing import seconds
from medbook.phantom import brain_like
from medbook.physics.mri import (
    FAMILIES,
    Radial,
    acceleration,
    coil_maps,
    fft2c,
    head_coils,
    head_of,
    ifft2c,
    measured,
    middle,
    random_mask,
    scanned,
    scanned_spokes,
    seen_fully,
    smooth_phase,
    unit_maps,
)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_smooth_phase_is_a_phase_and_smooth():
    phase = smooth_phase(5, 48, generator())
    assert phase.shape == (5, 1, 48, 48) and phase.dtype == torch.complex64
    torch.testing.assert_close(phase.abs(), torch.ones(5, 1, 48, 48))
    steps = (phase[..., 1:] * phase[..., :-1].conj()).angle()
    assert steps.abs().max() < 0.5 and steps.std() > 0.01
    assert not torch.equal(smooth_phase(5, 48, generator(1)), phase)


@pytest.mark.parametrize("old", [8, 9])
@pytest.mark.parametrize("new", [3, 4, (2, 5)])
def test_the_origin_stays_in_the_middle(old, new):
    x = torch.zeros(old, old)
    x[old // 2, old // 2] = 1
    found = middle(x, new)
    h, w = (new, new) if isinstance(new, int) else new
    assert found.shape == (h, w) and found[h // 2, w // 2] == 1 and found.sum() == 1


@pytest.mark.parametrize("shape", [10, (3, 9), 0])
def test_more_than_there_is_cannot_be_cut_out(shape):
    with pytest.raises(MedbookError, match="cannot be cut out"):
        middle(torch.zeros(8, 8), shape)


@pytest.mark.parametrize("size", [16, 15])
def test_a_scanned_image_approaches_the_object(size):
    heads = brain_like(2, generator(4))
    exact = heads.kspace(size, head_coils(3))
    errors = []
    for n in (2 * size, 6 * size):
        found = scanned(heads.image(n), 3, size)
        errors.append(float((found - exact).norm() / exact.norm()))
    assert errors[1] < 0.02 and errors[1] < errors[0]


@pytest.mark.parametrize("size", [16, 15])
def test_spokes_of_an_image_are_those_of_the_object(size):
    heads, scan = brain_like(1, generator(3)), Radial(size, 5, 2 * size)
    found = scanned_spokes(heads.image(8 * size), scan)
    f = scan.frequencies[None] * size / heads.field_mm  # in cycles per mm
    k = torch.stack([f * scan.angles.cos()[:, None], f * scan.angles.sin()[:, None]], -1)
    exact = heads.fourier(k.flatten(0, 1)).view(1, 1, 5, 2 * size) * size / heads.field_mm**2
    assert (found - exact).norm() < 0.01 * exact.norm()


@pytest.mark.parametrize("scan", [Radial(5, 3, 10), Radial(4, 3, 9)])
def test_spokes_need_a_grid_that_fits(scan):
    with pytest.raises(MedbookError, match="multiple of the scan's size"):
        scanned_spokes(torch.zeros(1, 1, 8, 8, dtype=torch.complex64), scan)


@pytest.mark.parametrize("size", [32, 31])
def test_spokes_are_a_ct_scan(size):
    image, scan = brain_like(2, generator(5)).image(4 * size).abs(), Radial(size, 60, 2 * size)
    K = scan.projector()
    y = scanned_spokes(image.to(torch.complex64), scan)
    found = K.fbp(scan.sinogram_of(y, K.geometry.bins).real.float())
    truth = image.unflatten(2, (size, 4)).unflatten(4, (size, 4)).mean((3, 5))
    shifted = K.fbp(scan.sinogram_of(y, K.geometry.bins).real.float().roll(1, -1))
    error = [(x - truth).norm() / truth.norm() for x in (found, shifted)]
    assert error[0] < 0.25 and error[1] > 1.2 * error[0]


def test_a_scan_of_the_images_own_size_is_its_transform():
    x = torch.randn(2, 1, 7, 7, dtype=torch.complex64, generator=generator())
    torch.testing.assert_close(scanned(x, 2, 7), fft2c(coil_maps(2, 7) * x))


@pytest.mark.parametrize("n", [8, 9])
def test_the_reference_is_the_image_weighted_by_the_coils(n):
    x = torch.randn(2, 1, n, n, dtype=torch.complex64, generator=generator())
    expected = x * coil_maps(3, n).abs().square().sum(1, keepdim=True).sqrt()
    torch.testing.assert_close(seen_fully(scanned(x, 3, n)), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        unit_maps(3, n).abs().square().sum(1), torch.ones(1, n, n), rtol=1e-5, atol=1e-5
    )


def test_the_head_is_found_in_each_image_alone():
    x = torch.zeros(2, 1, 4, 4, dtype=torch.complex64)
    x[0, 0, 1, 1], x[1, 0, 2, 2], x[0, 0, 0, 0] = 100j, 0.001, 5
    assert head_of(x).nonzero().tolist() == [[0, 0, 1, 1], [1, 0, 2, 2]]


def test_noise_has_the_ratio_asked_for_and_unsampled_data_are_zero():
    brightness = torch.tensor([1, 5], dtype=torch.complex64).view(2, 1, 1, 1)
    full = scanned(brightness.expand(2, 1, 64, 64), 4, 64)
    mask = random_mask("random lines", (64, 64), 2, generator())
    y = measured(full, mask, 20.0, generator(1))
    assert (y[~mask.expand_as(y)] == 0).all()
    signal = [float(x.abs()[head_of(x)].mean()) for x in seen_fully(full).split(1)]
    noise = [(y - full)[k][mask[0].expand_as(full[k])].real.std().item() for k in range(2)]
    np.testing.assert_allclose(np.divide(signal, noise), 20, rtol=0.05)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("shape", [(32, 32), (31, 40)])
def test_masks_of_every_family(name, shape):
    mask, other = (random_mask(name, shape, 4, generator(seed)) for seed in (0, 3))
    assert mask.shape == (1, 1, *shape) and mask.dtype == torch.bool
    assert acceleration(mask) == pytest.approx(4, rel=0.12)
    assert mask[0, 0, shape[0] // 2, shape[1] // 2]
    assert torch.equal(mask, random_mask(name, shape, 4, generator(0)))
    assert not torch.equal(mask, other)
    lines = bool((mask == mask[:, :, :1]).all())
    assert lines == (name in ("equispaced lines", "random lines"))


def test_an_unknown_family_is_named():
    with pytest.raises(MedbookError, match="'magic'"):
        random_mask("magic", (8, 8), 2, generator())


def test_full_data_return_the_image():
    heads = brain_like(1, generator(2))
    full = heads.kspace(12, head_coils(4))
    mask = torch.ones(1, 1, 12, 12, dtype=torch.bool)
    y = measured(full, mask, float("inf"), generator())
    torch.testing.assert_close(ifft2c(y), ifft2c(full))


def test_functions_are_timed_in_turn():
    calls = []
    found = seconds(lambda: calls.append("a"), lambda: calls.append("b"), repeats=3)
    assert found.shape == (3, 2) and (found >= 0).all()
    assert calls == ["a", "b"] * 4  # the first round warms up

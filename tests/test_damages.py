"""Damages of known severity, moved images, spots: against their formulas."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage, stats

from medbook.evaluate.damages import DAMAGES, damage, gauss, moved, spot


def noise(*shape, seed=0, dtype=torch.float64):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


def test_damages_are_8_bit_and_belong_to_their_image():
    x = (255 * noise(1, 1, 24, 24, dtype=torch.float32)).round().expand(4, 1, 24, 24)
    t = torch.tensor([0.05, 0.2, 0.6, 1.0])
    for kind in DAMAGES:
        y = damage(kind, x, t, chance())
        assert y.dtype == x.dtype and torch.equal(y, y.round())
        assert y.min() >= 0 and y.max() <= 255
        assert ((y - x).square().mean((1, 2, 3)).diff() > 0).all(), kind
        if kind != "noise":
            assert torch.equal(y[2:3], damage(kind, x[2:3], t[2:3], chance()))


def test_each_damage_is_its_formula():
    x = (255 * noise(1, 1, 40, 40)).round()
    t = torch.tensor([0.5])
    changed = {kind: damage(kind, x, t, chance())[0, 0].numpy() for kind in DAMAGES}
    image = x[0, 0].numpy()
    expected = {
        "noise": image + 10 * gauss(x, chance())[0, 0].numpy(),
        "blur": ndimage.gaussian_filter(image, 1.5),
        "display curve": 255 * (image / 255) ** 0.75,
    }
    for kind, values in expected.items():
        assert np.array_equal(changed[kind], np.clip(np.round(values), 0, 255)), kind
    file = io.BytesIO()
    Image.fromarray(image.astype(np.uint8)).save(file, "JPEG", quality=55)
    assert np.array_equal(changed["JPEG"], np.asarray(Image.open(file)))


def test_gauss_is_standard_normal():
    found = gauss(torch.zeros(1, 1, 200, 200), chance()).flatten().numpy()
    assert stats.kstest(found, "norm").pvalue > 0.01


def test_a_spot_is_1_at_its_centre_and_half_at_half_its_width():
    x = torch.zeros(2, 1, 21, 31)
    found = spot(x, torch.tensor([[5.0, 7.0], [10.0, 20.0]]), torch.tensor([4.0, 8.0]))
    assert found.shape == x.shape and found[0, 0, 5, 7] == 1 and found[1, 0, 10, 20] == 1
    for value in (found[0, 0, 3, 7], found[0, 0, 5, 9], found[1, 0, 10, 16]):
        assert value == pytest.approx(0.5)


@pytest.mark.parametrize("pixels", [0.0, 0.25, 1.0, 2.0])
def test_images_move_along_both_axes_in_four_directions(pixels):
    rows, columns = torch.meshgrid(torch.arange(24.0), torch.arange(40.0), indexing="ij")
    x = torch.stack([rows, columns])[None].expand(60, 2, 24, 40)  # ramps show where a pixel is from
    moves = (moved(x, pixels, chance()) - x)[..., 4:-4, 4:-4]
    assert moves.std((-1, -2)).max() < 1e-3
    seen = {tuple(m) for m in moves.mean((-1, -2)).mul(100).round().int().tolist()}
    step = int(100 * pixels)
    assert seen == {(a, b) for a in (-step, step) for b in (-step, step)}


def test_a_whole_move_is_exact():
    x = (255 * noise(1, 1, 24, 24, dtype=torch.float32)).round()
    y = moved(x, 1, chance())[..., 2:-2, 2:-2]
    rolled = [x.roll((i, j), (2, 3))[..., 2:-2, 2:-2] for i in (-1, 1) for j in (-1, 1)]
    assert min((y - r).abs().max() for r in rolled) < 0.01

"""Wavelets against PyWavelets and their definition; FISTA against closed forms and SciPy."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from medbook.errors import MedbookError
from medbook.physics.operator import dot_test
from medbook.solvers.fista import fista, soft_threshold
from medbook.solvers.wavelets import FILTERS, Wavelets

IDENTITY = SimpleNamespace(A=lambda x: x, AT=lambda y: y)
DTYPES = (torch.float32, torch.float64, torch.complex64, torch.complex128)
NAMES = sorted(FILTERS)
SIDES = st.integers(1, 5)
f64, c128 = torch.float64, torch.complex128


class Matrix:
    """A dense matrix as operator: images (B, 1, H, W) to measurements (B, 1, rows)."""

    def __init__(self, matrix, domain):
        self.matrix, self.domain = matrix, domain

    def A(self, x):
        return (x.flatten(1) @ self.matrix.T)[:, None]

    def AT(self, y):
        return (y.flatten(1) @ self.matrix.conj()).reshape(-1, *self.domain)


def numbers(*shape, seed=0, dtype=f64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def matrix(rows, side, seed=0, dtype=f64):
    return Matrix(numbers(rows, side**2, seed=seed, dtype=dtype), (1, side, side))


def tolerance(dtype):
    return {"rtol": 0, "atol": 1e-5 if dtype in (torch.float32, torch.complex64) else 1e-11}


# --- wavelets -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "moments"), [("haar", 1), ("db4", 4)])
def test_the_filters_are_orthonormal_and_have_their_vanishing_moments(name, moments):
    h = np.array(FILTERS[name])
    j = np.arange(len(h))
    for shift in range(0, len(h), 2):
        assert h[: len(h) - shift] @ h[shift:] == pytest.approx(float(shift == 0), abs=1e-12)
    found = [((-1.0) ** j * (j / len(h)) ** m) @ h for m in range(moments + 1)]
    assert np.abs(found[:moments]).max() < 1e-11 and abs(found[moments]) > 1e-3
    assert h.sum() == pytest.approx(math.sqrt(2), rel=1e-12)


def line(x, name):
    """One level of a periodic line by a full convolution: approximation, then detail."""
    h = np.array(FILTERS[name])
    g = h[::-1] * (-1.0) ** (np.arange(len(h)) + 1)
    n, start = len(x), len(x) * math.ceil(len(h) / len(x))
    long = np.tile(x, 3 * math.ceil(len(h) / n))
    return [np.convolve(long, f)[start + len(h) // 2 :][:n:2] for f in (h, g)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(2, 2), (4, 10), (16, 6)])
def test_one_level_is_the_periodic_convolution_of_rows_and_columns(name, shape):
    x = numbers(1, 1, *shape)
    expected = np.apply_along_axis(lambda v: np.concatenate(line(v, name)), 1, x[0, 0].numpy())
    expected = np.apply_along_axis(lambda v: np.concatenate(line(v, name)), 0, expected)
    np.testing.assert_allclose(Wavelets(name, 1).A(x)[0, 0], expected, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("shape", "levels"), [((8, 8), 3), ((32, 48), 4), ((6, 20), 1)])
def test_coefficients_are_those_of_pywavelets(name, shape, levels):
    pywt = pytest.importorskip("pywt")
    x, transform = numbers(1, 1, *shape), Wavelets(name, levels)
    parts = pywt.wavedec2(x[0, 0].numpy(), name, "periodization", levels)
    expected = pywt.coeffs_to_array(parts)[0]
    np.testing.assert_allclose(transform.A(x)[0, 0], expected, atol=1e-12)
    np.testing.assert_allclose(transform.coarsest(transform.A(x))[0, 0], parts[0], atol=1e-12)


@settings(deadline=None)
@given(st.sampled_from(NAMES), st.integers(0, 3), SIDES, SIDES, st.sampled_from(DTYPES))
def test_the_inverse_is_perfect_and_the_adjoint(name, levels, rows, columns, dtype):
    transform, shape = Wavelets(name, levels), (2, 3, rows << levels, columns << levels)
    x, c = numbers(*shape, dtype=dtype), numbers(*shape, seed=1, dtype=dtype)
    kept = x.clone()
    for there, back in ((transform.A, transform.AT), (transform.AT, transform.A)):
        assert there(x).dtype == dtype and there(x).shape == shape
        torch.testing.assert_close(back(there(x)), x, **tolerance(dtype))
    assert dot_test(transform, x, c) < 20 * torch.finfo(dtype).eps
    assert torch.equal(x, kept)


@pytest.mark.parametrize("name", NAMES)
def test_complex_images_are_two_real_ones_and_items_their_own(name):
    x, transform = numbers(2, 2, 8, 16, dtype=c128), Wavelets(name, 2)
    c = transform.A(x)
    torch.testing.assert_close(c, torch.complex(transform.A(x.real), transform.A(x.imag)))
    torch.testing.assert_close(c[1:, 1:], transform.A(x[1:, 1:]))


@pytest.mark.parametrize(("name", "degree"), [("haar", 0), ("db4", 3)])
def test_polynomials_have_no_details_away_from_the_border(name, degree):
    t = torch.linspace(-1, 1, 64, dtype=f64)
    details = Wavelets(name, 1).A((t[:, None] ** degree * t**degree).expand(1, 1, 64, 64))[0, 0]
    details[:32, :32] = 0
    inner = slice(4, 28)
    for i in (0, 32):
        for j in (0, 32):
            assert details[i:, j:][inner, inner].abs().max() < 1e-11
    assert Wavelets(name, 1).A((t**4).expand(1, 1, 64, 64))[0, 0][inner, 36:60].abs().max() > 1e-7


def test_bands_lie_where_they_are_said_to_lie():
    stripes = torch.ones(1, 1, 8, 8)
    stripes[..., ::2] = -1  # changes along a row only
    for name in NAMES:
        c = Wavelets(name, 1).A(stripes)[0, 0]
        assert c[:4, 4:].abs().min() > 1.9
        c[:4, 4:] = 0
        torch.testing.assert_close(c, torch.zeros(8, 8), rtol=0, atol=1e-6)
        c = Wavelets(name, 3).A(torch.ones(1, 1, 8, 8))[0, 0]
        assert c[0, 0].item() == pytest.approx(8, rel=1e-6) and c.abs().sum() < 8.001


@pytest.mark.parametrize("dtype", [f64, c128])
def test_gradients_go_through(dtype):
    x = numbers(1, 2, 4, 8, dtype=dtype).requires_grad_()
    for name in NAMES:
        assert torch.autograd.gradcheck(Wavelets(name, 2).A, x)
        assert torch.autograd.gradcheck(Wavelets(name, 2).AT, x)


def test_what_wavelets_cannot_do_is_refused():
    for bad in ((12, 8), (8, 12)):
        with pytest.raises(MedbookError, match="divisible by 2\\^levels = 8"):
            Wavelets(levels=3).A(torch.zeros(1, 1, *bad))
    for bad in (torch.zeros(8, 8), torch.zeros(1, 1, 8, 8, dtype=torch.int64)):
        with pytest.raises(MedbookError, match="real or complex"):
            Wavelets(levels=1).AT(bad)
    with pytest.raises(MedbookError, match="'db4', 'haar'"):
        Wavelets("db5")
    with pytest.raises(MedbookError, match="levels >= 0"):
        Wavelets(levels=-1)


# --- soft threshold -------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.floats(0, 5), st.complex_numbers(max_magnitude=10))
def test_the_soft_threshold_minimises_its_objective(threshold, c):
    found = soft_threshold(torch.tensor([c], dtype=c128), threshold)[0].item()

    def objective(z):
        return abs(z - c) ** 2 / 2 + threshold * abs(z)

    for step in (1e-3, 0.1, 1.0):
        for turn in range(8):
            other = found + step * complex(math.cos(turn), math.sin(turn))
            assert objective(found) <= objective(other) + 1e-12
    assert objective(found) <= objective(0) + 1e-12


# --- FISTA ----------------------------------------------------------------------------------------


def objective(operator, x, y, weight, transform):
    """From the definition, item by item."""
    c = transform.A(x).clone()
    transform.coarsest(c).zero_()
    fit = (operator.A(x) - y).flatten(1).abs().square().sum(1) / 2
    return fit + weight * c.flatten(1).abs().sum(1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
def test_denoising_is_to_shrink_the_details(dtype, name):
    y, transform = numbers(2, 1, 8, 16, dtype=dtype), Wavelets(name, 2)
    c = transform.A(y)
    coarse = transform.coarsest(c).clone()
    c = torch.where(c.abs() > 0.7, c * (1 - 0.7 / c.abs()), 0)
    transform.coarsest(c).copy_(coarse)
    found = fista(IDENTITY, y, 0.7, transform=transform, iterations=60)
    assert found.x.dtype == dtype and found.objective.shape == (60, 2)
    torch.testing.assert_close(found.x, transform.AT(c), rtol=0, atol=2e-5)
    once = fista(IDENTITY, y, 0.7, transform=transform, iterations=1, norm=1.0)
    torch.testing.assert_close(once.x, transform.AT(c), **tolerance(dtype))


@pytest.mark.parametrize("rows", [9, 40])
@pytest.mark.parametrize("name", NAMES)
def test_the_optimum_is_that_of_scipy(rows, name):
    """|c| = p + q for c = p - q with p, q >= 0: a smooth problem with bounds."""
    operator, y, weight, transform = (
        matrix(rows, 4),
        numbers(1, 1, rows, seed=1),
        1.5,
        Wavelets(name, 1),
    )
    W = transform.A(torch.eye(16, dtype=f64).reshape(16, 1, 4, 4)).reshape(16, 16).T.numpy()
    M, data = operator.matrix.numpy() @ W.T, y.flatten().numpy()
    penalised = torch.ones(1, 1, 4, 4, dtype=f64)
    transform.coarsest(penalised).zero_()
    w = weight * penalised.flatten().numpy()

    def value_and_slope(pq):
        r = M @ (pq[:16] - pq[16:]) - data
        g = M.T @ r
        return r @ r / 2 + w @ (pq[:16] + pq[16:]), np.concatenate([g + w, w - g])

    best = minimize(
        value_and_slope, np.zeros(32), jac=True, method="L-BFGS-B", bounds=[(0, None)] * 32,
        options={"maxiter": 20_000, "maxfun": 50_000, "ftol": 1e-15, "gtol": 1e-10},
    )  # fmt: skip
    found = fista(operator, y, weight, transform=transform, iterations=3000)
    assert found.objective[-1].item() == pytest.approx(best.fun, rel=1e-8)
    if rows > 16:  # else the minimiser need not be the only one
        expected = W.T @ (best.x[:16] - best.x[16:])
        np.testing.assert_allclose(found.x.flatten(), expected, atol=1e-5)


@pytest.mark.parametrize("dtype", [f64, c128])
@pytest.mark.parametrize("name", NAMES)
def test_the_end_satisfies_the_optimality_conditions(dtype, name):
    """0 is in the subdifferential: the gradient in W balances the weight where a detail lives."""
    operator, transform, weight = matrix(20, 4, dtype=dtype), Wavelets(name, 1), 4.0
    y = numbers(3, 1, 20, seed=1, dtype=dtype)
    x = fista(operator, y, weight, transform=transform, iterations=4000).x
    c, g = transform.A(x), transform.A(operator.AT(operator.A(x) - y))
    coarse = torch.zeros(c.shape, dtype=torch.bool)
    transform.coarsest(coarse).fill_(True)
    alive = (c.abs() > 1e-8) & ~coarse
    assert 3 < alive.sum() < (~coarse).sum() - 3
    assert g[coarse].abs().max() < 1e-7
    torch.testing.assert_close(g[alive], -weight * c[alive] / c[alive].abs(), rtol=0, atol=1e-6)
    assert g[~alive & ~coarse].abs().max() < weight


def test_it_is_as_fast_as_its_theorem_says():
    """Beck and Teboulle 2009b, theorem 5.1: at most 2 L |x*|^2 / (k + 1)^2 above the optimum."""
    blur = torch.exp(-((torch.arange(64)[:, None] - torch.arange(64)) ** 2) / 20).double()
    operator, transform = Matrix(blur, (1, 8, 8)), Wavelets("haar", 3)
    y = operator.A(numbers(1, 1, 8, 8)) + 0.1 * numbers(1, 1, 64, seed=1)
    L = torch.linalg.matrix_norm(blur, 2).item() ** 2
    best = fista(operator, y, 0.01, transform=transform, iterations=8000, norm=math.sqrt(L))
    above = best.objective[:300, 0] - best.objective[-1, 0]
    k = torch.arange(1, 301)
    assert (above <= 2 * L * best.x.square().sum() / (k + 1) ** 2).all()
    x, steps = torch.zeros(1, 1, 8, 8, dtype=f64), []  # plain thresholding is much slower
    for _ in range(300):
        x = x - operator.AT(operator.A(x) - y) / L
        x = fista(IDENTITY, x, 0.01 / L, transform=transform, iterations=1, norm=1.0).x
        steps.append(objective(operator, x, y, 0.01, transform).item() - best.objective[-1, 0])
    assert above[-1] < 0.1 * steps[-1]


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_objective_is_the_stated_one_and_never_rises(dtype):
    operator, transform = matrix(12, 8, dtype=dtype), Wavelets("db4", 2)
    y = numbers(3, 1, 12, seed=1, dtype=dtype)
    found = fista(operator, y, 0.3, transform=transform, iterations=400)
    assert found.objective.dtype == f64
    assert (found.objective.diff(dim=0) <= 0).all()
    for k in (1, 2, 7, 400):
        x = fista(operator, y, 0.3, transform=transform, iterations=k).x
        expected = objective(operator, x, y, 0.3, transform).double()
        torch.testing.assert_close(found.objective[k - 1], expected, rtol=1e-4, atol=1e-5)
    stays = found.objective.diff(dim=0)[:300] == 0  # the fast steps alone would have risen there
    assert stays.any()


def test_the_iterates_are_those_of_the_paper():
    """Beck and Teboulle 2009b, MFISTA, written out; some steps do not lower the objective."""
    operator, transform, weight = matrix(12, 8), Wavelets("haar", 2), 0.3
    y, L = numbers(1, 1, 12, seed=1), torch.linalg.matrix_norm(operator.matrix, 2).item() ** 2
    x = v = torch.zeros(1, 1, 8, 8, dtype=f64)
    t, stays = 1.0, 0
    for k in range(1, 201):
        z = v - operator.AT(operator.A(v) - y) / L
        z = fista(IDENTITY, z, weight / L, transform=transform, iterations=1, norm=1.0).x
        before, t_next = x, (1 + math.sqrt(1 + 4 * t**2)) / 2
        if objective(operator, z, y, weight, transform) <= objective(
            operator, x, y, weight, transform
        ):
            x = z
        else:
            stays += 1
        v = x + t / t_next * (z - x) + (t - 1) / t_next * (x - before)
        t = t_next
        if k in (1, 3, 50, 100, 200):
            found = fista(operator, y, weight, transform=transform, iterations=k, norm=math.sqrt(L))
            torch.testing.assert_close(found.x, x, rtol=0, atol=1e-9)
    assert stays > 3


def test_each_item_is_a_problem_of_its_own():
    operator, transform = matrix(12, 4, dtype=c128), Wavelets("haar", 2)
    y = numbers(3, 1, 12, seed=1, dtype=c128) * torch.tensor([1.0, 0.0, 100.0])[:, None, None]
    whole = fista(operator, y, 0.8, transform=transform, iterations=50)
    for item in range(3):
        alone = fista(operator, y[item : item + 1], 0.8, transform=transform, iterations=50)
        torch.testing.assert_close(whole.x[item], alone.x[0])
        torch.testing.assert_close(whole.objective[:, item], alone.objective[:, 0])
    assert (whole.x[1] == 0).all() and (whole.objective[:, 1] == 0).all()


def test_weight_0_is_least_squares():
    operator, y = matrix(40, 4), numbers(2, 1, 40, seed=1)
    found = fista(operator, y, 0.0, transform=Wavelets("db4", 1), iterations=2000).x
    expected = np.linalg.lstsq(operator.matrix.numpy(), y[:, 0].T.numpy())[0].T
    np.testing.assert_allclose(found.flatten(1), expected, atol=1e-8)


def test_a_given_norm_is_used_and_a_found_one_is_safe():
    operator, y = matrix(30, 4), numbers(1, 1, 30, seed=1)
    truth = torch.linalg.matrix_norm(operator.matrix, 2).item()

    def first(norm):
        return fista(operator, y, 0.0, transform=Wavelets("haar", 1), iterations=1, norm=norm).x

    torch.testing.assert_close(first(truth), operator.AT(y) / truth**2)
    torch.testing.assert_close(first(3 * truth), operator.AT(y) / (3 * truth) ** 2)
    found = (operator.AT(y) / first(None)).mean().item()
    assert truth**2 <= found < 1.06 * truth**2


def test_shifts_move_the_wavelets_and_not_the_image():
    y, transform = numbers(2, 1, 8, 8), Wavelets("haar", 2)
    draws, drawn = torch.Generator().manual_seed(3), torch.Generator().manual_seed(3)
    found = fista(IDENTITY, y, 0.5, transform=transform, iterations=1, norm=1.0, shifts=draws).x
    shift = tuple(torch.randint(4, (2,), generator=drawn).tolist())
    moved = fista(IDENTITY, y.roll(shift, (2, 3)), 0.5, transform=transform, iterations=1, norm=1.0)
    torch.testing.assert_close(found.roll(shift, (2, 3)), moved.x)
    still = fista(IDENTITY, y, 0.5, transform=transform, iterations=1, norm=1.0).x
    assert shift != (0, 0) and not torch.allclose(found, still)
    more = fista(IDENTITY, y, 0.5, transform=transform, iterations=9, norm=1.0, shifts=draws)
    assert (more.objective.diff(dim=0) > 0).any()  # the objective is each time another one


def test_shifts_denoise_an_edge_better():
    truth = torch.zeros(1, 1, 32, 32, dtype=f64)
    truth[..., 5:21, 9:26] = 1
    y, errors = truth + 0.2 * numbers(1, 1, 32, 32), []
    for shifts in (None, torch.Generator().manual_seed(0)):
        wavelets = {"transform": Wavelets("haar", 3), "iterations": 100, "norm": 3.0}
        errors.append((fista(IDENTITY, y, 0.4, shifts=shifts, **wavelets).x - truth).norm())
    assert errors[1] < 0.9 * errors[0]


def test_bad_numbers_are_refused():
    y, good = torch.ones(1, 1, 8, 8), {"transform": Wavelets("haar", 1), "iterations": 2}
    for weight in (-1.0, math.nan, math.inf):
        with pytest.raises(MedbookError, match="weight"):
            fista(IDENTITY, y, weight, **good)
    for norm in (0.0, -1.0, math.nan):
        with pytest.raises(MedbookError, match="norm"):
            fista(IDENTITY, y, 1.0, **good, norm=norm)
    with pytest.raises(MedbookError, match="at least 1"):
        fista(IDENTITY, y, 1.0, transform=good["transform"], iterations=0)
    with pytest.raises(MedbookError, match="divisible"):
        fista(IDENTITY, y, 1.0, transform=Wavelets("haar", 4), iterations=1)

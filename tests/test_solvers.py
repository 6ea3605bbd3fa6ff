"""Baseline solvers against NumPy, SciPy, scikit-image and closed forms; their operators' norms."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.sparse.linalg import lsqr
from skimage.restoration import denoise_tv_chambolle

from medbook.errors import MedbookError
from medbook.physics.operator import dot_test, largest_eigenvalue, operator_norm
from medbook.solvers import (
    cgls,
    divergence,
    gradient,
    sgp,
    sirt,
    smooth_tv_objective,
    total_variation,
    tv,
)  # fmt: skip
from medbook.solvers.sgp import split_tv
from medbook.solvers.tv import _Steps

IDENTITY = SimpleNamespace(A=lambda x: x, AT=lambda y: y)
REAL = (torch.float32, torch.float64)
COMPLEX = (torch.complex64, torch.complex128)
SEEDS = st.integers(0, 10_000)
SPACES = st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple)


class Matrix:
    """A dense matrix as operator: images (B, *domain) to measurements (B, *range)."""

    def __init__(self, matrix, domain, range):
        self.matrix, self.domain, self.range = matrix, domain, range

    def A(self, x):
        return (x.flatten(1) @ self.matrix.T).reshape(-1, *self.range)

    def AT(self, y):
        return (y.flatten(1) @ self.matrix.conj()).reshape(-1, *self.domain)


def numbers(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def matrix(rows, domain, seed=0, dtype=torch.float64, positive=False):
    m = numbers(rows, math.prod(domain), seed=seed, dtype=dtype)
    return Matrix(m.abs() if positive else m, domain, (1, rows))


def tolerance(dtype):
    return {"rtol": 0, "atol": 2e-4 if dtype in (torch.float32, torch.complex64) else 1e-9}


def numpy_least_squares(operator, y, shift=0.0):
    """Minimiser of |Ax - y|^2 + shift |x|^2 for each item, the shortest one if there are many."""
    m, n = operator.matrix.numpy(), operator.matrix.shape[1]
    stacked = np.vstack([m, math.sqrt(shift) * np.eye(n)])
    data = np.hstack([y.flatten(1).numpy(), np.zeros((len(y), n))]).T
    return torch.from_numpy(np.linalg.lstsq(stacked, data)[0].T).reshape(-1, *operator.domain)


# --- operators ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", REAL + COMPLEX)
def test_the_operator_norm_is_the_largest_singular_value(dtype):
    operator = matrix(7, (1, 3, 4), dtype=dtype)
    generator = torch.Generator().manual_seed(1)
    found = operator_norm(operator, torch.zeros(1, 1, 3, 4, dtype=dtype), 300, generator)
    expected = torch.linalg.matrix_norm(operator.matrix, 2).item()
    assert found == pytest.approx(expected, rel=1e-5)


def test_the_power_method_comes_from_below_and_is_one_number_for_a_batch():
    operator, like = matrix(30, (1, 5, 5)), torch.zeros(4, 1, 5, 5, dtype=torch.float64)
    truth = torch.linalg.matrix_norm(operator.matrix, 2).item()
    found = [operator_norm(operator, like, k, torch.Generator().manual_seed(0)) for k in (1, 5, 50)]
    assert found == sorted(found) and found[-1] <= truth * (1 + 1e-12)
    assert found[-1] == pytest.approx(truth, rel=1e-2)


def test_the_norm_of_the_zero_operator_is_0():
    zero = SimpleNamespace(A=lambda x: 0 * x, AT=lambda y: 0 * y)
    assert operator_norm(zero, torch.zeros(1, 1, 3), 4, torch.Generator()) == 0
    with pytest.raises(MedbookError, match="at least 1"):
        largest_eigenvalue(lambda v: v, torch.zeros(3), 0, torch.Generator())


@pytest.mark.parametrize("dtype", REAL + COMPLEX)
def test_the_dot_test_passes_an_adjoint_and_notices_what_is_none(dtype):
    operator = matrix(6, (1, 2, 4), dtype=dtype)
    x, y = numbers(3, 1, 2, 4, seed=1, dtype=dtype), numbers(3, 1, 6, seed=2, dtype=dtype)
    assert dot_test(operator, x, y) < 10 * torch.finfo(dtype).eps
    others = {
        "flipped": lambda y: operator.AT(y).flip(-1),
        "scaled": lambda y: 1.01 * operator.AT(y),
        "of the wrong sign": lambda y: -operator.AT(y),
    }
    if dtype.is_complex:
        others["not conjugated"] = lambda y: operator.AT(y.conj()).conj()
    for name, adjoint in others.items():
        assert dot_test(SimpleNamespace(A=operator.A, AT=adjoint), x, y) > 1e-3, name


def test_the_dot_test_is_the_stated_quotient():
    x, y = numbers(2, 1, 4), numbers(2, 1, 4, seed=1)
    flipped = SimpleNamespace(A=lambda x: 3 * x, AT=lambda y: 3 * y.flip(2))
    expected = abs((3 * x * y).sum() - (3 * x * y.flip(2)).sum()) / (3 * x.norm() * y.norm())
    assert dot_test(flipped, x, y) == pytest.approx(expected.item(), rel=1e-12)
    assert dot_test(flipped, 0 * x, y) == 0


# --- CGLS -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [5, 12, 30])
@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_cgls_takes_the_steps_of_lsqr(rows, shift):
    operator, y = matrix(rows, (1, 3, 4)), numbers(2, 1, rows, seed=1)
    for steps in (1, 2, 4):
        found = cgls(operator, y, steps, shift=shift)
        for item, data in zip(found.x, y, strict=True):
            m, damp = operator.matrix.numpy(), math.sqrt(shift)
            expected = lsqr(m, data[0], damp, atol=0, btol=0, conlim=0, iter_lim=steps)[0]
            np.testing.assert_allclose(item.flatten(), expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("dtype", REAL + COMPLEX)
@pytest.mark.parametrize("rows", [5, 30])
@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_cgls_ends_at_the_least_squares_solution(dtype, rows, shift):
    operator = matrix(rows, (2, 2, 3), dtype=dtype)
    y = numbers(3, 1, rows, seed=1, dtype=dtype)
    found = cgls(operator, y, iterations=40, shift=shift)
    expected = numpy_least_squares(operator, y, shift).to(dtype)
    torch.testing.assert_close(found.x, expected, **tolerance(dtype))
    assert found.x.dtype == dtype and not found.residuals.is_complex()


def test_cgls_reports_the_residual_of_each_iterate():
    operator, y = matrix(9, (1, 4, 2)), numbers(3, 1, 9, seed=1)
    found = cgls(operator, y, iterations=5)
    assert found.residuals.shape == (5, 3)
    for k in range(5):
        x = cgls(operator, y, iterations=k + 1).x
        torch.testing.assert_close(found.residuals[k], (y - operator.A(x)).flatten(1).norm(dim=1))
    assert (found.residuals.diff(dim=0) < 0).all()


@pytest.mark.parametrize("dtype", REAL + COMPLEX)
def test_cgls_lowers_the_residual_to_rounding_and_stays_there(dtype):
    operator = matrix(6, (1, 2, 3), dtype=dtype)
    truth = numbers(2, 1, 2, 3, seed=1, dtype=dtype)
    found = cgls(operator, operator.A(truth), iterations=500)
    torch.testing.assert_close(found.x, truth, **tolerance(dtype))
    assert (found.residuals[20:] < 1e3 * torch.finfo(dtype).eps).all()


@pytest.mark.parametrize("dtype", REAL + COMPLEX)
def test_cgls_starts_where_it_is_told(dtype):
    operator = matrix(8, (1, 2, 3), dtype=dtype)
    y, x0 = numbers(2, 1, 8, seed=1, dtype=dtype), numbers(2, 1, 2, 3, seed=2, dtype=dtype)
    kept = x0.clone()
    found = cgls(operator, y, 3, x0=x0, shift=0.5).x
    # x = x0 + d turns the problem into one for d without start if the shift is 0
    moved = x0 + cgls(operator, y - operator.A(x0), 3).x
    torch.testing.assert_close(cgls(operator, y, 3, x0=x0).x, moved, **tolerance(dtype))
    expected = numpy_least_squares(operator, y, 0.5).to(dtype)
    there = cgls(operator, y, 40, x0=x0, shift=0.5).x
    torch.testing.assert_close(there, expected, **tolerance(dtype))
    torch.testing.assert_close(cgls(operator, y, 4, x0=expected, shift=0.5).x, expected)
    assert torch.equal(x0, kept) and not torch.equal(found, there)


@pytest.mark.parametrize("dtype", REAL + COMPLEX)
def test_cgls_of_zero_data_is_zero_beside_other_items(dtype):
    operator, y = matrix(8, (1, 2, 3), dtype=dtype), numbers(3, 1, 8, dtype=dtype)
    y[1] = 0
    found = cgls(operator, y, iterations=30)
    assert (found.x[1] == 0).all() and (found.residuals[:, 1] == 0).all()
    torch.testing.assert_close(found.x[2:], cgls(operator, y[2:], iterations=30).x)
    null = torch.linalg.svd(operator.matrix).U[:, -1][None, None]  # A^T y = 0
    found = cgls(operator, null, iterations=5, shift=0.1)
    assert found.x.abs().max() < 1e-4 and (found.residuals - 1).abs().max() < 1e-4


def test_cgls_semi_converges_on_noisy_data():
    blur = torch.exp(-((torch.arange(40)[:, None] - torch.arange(40)) ** 2) / 8).double()
    operator = Matrix(blur, (1, 40), (1, 40))
    truth = (torch.arange(40) // 10 % 2).double().reshape(1, 1, 40)
    y = operator.A(truth) + 0.05 * numbers(1, 1, 40)
    errors = [(cgls(operator, y, k).x - truth).norm().item() for k in (1, 5, 40)]
    assert errors[1] < errors[0] and errors[1] < 0.2 * errors[2]


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_cgls_passes_the_gradient_of_the_pseudo_inverse(dtype):
    operator, y = matrix(9, (1, 2, 3), dtype=dtype), numbers(1, 1, 9, seed=1, dtype=dtype)
    y.requires_grad_()
    weights = numbers(1, 1, 2, 3, seed=2, dtype=dtype)
    (cgls(operator, y, iterations=6).x * weights.conj()).sum().real.backward()
    expected = (weights.flatten() @ torch.linalg.pinv(operator.matrix).conj()).reshape(1, 1, 9)
    torch.testing.assert_close(y.grad, expected, rtol=1e-6, atol=1e-8)


def test_cgls_of_zero_data_has_a_gradient():
    operator, y = matrix(9, (1, 2, 3)), numbers(2, 1, 9, seed=1)
    y[0] = 0
    y.requires_grad_()
    cgls(operator, y, iterations=4).x.sum().backward()
    assert y.grad.isfinite().all() and y.grad[1].abs().max() > 0


def test_cgls_solves_the_normal_equations_of_a_masked_fourier_transform():
    """A quarter of the frequencies of two coils; with shift the normal matrix is well posed."""
    coils = numbers(1, 2, 6, 7, seed=3, dtype=torch.complex128)
    mask = numbers(6, 7, seed=4) > 0.7

    def A(x):
        return mask * torch.fft.fft2(coils * x, norm="ortho")

    def AT(y):
        return (coils.conj() * torch.fft.ifft2(mask * y, norm="ortho")).sum(1, keepdim=True)

    scan = SimpleNamespace(A=A, AT=AT)
    truth = numbers(2, 1, 6, 7, seed=1, dtype=torch.complex128)
    y = A(truth)
    assert dot_test(scan, truth, numbers(*y.shape, seed=2, dtype=y.dtype)) < 1e-14
    x = cgls(scan, y, iterations=60, shift=0.1).x
    torch.testing.assert_close(AT(A(x)) + 0.1 * x, AT(y), rtol=0, atol=1e-10)
    phase = torch.exp(torch.tensor(0.4j, dtype=x.dtype))
    torch.testing.assert_close(cgls(scan, phase * y, 7).x, phase * cgls(scan, y, 7).x)


# --- SIRT -----------------------------------------------------------------------------------------


def naive_sirt(m, y, iterations, lower):
    """Gregor and Benson 2008, pixel by pixel."""
    rows, columns, x = m.sum(1), m.sum(0), np.zeros(m.shape[1])
    for _ in range(iterations):
        r = [(y[i] - m[i] @ x) / rows[i] if rows[i] else 0.0 for i in range(len(y))]
        for j in range(len(x)):
            back = sum(m[i, j] * r[i] for i in range(len(y)))
            x[j] += back / columns[j] if columns[j] else 0.0
        x = x if lower is None else np.maximum(x, lower)
    return x


@pytest.mark.parametrize("lower", [None, 0.0, 0.1])
@pytest.mark.parametrize("dtype", REAL)
def test_sirt_is_its_definition(lower, dtype):
    operator = matrix(9, (1, 3, 5), dtype=torch.float64, positive=True)
    operator.matrix[3], operator.matrix[:, 7] = 0, 0  # a ray without pixel, a pixel without ray
    y = numbers(3, 1, 9, seed=1)
    given = Matrix(operator.matrix.to(dtype), (1, 3, 5), (1, 9))
    found = sirt(given, y.to(dtype), 7, lower=lower)
    for item, data, last in zip(found.x, y, found.residuals[-1], strict=True):
        expected = naive_sirt(operator.matrix.numpy(), data[0].numpy(), 7, lower)
        np.testing.assert_allclose(item.flatten(), expected, atol=tolerance(dtype)["atol"])
        residual = np.linalg.norm(data[0].numpy() - operator.matrix.numpy() @ expected)
        assert last.item() == pytest.approx(residual, rel=1e-4)
    assert found.residuals.shape == (7, 3) and found.x.isfinite().all()


def test_sirt_converges_to_weighted_least_squares():
    operator, y = matrix(20, (1, 2, 3), positive=True), numbers(2, 1, 20, seed=1)
    scale = operator.matrix.sum(1).rsqrt()
    weighted = Matrix(scale[:, None] * operator.matrix, (1, 2, 3), (1, 20))
    expected = numpy_least_squares(weighted, scale * y)
    torch.testing.assert_close(sirt(operator, y, 3000, lower=None).x, expected)
    assert not torch.allclose(expected, numpy_least_squares(operator, y), atol=1e-3)


def test_sirt_explains_exact_data_of_an_image_above_the_bound():
    operator = matrix(12, (1, 2, 3), positive=True)
    truth = numbers(2, 1, 2, 3, seed=1).abs()
    found = sirt(operator, operator.A(truth), 4000)
    torch.testing.assert_close(found.x, truth, rtol=0, atol=1e-5)
    assert (found.residuals.diff(dim=0) <= 1e-12).all()


# --- total variation ------------------------------------------------------------------------------


@given(space=SPACES, seed=SEEDS)
def test_divergence_is_minus_the_adjoint_of_gradient(space, seed):
    x = numbers(2, 3, *space, seed=seed)
    p = numbers(2, 3, len(space), *space, seed=seed + 1)
    assert gradient(x).shape == p.shape and divergence(p).shape == x.shape
    inner = (gradient(x) * p).sum()
    torch.testing.assert_close(inner, -(x * divergence(p)).sum(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", REAL)
def test_gradient_is_the_difference_to_the_next_pixel(dtype):
    x = numbers(2, 1, 3, 5, dtype=dtype)
    p = gradient(x)
    assert p.dtype == dtype and p.shape == (2, 1, 2, 3, 5)
    for row in range(3):
        for column in range(5):
            here = x[:, :, row, column]
            down = x[:, :, row + 1, column] - here if row < 2 else 0 * here
            right = x[:, :, row, column + 1] - here if column < 4 else 0 * here
            assert torch.equal(p[:, :, 0, row, column], down)
            assert torch.equal(p[:, :, 1, row, column], right)


@pytest.mark.parametrize("space", [(31,), (16, 17), (7, 8, 9)])
def test_the_norm_of_gradient_stays_below_its_bound(space):
    like, d = torch.zeros(1, 1, *space, dtype=torch.float64), len(space)
    generator = torch.Generator().manual_seed(0)
    largest = largest_eigenvalue(lambda v: -divergence(gradient(v)), like, 200, generator)
    assert 0.93 * 4 * d < largest < 4 * d


def test_total_variation_of_a_disc_is_its_height_times_its_perimeter():
    """Forward differences cut corners: a few per cent too much, at every size."""
    for radius in (20, 40):
        u = torch.arange(-50, 50) + 0.5
        disc = 3.0 * ((u[:, None] ** 2 + u**2) < radius**2).double()
        smooth = torch.nn.functional.avg_pool2d(disc[None, None], 5, stride=1)
        expected = 3 * 2 * math.pi * radius
        assert total_variation(smooth).item() == pytest.approx(expected, rel=0.03)


@given(space=SPACES, seed=SEEDS, scale=st.floats(-3, 3))
def test_total_variation_is_a_seminorm(space, seed, scale):
    x, y = numbers(2, 2, *space, seed=seed), numbers(2, 2, *space, seed=seed + 1)
    tvx, tvy = total_variation(x), total_variation(y)
    assert (total_variation(x + y) <= tvx + tvy + 1e-10).all()
    torch.testing.assert_close(total_variation(scale * x + 5), abs(scale) * tvx)
    assert (total_variation(torch.full_like(x, 2.5)) == 0).all()


def test_total_variation_has_a_gradient_on_flat_images():
    x = torch.ones(1, 1, 4, 5, requires_grad=True)
    total_variation(x).sum().backward()
    assert torch.equal(x.grad, torch.zeros_like(x))


def test_gradient_and_divergence_refuse_other_shapes():
    with pytest.raises(MedbookError, match=r"\(B, C, \*space\)"):
        gradient(torch.zeros(3, 1))
    with pytest.raises(MedbookError, match=r"\(B, C, d, \*space\)"):
        divergence(torch.zeros(2, 1, 3, 4, 4))


# --- TV reconstruction ----------------------------------------------------------------------------


def tv_problem(rows=10, domain=(1, 3, 4), batch=3, dtype=torch.float64):
    operator = matrix(rows, domain, positive=True, dtype=dtype)
    truth = numbers(batch, *domain, seed=1, dtype=dtype).abs()
    noise = 0.3 * numbers(batch, 1, rows, seed=2, dtype=dtype)
    return operator, operator.A(truth) + noise


def tv_objective(operator, y, weight, x):
    misfit = (operator.A(x) - y).flatten(1).square().sum(1) / 2
    return misfit + weight * total_variation(x)


def smooth_objective(v, operator, y, weight, epsilon):
    """Value and slope of the objective of one item, |grad x| replaced by a smooth function."""
    x = torch.tensor(v).reshape(1, *operator.domain).requires_grad_()
    length = (gradient(x).square().sum(2) + epsilon**2).sqrt()
    value = (operator.A(x) - y).square().sum() / 2 + weight * length.sum()
    value.backward()
    return value.item(), x.grad.numpy().ravel()


def scipy_tv(operator, y, weight, upper):
    """Each item by L-BFGS-B, smoothed less and less."""
    options = {"maxiter": 5000, "maxfun": 50_000, "ftol": 1e-15, "gtol": 1e-9}
    solutions = []
    for item in y:
        x = np.full(math.prod(operator.domain), upper / 2)
        for epsilon in 10.0 ** -np.arange(2, 9):
            given, box = (operator, item, weight, epsilon), [(0, upper)] * len(x)
            x = minimize(
                smooth_objective, x, given, "L-BFGS-B", jac=True, bounds=box, options=options
            ).x
        solutions.append(torch.tensor(x).reshape(operator.domain))
    return torch.stack(solutions)


@pytest.mark.parametrize("weight", [0.0, 0.4, 3.0])
@pytest.mark.parametrize("domain", [(1, 3, 4), (2, 5), (1, 2, 2, 3)])
def test_tv_agrees_with_scipy(weight, domain):
    operator, y = tv_problem(rows=14, domain=domain, batch=2)
    upper = 1.5  # cuts some pixels, as 0 does: the box matters
    found = tv(operator, y, weight, iterations=4000, upper=upper)
    expected = scipy_tv(operator, y, weight, upper)
    optimum = tv_objective(operator, y, weight, expected)
    assert (found.objective[-1] <= optimum + 1e-6).all()
    assert (found.objective[-1] >= optimum - 1e-4).all()  # SciPy's own accuracy
    torch.testing.assert_close(found.x, expected, rtol=0, atol=2e-3)
    on_the_box = (found.x == 0) | (found.x == upper)
    assert not on_the_box.all() and (on_the_box.any() or weight == 3)


@pytest.mark.parametrize("weight", [0.0, 0.4, 3.0])
def test_the_gap_certifies_the_distance_to_the_optimum(weight):
    operator, y = tv_problem()
    optimum = tv(operator, y, weight, iterations=9000, upper=2.0)
    assert (optimum.gap[-1] < 1e-7).all()
    short = tv(operator, y, weight, iterations=203, upper=2.0)
    distance = short.objective - optimum.objective[-1]
    assert (distance >= -1e-7).all() and (short.gap + 1e-7 >= distance).all()
    assert (short.gap <= short.objective).all()  # 0 is a bound, whatever the dual
    assert (short.gap >= 0).all() and (short.gap[-1] < 0.2 * short.gap[0]).all()
    assert short.checked == [*range(10, 201, 10), 203]
    assert short.gap.shape == short.objective.shape == (21, 3)


@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_tv_reports_the_objective_of_its_iterate(weight):
    operator, y = tv_problem()
    for iterations in (1, 10, 37):
        found = tv(operator, y, weight, iterations=iterations, upper=2.0)
        torch.testing.assert_close(found.objective[-1], tv_objective(operator, y, weight, found.x))
        assert found.x.min() >= 0 and found.x.max() <= 2


def test_the_bound_on_the_optimum_never_falls():
    operator, y = tv_problem(rows=25, domain=(1, 6, 7))
    found = tv(operator, y, 1e-2, iterations=600, upper=5.0)
    bound = found.objective - found.gap
    assert (bound.diff(dim=0) >= -1e-12).all() and (bound[-1] > bound[0]).all()


@pytest.mark.parametrize("domain", [(1, 3, 4), (1, 9), (1, 2, 3, 3)])
@pytest.mark.parametrize("seed", range(3))
def test_the_steps_of_tv_are_just_below_the_limit(domain, seed):
    operator = matrix(11, domain, seed=seed, positive=seed > 0)
    basis = torch.eye(math.prod(domain), dtype=torch.float64).reshape(-1, *domain)
    D = gradient(basis).flatten(1).T
    for scale in (1e-3, 1.0, 1e3):
        M = scale * operator.matrix
        steps = _Steps(Matrix(M, domain, operator.range), basis, norm=None)
        for tau, sigma_q, sigma_p in zip(*steps.sizes(), strict=True):
            K = torch.cat([sigma_q.sqrt() * M, sigma_p.sqrt() * D])
            assert 0.9 < tau * torch.linalg.matrix_norm(K, 2) ** 2 < 1


@settings(max_examples=30, deadline=None)
@given(a=st.floats(0.1, 1), weight=st.floats(0, 1))
def test_tv_of_two_pixels_in_closed_form(a, weight):
    y = torch.tensor([[[0.0, a]]], dtype=torch.float64)
    low = min(weight, a / 2)
    found = tv(IDENTITY, y, weight, iterations=500, upper=2.0)
    expected = torch.tensor([[[low, a - low]]], dtype=torch.float64)
    torch.testing.assert_close(found.x, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("dtype", REAL)
def test_tv_takes_its_share_of_a_step(dtype):
    """A step between n and m pixels shrinks by weight (1/n + 1/m): Strong and Chan 2003."""
    y = torch.tensor([0.2] * 3 + [1.0] * 5, dtype=dtype).expand(1, 1, 4, 8)
    found = tv(IDENTITY, y.contiguous(), 0.6, iterations=1500, upper=1.0).x
    expected = torch.tensor([0.2 + 0.6 / 3] * 3 + [1 - 0.6 / 5] * 5, dtype=dtype)
    torch.testing.assert_close(found, expected.expand_as(found), rtol=0, atol=1e-4)


@pytest.mark.parametrize("shape", [(9, 7), (16, 16)])
def test_tv_denoises_like_scikit_image(shape):
    y = numbers(2, 1, *shape).sigmoid()
    found = tv(IDENTITY, y, 0.2, iterations=3000, upper=1.0).x
    for ours, noisy in zip(found, y, strict=True):
        expected = denoise_tv_chambolle(noisy[0].numpy(), 0.2, eps=0, max_num_iter=20_000)
        np.testing.assert_allclose(ours[0], expected, atol=2e-4)


def test_tv_of_a_constant_image_is_that_image():
    operator = matrix(30, (1, 3, 5), positive=True)
    truth = torch.full((2, 1, 3, 5), 0.6, dtype=torch.float64)
    truth[1] = 0  # zero data
    y = operator.A(truth)
    found = tv(operator, y, 0.5, iterations=3000, upper=1.0)
    torch.testing.assert_close(found.x, truth, rtol=0, atol=1e-5)
    zero_image = y.square().sum((1, 2)) / 2
    assert (found.objective[-1] <= 1e-7 * zero_image).all()
    assert (found.gap[-1] <= 1e-7 * zero_image).all()


def test_tv_with_a_large_weight_is_the_mean_within_the_box():
    y = torch.stack([numbers(1, 5, 7), numbers(1, 5, 7) + 3])
    found = tv(IDENTITY, y, 1e3, iterations=2000, upper=2.0)
    mean = y.mean((1, 2, 3), keepdim=True).clamp(0, 2).expand_as(y)
    torch.testing.assert_close(found.x, mean, rtol=0, atol=1e-4)


def test_tv_does_not_depend_on_units():
    """Data c times as large with c^2 times the weight, or pixels c times as large: same steps."""
    operator, y = tv_problem()
    expected = tv(operator, y, 0.4, iterations=60, upper=2.0)
    c = 64.0
    coarse = Matrix(c * operator.matrix, operator.domain, operator.range)
    found = tv(coarse, c * y, c**2 * 0.4, iterations=60, upper=2.0)
    torch.testing.assert_close(found.x, expected.x)
    torch.testing.assert_close(found.gap, c**2 * expected.gap)
    found = tv(coarse, y, c * 0.4, iterations=60, upper=2.0 / c)
    torch.testing.assert_close(c * found.x, expected.x)


@pytest.mark.parametrize("norm", [0.2, 1.0, 5.0])
def test_tv_converges_with_any_scale_of_its_steps(norm):
    operator, y = tv_problem()
    true_norm = torch.linalg.matrix_norm(operator.matrix, 2).item()
    expected = tv(operator, y, 0.4, iterations=4000, upper=2.0)
    found = tv(operator, y, 0.4, iterations=4000, upper=2.0, norm=norm * true_norm)
    assert (found.gap[-1] < 1e-4).all()
    torch.testing.assert_close(found.x, expected.x, rtol=0, atol=1e-3)


def test_tv_in_float32_is_close_to_float64():
    operator, y = tv_problem()
    single = Matrix(operator.matrix.float(), operator.domain, operator.range)
    found = tv(single, y.float(), 0.4, iterations=2000, upper=2.0)
    expected = tv(operator, y, 0.4, iterations=2000, upper=2.0)
    assert found.x.dtype == torch.float32
    assert found.gap.dtype == found.objective.dtype == torch.float64
    torch.testing.assert_close(found.x.double(), expected.x, rtol=0, atol=1e-3)
    assert (found.gap[-1] > -1e-4).all()


def test_tv_keeps_the_edge_that_least_squares_blurs():
    """Few rays: the piecewise constant image is found, and the flipped adjoint is not."""
    operator = matrix(18, (1, 5, 6), positive=True)
    truth = torch.zeros(1, 1, 5, 6, dtype=torch.float64)
    truth[..., 1:4, 2:5] = 1
    y = operator.A(truth)
    found = tv(operator, y, 1e-3, iterations=3000, upper=1.0)
    assert (found.x - truth).abs().max() < 0.02
    assert (cgls(operator, y, 30).x - truth).abs().max() > 0.3
    flipped = SimpleNamespace(A=operator.A, AT=lambda y: operator.AT(y).flip(-1))
    assert (tv(flipped, y, 1e-3, iterations=3000, upper=1.0).x - truth).abs().max() > 0.3


# --- scaled gradient projection -------------------------------------------------------------------


def sgp_problem(rows=14, domain=(1, 3, 5), batch=2, dtype=torch.float64, seed=0):
    operator = matrix(rows, domain, seed=seed, dtype=dtype, positive=True)
    x = numbers(batch, *domain, seed=seed + 1, dtype=dtype).clamp(min=0)
    noise = 0.3 * numbers(batch, 1, rows, seed=seed + 2, dtype=dtype)
    return operator, operator.A(x) + noise


@given(SEEDS)
@settings(max_examples=20)
def test_the_parts_of_the_tv_gradient_are_positive_and_differ_by_it(seed):
    x = numbers(2, 1, 4, 5, seed=seed).abs().requires_grad_()
    zero = SimpleNamespace(A=lambda x: 0 * x, AT=lambda y: 0 * y)
    f = smooth_tv_objective(zero, x, torch.zeros_like(x), 1.0, beta=0.1).sum()
    (g,) = torch.autograd.grad(f, x)
    V, U = split_tv(x.detach(), beta=0.1)
    assert (V >= 0).all() and (U >= 0).all()
    torch.testing.assert_close(V - U, g)


def test_the_smooth_objective_in_closed_form():
    x = torch.tensor([[[[1.0, 3.0], [0.0, 0.0]]]])
    squares = [1 + 1, 4 + 9, 0 + 1, 0 + 9]  # across, then down; zeros before the first
    expected = 0.5 * 3.0**2 + 2 * sum(math.sqrt(q + 0.25) for q in squares)
    y = x + torch.tensor([[[[3.0, 0.0], [0.0, 0.0]]]])
    assert smooth_tv_objective(IDENTITY, x, y, 2.0, beta=0.5).item() == pytest.approx(expected)


@pytest.mark.parametrize("weight", [0.0, 0.5, 5.0])
def test_sgp_agrees_with_scipy(weight):
    operator, y = sgp_problem(rows=30)
    found = sgp(operator, y, weight, iterations=3000, beta=0.05)
    for item, data, value in zip(found.x, y, found.objective[-1], strict=True):

        def f(x, data):
            x = torch.tensor(x).reshape(1, *operator.domain).requires_grad_()
            value = smooth_tv_objective(operator, x, data[None], weight, beta=0.05)
            return value.item(), torch.autograd.grad(value.sum(), x)[0].flatten().numpy()

        box, options = [(0, None)] * item.numel(), {"maxiter": 5000, "ftol": 1e-15, "gtol": 1e-9}
        best = minimize(
            f, np.ones(item.numel()), data, "L-BFGS-B", True, bounds=box, options=options
        )
        assert value.item() == pytest.approx(best.fun, rel=1e-5)
        np.testing.assert_allclose(item.flatten(), best.x, atol=5e-3)
    assert weight == 5 or (found.x == 0).any()  # the bound matters


@pytest.mark.parametrize("dtype", REAL)
def test_the_objective_of_sgp_never_rises_and_is_that_of_its_iterates(dtype):
    operator, y = sgp_problem(dtype=dtype)
    found = sgp(operator, y, 0.5, iterations=60, keep=(1, 7, 60))
    assert (found.objective[1:] <= found.objective[:-1]).all()
    assert set(found.kept) == {1, 7, 60} and torch.equal(found.kept[60], found.x)
    for k, x in found.kept.items():
        assert torch.equal(x, sgp(operator, y, 0.5, iterations=k).x)
        expected = smooth_tv_objective(operator, x, y, 0.5)
        torch.testing.assert_close(found.objective[k - 1], expected)


def slow_sgp(m, y, weight, beta, iterations):
    """One item in NumPy, the image as a column of pixels: Bonettini et al. 2009."""

    def f(x):
        before = np.concatenate([[0.0], x[:-1]])  # above; to the left there is nothing
        edges = np.sqrt((x - before) ** 2 + x**2 + beta**2)
        return 0.5 * np.sum((m @ x - y) ** 2) + weight * edges.sum()

    def parts(x):
        before, after = np.concatenate([[0.0], x[:-1]]), np.concatenate([x[1:], [0.0]])
        w = 1 / np.sqrt((x - before) ** 2 + x**2 + beta**2)
        w_after = np.concatenate([w[1:], [0.0]])
        V = m.T @ (m @ x) + weight * (2 * w + w_after) * x
        return V, m.T @ y + weight * (w * before + w_after * after)

    x, tau, second = np.zeros(m.shape[1]), 0.5, []
    V, U = parts(x)
    g = V - U
    alpha = g @ g / np.sum((m @ g) ** 2)
    for k in range(1, iterations + 1):
        rho = math.sqrt(1 + 1e15 / k**2.1)
        s = np.ones_like(x) if k == 1 else np.clip(x / np.maximum(V, 1e-4), 1 / rho, rho)
        d = np.maximum(x - alpha * s * g, 0) - x
        eta = 1.0
        while f(x + eta * d) > f(x) + 0.25 * eta * (g @ d):
            eta *= 0.8
        sigma, x = eta * d, x + eta * d
        V, U = parts(x)
        z, g = V - U - g, V - U
        one, two = (
            np.sum((sigma / s) ** 2) / (sigma @ (z / s)),
            sigma @ (s * z) / np.sum((s * z) ** 2),
        )
        one, two = (min(a, 1e5) if a > 0 else 1e5 for a in (one, two))
        second = [*second, two][-3:]
        alpha, tau = (min(second), 0.9 * tau) if two / one < tau else (one, 1.1 * tau)
    return x


@pytest.mark.parametrize("iterations", [1, 2, 3, 8])
def test_sgp_takes_the_steps_of_its_definition(iterations):
    operator, y = sgp_problem(rows=20, domain=(1, 9, 1), batch=2)
    found = sgp(operator, y, 0.5, iterations=iterations, beta=0.1).x
    for item, data in zip(found, y, strict=True):
        expected = slow_sgp(operator.matrix.numpy(), data.flatten().numpy(), 0.5, 0.1, iterations)
        np.testing.assert_allclose(item.flatten(), expected, rtol=1e-6, atol=1e-9)


def test_sgp_of_data_without_signal_is_zero():
    operator, y = sgp_problem()
    assert (sgp(operator, torch.zeros_like(y), 0.5, iterations=5).x == 0).all()
    assert (sgp(operator, -y.abs(), 0.5, iterations=5).x == 0).all()


# --- batches and bad input ------------------------------------------------------------------------


def _planar(operator):
    """The operator with images as one row (B, 1, 1, n)."""
    if operator is IDENTITY:
        return operator
    return Matrix(operator.matrix.abs(), (1, 1, math.prod(operator.domain)), operator.range)


SOLVERS = {
    "cgls": lambda operator, y: cgls(operator, y, 5, shift=0.1).x,
    "sirt": lambda operator, y: sirt(operator, y, 6).x,
    "tv": lambda operator, y: tv(operator, y, 0.4, iterations=45, upper=2.0).x,
    "sgp": lambda operator, y: sgp(_planar(operator), y, 0.4, iterations=30).x,
}


@pytest.mark.parametrize("name", SOLVERS)
def test_each_item_of_a_batch_is_its_own_problem(name):
    operator, y = tv_problem(batch=4)
    y[2] *= 100  # step sizes of its own
    whole, order = SOLVERS[name](operator, y), [2, 0, 3, 1]
    alone = torch.cat([SOLVERS[name](operator, item[None]) for item in y])
    torch.testing.assert_close(whole, alone)
    torch.testing.assert_close(SOLVERS[name](operator, y[order]), whole[order])


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("dtype", REAL)
def test_a_solver_keeps_precision_and_leaves_its_data_alone(name, dtype):
    operator, y = tv_problem(dtype=dtype)
    kept = y.clone()
    assert SOLVERS[name](operator, y).dtype == dtype
    assert SOLVERS[name](IDENTITY, y[:, :, None]).shape == (3, 1, 1, 10)
    assert torch.equal(y, kept)


@pytest.mark.parametrize("name", SOLVERS)
def test_a_solver_leaves_the_global_generator_alone(name):
    before = torch.get_rng_state()
    SOLVERS[name](*tv_problem())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda op, y: cgls(op, y, 0), "at least 1"),
        (lambda op, y: cgls(op, y[0, 0], 3), "give a batch"),
        (lambda op, y: cgls(op, y, 3, shift=-1.0), "shift is -1.0"),
        (lambda op, y: cgls(op, y, 3, shift=math.nan), "shift is nan"),
        (lambda op, y: sirt(op, y, 0), "at least 1"),
        (lambda op, y: sirt(Matrix(-op.matrix, op.domain, op.range), y, 3), "use cgls"),
        (lambda op, y: tv(op, y, 0.1, iterations=0, upper=1.0), "at least 1"),
        (lambda op, y: tv(op, y, -0.1, iterations=3, upper=1.0), "weight -0.1"),
        (lambda op, y: tv(op, y, 0.1, iterations=3, upper=0.0), "upper 0.0"),
        (lambda op, y: tv(op, y, 0.1, iterations=3, upper=math.inf), "upper inf"),
        (lambda op, y: tv(op, y, 0.1, iterations=3, upper=1.0, norm=0.0), "norm of A is 0.0"),
        (lambda op, y: sgp(op, y, 0.1, iterations=0), "at least 1"),
        (lambda op, y: sgp(op, y, -0.1, iterations=3), "weight -0.1"),
        (lambda op, y: sgp(op, y, 0.1, iterations=3, beta=0.0), "beta 0.0"),
    ],
)
def test_what_makes_no_sense_is_refused(call, message):
    with pytest.raises(MedbookError, match=message):
        call(*tv_problem())

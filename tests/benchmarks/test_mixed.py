"""The mixed-effects logistic model against published and brute-force figures."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.mixed import Data, data_of, fit, log_likelihood, render
from scipy.integrate import dblquad
from scipy.special import expit
from scipy.stats import binom, multivariate_normal

# lme4's data set cbpp: cases of pleuropneumonia among the cattle of 15 herds in up to four periods
# (Lesnoff et al. 2004), as (herd, cases, animals, period).
CBPP = np.array(
    [
        *[(1, 2, 14, 1), (1, 3, 12, 2), (1, 4, 9, 3), (1, 0, 5, 4), (2, 3, 22, 1), (2, 1, 18, 2), (2, 1, 21, 3)],
        *[(3, 8, 22, 1), (3, 2, 16, 2), (3, 0, 16, 3), (3, 2, 20, 4), (4, 2, 10, 1), (4, 0, 10, 2), (4, 2, 9, 3)],
        *[(4, 0, 6, 4), (5, 5, 18, 1), (5, 0, 25, 2), (5, 0, 24, 3), (5, 1, 4, 4), (6, 3, 17, 1), (6, 0, 17, 2)],
        *[(6, 0, 18, 3), (6, 1, 20, 4), (7, 8, 16, 1), (7, 1, 10, 2), (7, 3, 9, 3), (7, 0, 5, 4), (8, 12, 34, 1)],
        *[(9, 2, 9, 1), (9, 0, 6, 2), (9, 0, 8, 3), (9, 0, 6, 4), (10, 1, 22, 1), (10, 1, 22, 2), (10, 0, 18, 3)],
        *[(10, 2, 22, 4), (11, 0, 25, 1), (11, 5, 27, 2), (11, 3, 22, 3), (11, 1, 22, 4), (12, 2, 10, 1)],
        *[(12, 1, 8, 2), (12, 0, 6, 3), (12, 0, 5, 4), (13, 1, 21, 1), (13, 2, 24, 2), (13, 0, 19, 3)],
        *[(13, 0, 23, 4), (14, 11, 19, 1), (14, 0, 2, 2), (14, 0, 3, 3), (14, 0, 2, 4), (15, 1, 19, 1)],
        *[(15, 1, 15, 2), (15, 1, 15, 3), (15, 0, 15, 4)],
    ]
)


def cbpp() -> Data:
    successes, trials = np.zeros((15, 4)), np.zeros((15, 4))
    herd, cases, animals, period = CBPP.T
    successes[herd - 1, period - 1], trials[herd - 1, period - 1] = cases, animals
    design = np.eye(4)
    design[:, 0] = 1
    return Data(successes, trials, np.broadcast_to(design, (15, 4, 4)), np.ones((15, 4, 1)))


def test_the_published_example_is_reproduced():
    """``glmer(cbind(incidence, size - incidence) ~ period + (1 | herd), binomial, cbpp)``.

    lme4 prints the fixed effects -1.3983, -0.9919, -1.1282 and -1.5797 and a standard deviation of 0.6421; it stops a
    little short of the maximum. Fits to full precision, and standard errors from the exact Hessian, are fastglmm's.
    """
    found = fit(cbpp())
    assert found.fixed == pytest.approx([-1.398343, -0.991925, -1.128216, -1.579745], abs=1e-3)
    assert found.fixed == pytest.approx([-1.3985, -0.9923, -1.1287, -1.5803], abs=1e-4)
    assert np.sqrt(np.diag(found.covariance)) == pytest.approx([0.2325, 0.3066, 0.3266, 0.4274], abs=1e-4)
    assert found.deviations == pytest.approx([0.6422614], abs=1e-4)
    assert found.log_likelihood == pytest.approx(-92.02628, abs=1e-5)


def small(speakers: int = 3) -> Data:
    random = np.random.default_rng(5)
    trials = random.integers(2, 9, (speakers, 4)).astype(float)
    fixed = np.tile([[1, 0.5], [1, 0.5], [1, -0.5], [1, -0.5]], (speakers, 1, 1))
    return Data(np.floor(trials * random.random(trials.shape)), trials, fixed, fixed)


def test_quadrature_is_the_integral():
    data, parameters = small(), np.array([0.3, -0.4, 0.9, 0.3, 0.6])
    root = np.array([[0.9, 0], [0.3, 0.6]])
    normal = multivariate_normal(cov=root @ root.T)
    total = 0.0
    for successes, trials, design in zip(data.successes, data.trials, data.fixed, strict=True):

        def of(second: float, first: float, s=successes, n=trials, x=design) -> float:
            p = expit(x @ (parameters[:2] + np.array([first, second])))
            return float(np.prod(binom.pmf(s, n, p)) * normal.pdf([first, second]))

        total += np.log(dblquad(of, -6, 6, -6, 6, epsabs=1e-10, epsrel=1e-8)[0])
    assert log_likelihood(parameters, data, nodes=15) == pytest.approx(total, abs=1e-5)
    assert log_likelihood(parameters, data, nodes=1) == pytest.approx(total, abs=0.1)


def test_effects_of_the_recipe_widen_the_error_of_its_difference():
    """Speakers who differ in which recipe suits them: without an effect for that, clips pass for independent."""
    random = np.random.default_rng(1)
    speakers = 60
    level, slope = random.normal(0.5, 0.6, speakers), random.normal(0.4, 1.0, speakers)
    first, second = (np.zeros((speakers, 2, 2), int) for _ in range(2))
    for matrices, side in ((first, 0.5), (second, -0.5)):
        hits = random.binomial(40, expit(level + side * slope)[:, None], (speakers, 2))
        matrices[:, [0, 1], [0, 1]] = hits
        matrices[:, [0, 1], [1, 0]] = 40 - hits
    weights = np.array([0, 0, 0.5, 0.5])
    alone = fit(data_of(first, second, slopes=False)).contrast(weights)
    both = fit(data_of(first, second, slopes=True))
    value, error = both.contrast(weights)
    assert value == pytest.approx(slope.mean(), abs=0.15)
    assert error == pytest.approx(np.sqrt(1 / speakers + 4 / (speakers * 40 * 0.4)), rel=0.3)
    assert error > 1.5 * alone[1]
    assert both.deviations == pytest.approx([0.6, 1.0], rel=0.3)


def test_the_page_says_where_the_answers_agree():
    odds = {"log_odds": 0.2, "error": 0.1, "deviations": [0.5]}
    sure = {"log_odds": 1.0, "error": 0.1, "deviations": [0.5]}
    close = {"first": "a", "second": "b", "difference": 0.02, "low": -0.01, "high": 0.05, "p": 0.2, "p_holm": 0.2}
    far = {"first": "a", "second": "c", "difference": 0.2, "low": 0.17, "high": 0.23, "p": 1e-9, "p_holm": 2e-9}
    rows = [
        {**close, "intercepts": sure, "slopes": odds, "quadrature": odds},
        {**far, **dict.fromkeys(("intercepts", "slopes", "quadrature"), sure)},
    ]
    text = render({"pairs": rows, "clips": 7441, "speakers": 91})
    assert "| a − b | 2.0 (−1.0 to 5.0) | 1.28 | 2.00 | 10.00 | 0.200 ± 0.100 |" in text
    assert "a − c" not in text
    assert "The sign is the same for 2 pairs." in text
    assert "is the same for 1 with `(1 + recipe | speaker)`, and for 1 with `(1 | speaker)`" in text

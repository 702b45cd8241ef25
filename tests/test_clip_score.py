"""The score functions against slow twins that follow the definitions word by word."""

import itertools
import math

import numpy as np
import pytest

from utils.scoring.clip_score import alignment, concealment, cosine_matrix, mean_by_prompt, normalize, points


def slow_cosine(a: np.ndarray, b: np.ndarray) -> float:
    dot = sum(float(x) * float(y) for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(float(x) ** 2 for x in a)) / math.sqrt(sum(float(y) ** 2 for y in b))


def slow_concealment(cosines: np.ndarray, scale: float) -> float:
    n, total = len(cosines), 0.0
    for i in range(n):
        by_view = sum(math.exp(scale * cosines[i, j]) for j in range(n))
        by_prompt = sum(math.exp(scale * cosines[j, i]) for j in range(n))
        total += math.exp(scale * cosines[i, i]) * (1 / by_view + 1 / by_prompt)
    return total / (2 * n)


def random_features(seed: int, rows: int = 5, width: int = 7, dtype: type = np.float64) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, width)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(("images", "texts"), [(1, 1), (3, 5), (6, 2)])
def test_cosines_equal_the_slow_twin(images: int, texts: int, dtype: type) -> None:
    a, b = random_features(1, images, dtype=dtype), random_features(2, texts, dtype=dtype)
    matrix = cosine_matrix(a, b)
    assert matrix.shape == (images, texts)
    for i, j in itertools.product(range(images), range(texts)):
        assert matrix[i, j] == pytest.approx(slow_cosine(a[i], b[j]), abs=1e-12)


def test_cosines_ignore_lengths_and_stay_within_one() -> None:
    features = random_features(3)
    scaled = features * np.array([[1e-6], [3], [1], [1e6], [7]])
    np.testing.assert_allclose(cosine_matrix(scaled, features), cosine_matrix(features, features), atol=1e-12)
    assert np.abs(cosine_matrix(scaled, -features)).max() <= 1.0
    np.testing.assert_allclose(np.diag(cosine_matrix(features, -features)), -1.0, atol=1e-12)


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_a_feature_without_direction_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        normalize(np.full((2, 3), bad))


def test_two_views_by_hand() -> None:
    cosines = np.array([[0.31, 0.25], [0.24, 0.28]])
    assert alignment(cosines) == 0.28
    rows = 1 / (1 + math.exp(-6)) + 1 / (1 + math.exp(-4))
    columns = 1 / (1 + math.exp(-7)) + 1 / (1 + math.exp(-3))
    assert concealment(cosines, 100.0) == pytest.approx((rows + columns) / 4, abs=1e-12)


def test_concealment_multiplies_by_the_scale() -> None:
    cosines = np.array([[0.30, 0.25], [0.25, 0.30]])
    assert concealment(cosines, 100.0) == pytest.approx(1 / (1 + math.exp(-5)), abs=1e-12)
    assert concealment(cosines, 100.0) == pytest.approx(0.9933, abs=1e-4)


def test_three_views_by_hand() -> None:
    cosines = np.array([[0.02, 0.0, 0.0], [0.0, 0.03, 0.0], [0.01, 0.0, 0.01]])
    e = math.exp
    rows = e(2) / (e(2) + 2) + e(3) / (e(3) + 2) + e(1) / (2 * e(1) + 1)
    columns = e(2) / (e(2) + 1 + e(1)) + e(3) / (e(3) + 2) + e(1) / (e(1) + 2)
    assert alignment(cosines) == 0.01
    assert concealment(cosines, 100.0) == pytest.approx((rows + columns) / 6, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("views", [2, 3, 4])
def test_views_equal_the_slow_twin_and_may_be_permuted(views: int, seed: int) -> None:
    cosines = np.random.default_rng(seed).uniform(-0.4, 0.4, (views, views))
    order = np.random.default_rng(seed + 1).permutation(views)
    expected = slow_concealment(cosines, 100.0)
    assert concealment(cosines, 100.0) == pytest.approx(expected, abs=1e-12)
    assert concealment(cosines[np.ix_(order, order)], 100.0) == pytest.approx(expected, abs=1e-12)
    assert concealment(cosines.T, 100.0) == pytest.approx(expected, abs=1e-12)
    assert alignment(cosines[np.ix_(order, order)]) == alignment(cosines) == min(cosines[i, i] for i in range(views))


@pytest.mark.parametrize("views", [1, 2, 5])
def test_ties_are_chance_and_extremes_do_not_overflow(views: int) -> None:
    tied = np.full((views, views), 0.3)
    assert concealment(tied, 100.0) == pytest.approx(1 / views)
    assert concealment(np.eye(views), 1e6) == pytest.approx(1.0)
    assert concealment(1 - np.eye(views) if views > 1 else tied, 1e6) == pytest.approx(0.0 if views > 1 else 1.0)


@pytest.mark.parametrize("shape", [(2, 3), (0, 0), (4,)])
def test_scores_of_views_must_be_square(shape: tuple[int, ...]) -> None:
    for function in (alignment, lambda cosines: concealment(cosines, 100.0)):
        with pytest.raises(ValueError, match="square"):
            function(np.zeros(shape))


def test_means_are_per_prompt_and_independent_of_order() -> None:
    prompts, scores = ["b", "a", "b", "b", "c"], [0.1, 0.5, 0.2, 0.6, 0.4]
    means = mean_by_prompt(prompts, scores)
    assert list(means) == ["b", "a", "c"]
    assert means == pytest.approx({"a": 0.5, "b": 0.3, "c": 0.4})
    for order in itertools.permutations(range(5)):
        assert mean_by_prompt([prompts[i] for i in order], [scores[i] for i in order]) == pytest.approx(means)
    with pytest.raises(ValueError):
        mean_by_prompt(["a"], [])


def test_points_at_the_limits() -> None:
    table = {0.3167: 10, 0.2801: 10, 0.28: 5, 0.27: 5, 0.26: 5, 0.2599: 0, 0.0: 0, -1.0: 0}
    assert {score: points(score, 10) for score in table} == table
    assert [points(score, 5) for score in (0.29, 0.27, 0.25)] == [5, 2.5, 0]

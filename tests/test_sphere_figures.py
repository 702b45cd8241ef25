"""Figures of spheres tell pictures that are whole from those that are not."""

import itertools

import numpy as np
import pytest

from utils.cameras import VIEW_SETS, band_rows
from utils.scoring import sphere_figures
from utils.sphere import canvas_directions

HEIGHT = 128
CAMERAS = VIEW_SETS["16"]


def whole(seed: int, height: int = HEIGHT, finest: float = 40.0) -> np.ndarray:
    """Return a texture that has no preferred place or direction on the sphere, ``[height, 2 * height, 3]``."""
    rng = np.random.default_rng(seed)
    directions = canvas_directions(height)
    waves = rng.normal(size=(60, 3))
    waves *= (rng.uniform(0.3, 1, 60) * finest / np.linalg.norm(waves, axis=1))[:, None]
    phases = rng.uniform(0, 2 * np.pi, (60, 3))
    return 0.5 + 0.05 * np.cos((directions @ waves.T)[..., None] + phases).sum(axis=2)


def mean_of(figure, spheres) -> float:
    return float(np.mean([figure(sphere) for sphere in spheres]))


@pytest.fixture(scope="module")
def spheres() -> list[np.ndarray]:
    return [whole(seed) for seed in range(6)]


def test_a_whole_sphere_has_figures_of_1(spheres: list[np.ndarray]) -> None:
    assert mean_of(sphere_figures.wrap, spheres) == pytest.approx(1, abs=0.1)
    assert mean_of(lambda sphere: sphere_figures.pole_of(sphere, 90), spheres) == pytest.approx(1, abs=0.15)
    assert mean_of(lambda sphere: sphere_figures.pole_of(sphere, -90), spheres) == pytest.approx(1, abs=0.15)
    assert mean_of(lambda sphere: sphere_figures.seams(sphere, CAMERAS), spheres) == pytest.approx(1, abs=0.06)
    assert mean_of(sphere_figures.pole_spread, spheres) < 0.35 * spheres[0].std()


def test_a_wrap_that_does_not_meet_is_told(spheres: list[np.ndarray]) -> None:
    cut = [np.concatenate([one[:, :HEIGHT], other[:, HEIGHT:]], axis=1) for one, other in itertools.pairwise(spheres)]
    rolled = [np.roll(sphere, HEIGHT, axis=1) for sphere in cut]
    assert min(map(sphere_figures.wrap, rolled)) > 3
    assert mean_of(sphere_figures.wrap, spheres) < 1.2


@pytest.mark.parametrize(("pitch", "rows"), [(90, slice(0, 12)), (-90, slice(-12, None))])
def test_a_pole_whose_columns_do_not_agree_is_told_and_the_other_is_not(
    spheres: list[np.ndarray], pitch: int, rows: slice
) -> None:
    pinched = spheres[0].copy()
    pinched[rows] = pinched[12 if pitch > 0 else -13]  # the columns go on to the pole, as where no camera looks
    plain = sphere_figures.pole_of(spheres[0], pitch)
    assert sphere_figures.pole_of(pinched, pitch) > plain + 1
    assert sphere_figures.pole_of(pinched, -pitch) == sphere_figures.pole_of(spheres[0], -pitch)
    assert sphere_figures.pole(pinched) == sphere_figures.pole_of(pinched, pitch)
    assert sphere_figures.pole_spread(pinched) > 2 * sphere_figures.pole_spread(spheres[0])


def test_what_is_drawn_at_a_pole_does_not_count(spheres: list[np.ndarray]) -> None:
    """A patch of texture at the poles in a sphere that is plain elsewhere."""
    near = np.abs(canvas_directions(HEIGHT)[..., 1:2]) > np.cos(np.deg2rad(20))
    patched = [np.where(near, sphere, 0.5) for sphere in spheres]
    assert mean_of(lambda sphere: sphere_figures.pole_of(sphere, 90), patched) == pytest.approx(1, abs=0.15)


def test_a_picture_of_one_colour_has_nothing_to_see() -> None:
    flat = np.full((32, 64, 3), 7)
    assert sphere_figures.wrap(flat) == sphere_figures.pole(flat) == sphere_figures.seams(flat, CAMERAS) == 1
    assert sphere_figures.pole_spread(flat) == sphere_figures.sharpness(flat) == 0


def test_a_pole_where_two_halves_meet_is_told(spheres: list[np.ndarray]) -> None:
    halves = np.concatenate([spheres[0][:, :HEIGHT], 1 - spheres[1][:, HEIGHT:]], axis=1)
    assert sphere_figures.pole(halves) > sphere_figures.pole(spheres[0]) + 0.15


@pytest.mark.parametrize("views", ["16", "22", "ring"])
def test_views_that_do_not_agree_show_where_they_begin_or_meet(spheres: list[np.ndarray], views: str) -> None:
    cameras = VIEW_SETS[views]
    first, end = band_rows(cameras, HEIGHT)
    directions = canvas_directions(HEIGHT)
    brighter, nearest = spheres[0].copy(), np.full((HEIGHT, 2 * HEIGHT), -1)
    distance = np.full((HEIGHT, 2 * HEIGHT), -np.inf)
    for number, camera in enumerate(cameras):
        x, y, inside = camera.places(directions)
        brighter[inside] += 0.1 * (-1) ** number
        weight = np.where(inside, np.cos(np.pi / 2 * x) * np.cos(np.pi / 2 * y), -np.inf)
        nearest, distance = np.where(weight > distance, number, nearest), np.maximum(weight, distance)
    patched = spheres[0] + 0.3 * (nearest % 3)[..., None]
    plain = sphere_figures.seams(spheres[0][first:end], cameras, first, HEIGHT)
    assert plain < 1.1
    for seamed in (brighter, patched):
        assert sphere_figures.seams(seamed[first:end], cameras, first, HEIGHT) > plain + 0.2


def test_seams_are_looked_for_where_the_cameras_look(spheres: list[np.ndarray]) -> None:
    """Borders of other cameras elsewhere do not count as seams of these."""
    camera = VIEW_SETS["ring"][0]
    inside = camera.places(canvas_directions(HEIGHT))[2]
    framed = spheres[0] + 0.5 * inside[..., None]
    assert sphere_figures.seams(framed, [camera]) > 5
    assert sphere_figures.seams(np.roll(framed, HEIGHT, axis=1), [camera]) < 1.5


def test_sharpness_is_the_same_at_every_place_and_falls_with_blur() -> None:
    fine, coarse = whole(1, finest=20), whole(1, finest=10)
    assert sphere_figures.sharpness(coarse) == pytest.approx(sphere_figures.sharpness(fine) / 2, rel=0.1)
    third = HEIGHT // 3
    middle = sphere_figures.sharpness(fine[third:-third], third, HEIGHT)
    assert middle == pytest.approx(sphere_figures.sharpness(fine), rel=0.1)
    blurred = (fine + np.roll(fine, 4, axis=1) + np.roll(fine, -4, axis=1)) / 3
    assert sphere_figures.sharpness(blurred) < sphere_figures.sharpness(fine)


def test_spread_is_the_mean_difference() -> None:
    views = np.random.default_rng(0).uniform(size=(4, 5, 3)).astype(np.float32)
    assert sphere_figures.spread(views, views) == 0
    assert sphere_figures.spread(views, views.astype(np.float64) - 0.25) == pytest.approx(0.25)

"""Between the canvas of a sphere and views of it: tables against loops, what interpolation costs, and noise."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.polynomial.legendre import legval

from guidance.projection import Entries, SphereProjection, apply, corrected
from utils.cameras import CUBE, VIEW_SETS
from utils.sphere import Camera, canvas_directions, canvas_places, look

CPU = torch.device("cpu")
F64 = torch.float64
PAGE = Path(__file__).parents[1] / "docs" / "panorama.md"
ODD = [Camera(13, -20, 75), Camera(-170, 40, 110, 25), Camera(100, 89, 60)]
SETS = {"16": VIEW_SETS["16"], "ring": VIEW_SETS["ring"], "odd": ODD, "narrow": [Camera(5, 80, 10)],
        "broad": [Camera(0, 0, 150), Camera(180, 0, 150, 90)]}  # fmt: skip


def hann(size: int) -> np.ndarray:
    across = np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2
    return np.outer(across, across)


def projection(cameras: list[Camera], size: int, height: int, weights: np.ndarray | None = None) -> SphereProjection:
    return SphereProjection(cameras, size, height, hann(size) if weights is None else weights, CPU)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


# ---------------------------------------------------------------------------------------------- tables


@pytest.mark.parametrize(("size", "height"), [(8, 32), (9, 21), (5, 40)])
@pytest.mark.parametrize("name", SETS)
def test_rows_of_the_tables_sum_to_one(name: str, size: int, height: int) -> None:
    maps = projection(SETS[name], size, height)
    for table, filled in ((maps.averaging, maps.seen), (maps.looking, maps.shown)):
        ones = torch.ones(table.shape[1], 1, dtype=F64)
        assert (apply(table, ones)[:, 0] - torch.from_numpy(filled.ravel()).double()).abs().max() < 1e-12
        assert table.values().min() >= 0
    noise = maps.noise
    squares = torch.sparse_csr_tensor(noise.crow_indices(), noise.col_indices(), noise.values() ** 2, noise.shape)
    assert (apply(squares, torch.ones(noise.shape[1], 1, dtype=F64)) - 1).abs().max() < 1e-12
    assert noise.shape == (len(SETS[name]) * size**2, maps.noise_cells)


@pytest.mark.parametrize(("size", "height"), [(9, 33), (16, 64)])
@pytest.mark.parametrize("name", ["22", "16"])
def test_sets_for_the_whole_sphere_leave_no_cell_out(name: str, size: int, height: int) -> None:
    maps = projection(VIEW_SETS[name], size, height)
    assert maps.seen.all() and maps.shown.all()
    value = torch.full((1, 3, height, 2 * height), 0.7, dtype=F64)
    assert (maps.look(value) - 0.7).abs().max() < 1e-12
    assert (maps.average(maps.look(value)) - 0.7).abs().max() < 1e-12


def test_what_no_camera_sees_stays_zero_and_darkens_nothing() -> None:
    maps = projection(VIEW_SETS["ring"], 8, 32)
    seen, shown = torch.from_numpy(maps.seen), torch.from_numpy(maps.shown)
    assert 0.4 < seen.double().mean() < 0.5 and shown.all()
    z = maps.average(torch.ones(8, 1, 8, 8, dtype=F64))
    assert torch.equal(z[0, 0] > 0, seen) and (z[0, 0][seen] - 1).abs().max() < 1e-12
    assert (maps.look(z) - 1).abs().max() < 1e-12


def test_views_keep_their_own_where_nothing_of_the_canvas_is_seen() -> None:
    """A camera so narrow that it sees no cell's centre, beside one that sees many."""
    maps = projection([Camera(0, 0, 10), Camera(180, 0, 120)], 4, 8)
    assert maps.seen.any() and not maps.shown[0].any() and maps.shown[1].all()
    own = random(2, 2, 4, 4)
    z = maps.average(own)
    assert torch.equal(maps.look(z, own)[0], own[0]) and torch.equal(maps.look(z, own)[1], maps.look(z)[1])
    assert (maps.look(z)[0] == 0).all()


def test_entries_of_a_cell_that_stand_twice_are_summed() -> None:
    entries = Entries(np.array([2, 0, 2, 2]), np.array([1, 3, 1, 0]), np.array([0.5, 1.0, 0.25, 3.0]))
    table = entries.table(3, 4, CPU)
    assert apply(table, torch.tensor([[1.0], [10.0], [100.0], [1000.0]])).flatten().tolist() == [1000.0, 0.0, 10.5]
    assert entries.sums(3).tolist() == [1.0, 0.0, 3.75]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sums_are_taken_in_float64_and_given_back_as_they_came(dtype: torch.dtype) -> None:
    maps = projection(VIEW_SETS["16"], 8, 32)
    z, x = random(1, 2, 32, 64).to(dtype), random(16, 2, 8, 8).to(dtype)
    assert torch.equal(maps.look(z), maps.look(z.double()).to(dtype))
    assert torch.equal(maps.average(x), maps.average(x.double()).to(dtype))


# ---------------------------------------------------------------------------------------------- f


@pytest.mark.parametrize("name", ["16", "odd", "narrow", "broad"])
def test_looking_is_what_every_camera_sees(name: str) -> None:
    cameras = [*SETS[name], *CUBE.values(), *VIEW_SETS["16"]]  # all of the sphere is seen
    maps, z = projection(cameras, 9, 33), random(1, 3, 33, 66)
    panorama = z[0].permute(1, 2, 0).numpy()
    for camera, view in zip(cameras, maps.look(z), strict=True):
        assert np.abs(look(panorama, camera, 9) - view.permute(1, 2, 0).numpy()).max() < 1e-12


def splat(cameras: list[Camera], size: int, height: int, x_ts: torch.Tensor) -> torch.Tensor:
    """The adjoint of looking in loops: every cell of a view gives to the four cells that it is interpolated from."""
    z = torch.zeros(x_ts.shape[1], height, 2 * height, dtype=F64)
    for camera, x_t in zip(cameras, x_ts, strict=True):
        for i, line in enumerate(camera.directions(size)):
            for j, direction in enumerate(line):
                column, row = (float(place) for place in canvas_places(direction, height))
                left, top = math.floor(column), math.floor(row)
                for y, share_y in ((top, top + 1 - row), (top + 1, row - top)):
                    for x, share_x in ((left, left + 1 - column), (left + 1, column - left)):
                        turned = x + height if y in (-1, height) else x
                        z[:, min(max(y, 0), height - 1), turned % (2 * height)] += share_y * share_x * x_t[:, i, j]
    return z


def test_looking_is_the_adjoint_of_splatting() -> None:
    cameras = [*ODD, *CUBE.values(), *VIEW_SETS["16"]]
    maps = projection(cameras, 7, 12)
    assert maps.seen.all()
    z, x_ts = random(1, 2, 12, 24), random(len(cameras), 2, 7, 7, seed=1)
    expected = (splat(cameras, 7, 12, x_ts) * z[0]).sum()
    assert abs((maps.look(z) * x_ts).sum() - expected) < 1e-10 * x_ts.numel()


# ---------------------------------------------------------------------------------------------- g


def slow_average(cameras, size: int, height: int, weights: np.ndarray, x_ts: torch.Tensor) -> np.ndarray:
    """Every cell of the canvas is looked up in every view that sees it, bilinearly, and the finds are averaged."""

    def sample(picture: np.ndarray, x: float, y: float) -> np.ndarray:
        column, row = (min(max((place + 1) / 2 * size - 0.5, 0), size - 1) for place in (x, y))
        left, top = min(int(column), size - 2), min(int(row), size - 2)
        a, b = column - left, row - top
        above = (1 - a) * picture[..., top, left] + a * picture[..., top, left + 1]
        below = (1 - a) * picture[..., top + 1, left] + a * picture[..., top + 1, left + 1]
        return (1 - b) * above + b * below

    z = np.zeros((x_ts.shape[1], height, 2 * height))
    least = np.maximum(weights, 1e-4 * weights.max())
    for place in np.ndindex(height, 2 * height):
        direction, total, found = canvas_directions(height)[place], 0.0, 0.0
        for camera, x_t in zip(cameras, x_ts.numpy(), strict=True):
            x, y, inside = (one.item() for one in camera.places(direction))
            if inside:
                weight = sample(least, x, y)
                total, found = total + weight, found + weight * sample(x_t, x, y)
        z[:, *place] = found / total if total else 0.0
    return z


@pytest.mark.parametrize("name", ["16", "ring", "odd", "broad"])
@pytest.mark.parametrize("weights", [hann(6), np.ones((6, 6)), np.pad([[1.0]], (2, 3))], ids=["hann", "equal", "dot"])
def test_averaging_is_the_weighted_mean_of_what_views_show(name: str, weights: np.ndarray) -> None:
    cameras = SETS[name]
    maps, x_ts = projection(cameras, 6, 10, weights), random(len(SETS[name]), 2, 6, 6)
    slow = slow_average(cameras, 6, 10, weights, x_ts)
    assert np.abs(maps.average(x_ts)[0].numpy() - slow).max() < 1e-12


def test_directions_as_data_arrive_where_they_point() -> None:
    errors = []
    for size in (8, 16, 32):
        cameras = VIEW_SETS["16"]
        maps = projection(cameras, size, 4 * size)
        views = torch.from_numpy(np.stack([camera.directions(size) for camera in cameras])).permute(0, 3, 1, 2)
        expected = torch.from_numpy(canvas_directions(4 * size)).permute(2, 0, 1)
        errors.append((maps.average(views)[0] - expected).abs().mean().item())
    assert errors[0] < 0.01 and errors[1] < errors[0] / 3 and errors[2] < errors[1] / 3


@pytest.mark.parametrize("columns", [1, 16, 31])
def test_turning_all_cameras_and_rolling_the_canvas_commute(columns: int) -> None:
    cameras, height = [*VIEW_SETS["16"], *ODD], 16
    turned = [Camera(one.yaw + columns * 180 / height, one.pitch, one.fov, one.roll) for one in cameras]
    still, moved = projection(cameras, 8, height), projection(turned, 8, height)
    z, x_ts = random(1, 2, height, 2 * height), random(len(cameras), 2, 8, 8)
    assert (moved.look(z.roll(columns, -1)) - still.look(z)).abs().max() < 1e-9
    assert (moved.average(x_ts) - still.average(x_ts).roll(columns, -1)).abs().max() < 1e-9


def test_one_camera_is_averaged_with_nobody() -> None:
    maps = projection([Camera(30, 10, 100)], 16, 64)
    x_t = random(1, 1, 16, 16)
    inner = (slice(None), slice(None), slice(4, 12), slice(4, 12))
    shown = corrected(maps.average, lambda z: maps.look(z, x_t), x_t, 20)
    assert (maps.look(shown) - x_t)[inner].abs().mean() < 0.1 * x_t[inner].abs().mean()


# ---------------------------------------------------------------------------------------------- corrections


def harmonics(directions: np.ndarray, degree: int, seed: int = 0) -> np.ndarray:
    """A random spherical harmonic of one degree: waves of one length everywhere, in all directions alike."""
    draw = np.random.default_rng(seed)
    poles = draw.normal(size=(60, 3))
    poles /= np.linalg.norm(poles, axis=1, keepdims=True)
    return legval(directions @ poles.T, [0] * degree + [1]) @ draw.normal(size=60)


def errors_of_harmonics(name: str, size: int, degree: int, counts: tuple[int, ...]) -> list[tuple[float, float]]:
    """Of canvas and views, in units of the field, for so many corrections."""
    cameras, height = VIEW_SETS[name], 4 * size
    maps, directions = projection(cameras, size, height), canvas_directions(height)
    x_ts = torch.from_numpy(np.stack([harmonics(camera.directions(size), degree) for camera in cameras]))[:, None]
    truth = torch.from_numpy(harmonics(directions, degree))
    area = torch.from_numpy(np.hypot(directions[..., 0], directions[..., 2]))
    found = []
    for count in counts:
        z = corrected(maps.average, maps.look, x_ts, count)
        missed, whole = ((one**2 * area).sum() for one in (z[0, 0] - truth, truth))
        found.append(((missed / whole).sqrt().item(), ((maps.look(z) - x_ts).std() / x_ts.std()).item()))
    return found


def half_nyquist(name: str, size: int) -> int:
    """The degree whose waves are four cells long in the middle of a view."""
    return round(2 * np.pi * size / (2 * VIEW_SETS[name][0].tangent) / 4)


@pytest.mark.parametrize("name", ["22", "16"])
def test_two_corrections_take_most_of_what_interpolation_costs(name: str) -> None:
    (plain, missed), (once, _), (twice, still_missed), _, (often, least) = errors_of_harmonics(
        name, 24, half_nyquist(name, 24), (0, 1, 2, 3, 6)
    )
    assert 0.15 < plain < 0.19 and 0.15 < missed < 0.20
    assert 0.06 < twice < 0.08 and 0.04 < still_missed < 0.065
    assert often < 1.02 * twice and least < still_missed
    row = re.search(rf"^\| `{name}` \| (0\..*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert row is not None
    said = [float(number) for number in row[1].split(" | ")]
    assert said == pytest.approx([plain, once, twice, often, missed, still_missed], abs=0.0015)


@pytest.mark.parametrize("name", ["22", "16"])
def test_no_correction_makes_the_views_fit_less(name: str) -> None:
    for degree in (4, 12, 20):
        found = errors_of_harmonics(name, 16, degree, (0, 1, 2, 3, 4))
        views = [missed for _, missed in found]
        assert views == sorted(views, reverse=True), degree
        assert max(error for error, _ in found[1:]) < found[0][0], degree


def test_errors_fall_with_the_resolution() -> None:
    coarse, middle, fine = (errors_of_harmonics("16", size, 5, (0, 2)) for size in (7, 14, 28))
    for plain in (0, 1):
        assert coarse[plain][0] > 3.5 * middle[plain][0] > 3.5**2 * fine[plain][0]


def test_no_corrections_is_the_plain_mean() -> None:
    maps, x_ts = projection(VIEW_SETS["16"], 8, 32), random(16, 2, 8, 8)
    assert torch.equal(corrected(maps.average, maps.look, x_ts, 0), maps.average(x_ts))
    once = maps.average(x_ts) + maps.average(x_ts - maps.look(maps.average(x_ts)))
    assert torch.allclose(corrected(maps.average, maps.look, x_ts, 1), once, atol=1e-12)


# ---------------------------------------------------------------------------------------------- noise


def statistics(views: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Variance of every view, and correlations of neighbours: to the right, below, and at both diagonals."""
    variance = views.var(dim=(1, 2, 3))
    pairs = [(views[..., 1:], views[..., :-1]), (views[..., 1:, :], views[..., :-1, :]),
             (views[..., 1:, 1:], views[..., :-1, :-1]), (views[..., 1:, :-1], views[..., :-1, 1:])]  # fmt: skip
    return variance, torch.stack([(a * b).mean(dim=(1, 2, 3)) for a, b in pairs])


def shared(maps: SphereProjection, views: torch.Tensor, one: int, other: int) -> float:
    """Correlation of what one view shows with what another one shows in the cell nearest to it."""
    cells, x, y = maps.cameras[other].sees(maps.cameras[one].directions(maps.size).reshape(-1, 3))
    column, row = (np.minimum(((place + 1) / 2 * maps.size).astype(int), maps.size - 1) for place in (x, y))
    return (views[one].flatten(1)[:, cells] * views[other][:, row, column]).mean().item()


@pytest.mark.parametrize(("name", "size"), [("22", 32), ("16", 17), ("ring", 16), ("broad", 5), ("odd", 16)])
def test_noise_of_every_view_is_standard_normal_and_white(name: str, size: int) -> None:
    cameras = SETS.get(name, VIEW_SETS.get(name))
    maps, draws = projection(cameras, size, 2 * size), min(300, 20_000 // size**2)
    views = maps.look_at_noise(random(1, draws, 1, maps.noise_cells))
    variance, neighbours = statistics(views)
    assert views.shape == (len(cameras), draws, size, size) and views.mean().abs() < 0.01
    assert (variance - 1).abs().max() < 0.05 and neighbours.abs().max() < 0.04
    for start in range(0, len(cameras) * size**2, size**2):  # within a view no two cells share a number
        first, end = maps.noise.crow_indices()[[start, start + size**2]].tolist()
        assert len(maps.noise.col_indices()[first:end].unique()) == end - first > 0


@pytest.mark.parametrize(("name", "size", "pairs"), [("22", 32, [(0, 1), (0, 8), (8, 20), (14, 21)]),
                                                     ("16", 32, [(0, 1), (0, 6), (6, 14), (10, 15)])])  # fmt: skip
def test_views_share_noise_where_they_overlap_and_interpolation_would_weaken_it(name, size, pairs) -> None:
    maps = projection(VIEW_SETS[name], size, 4 * size)
    views = maps.look_at_noise(random(1, 20, 1, maps.noise_cells))
    assert min(shared(maps, views, *pair) for pair in pairs) >= 0.45
    assert abs(shared(maps, views.flip(1), *pairs[0]) - shared(maps, views, *pairs[0])) < 1e-9
    variance, _ = statistics(maps.look(random(1, 8, 4 * size, 8 * size)))
    assert variance.min() > 0.4 and variance.max() < 0.5


def test_every_cell_of_a_view_sums_several_numbers() -> None:
    for name, size in (("22", 32), ("16", 17), ("odd", 9)):
        maps = projection(SETS.get(name, VIEW_SETS.get(name)), size, 16)
        assert maps.noise.crow_indices().diff().min() >= 2

"""What every view of the registry promises, at every size of a cascade."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.view_samples import COMPONENTS, LINEAR, ORTHOGONAL, SAMPLES, build, noise, smooth, text_of
from utils.errors import UserError
from utils.views import VIEWS, check_combination, parse_view
from utils.views.filters import gaussian_blur, motion_blur
from utils.views.view_base import BaseView, PermutationView

SIZES = (32, 64, 128, 256)
SEEDED = [text for text in ORTHOGONAL if text.split(":")[0] in {"patch_permute", "pixel_permute", "permutation"}]
HALVES = (torch.float16, torch.bfloat16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("views")


def both(view: BaseView) -> tuple:
    return view.view, view.inverse_view


# ---------------------------------------------------------------------------------------------- all of them


@pytest.mark.parametrize("sample", SAMPLES)
def test_kind_is_what_the_registry_says(sample: str, folder: Path) -> None:
    spec = parse_view(text_of(sample, folder))
    kind = build(sample, folder).kind
    assert (spec.terms is not None) == (kind == "component") == (spec.name in COMPONENTS)
    assert (kind == "linear") == (sample in LINEAR)
    assert (kind == "orthogonal") == (sample in ORTHOGONAL)


@pytest.mark.parametrize("sample", SAMPLES)
def test_shape_and_type_stay_and_the_argument_is_untouched(sample: str, folder: Path) -> None:
    one = build(sample, folder)
    for size, channels, dtype in ((32, 1, torch.float16), (64, 3, torch.float32), (128, 6, torch.bfloat16),
                                  (256, 2, torch.float64), (1024, 1, torch.float32)):  # fmt: skip
        im = noise(size, dtype, channels)
        before = im.clone()
        for move in both(one):
            moved = move(im)
            assert moved.dtype == dtype and moved.shape == im.shape and moved.is_contiguous()
            moved.fill_(9)
            assert torch.equal(im, before), (size, move)


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("size", SIZES)
def test_views_are_linear(sample: str, size: int, folder: Path) -> None:
    one = build(sample, folder)
    a, b = noise(size, torch.float64), noise(size, torch.float64).flip(-1, 0)
    for move in both(one):
        assert (move(2 * a - 3 * b) - (2 * move(a) - 3 * move(b))).abs().max() < 1e-9


@pytest.mark.parametrize("sample", [sample for sample in SAMPLES if sample not in {"grayscale", "color"}])
def test_views_move_all_channels_alike(sample: str, folder: Path) -> None:
    im, one = noise(32, channels=6), build(sample, folder)
    for move in both(one):
        assert (move(im) - torch.cat([move(im[:2]), move(im[2:])])).abs().max() < 1e-6


@pytest.mark.parametrize("sample", [sample for sample in SAMPLES if sample != "identity"])
def test_views_change_something_and_show_it(sample: str, folder: Path) -> None:
    im, one = noise(64), build(sample, folder)
    assert not torch.equal(one.inverse_view(im), im)
    assert not torch.equal(one.show(im), im)
    assert torch.equal(one.view(im), im) == (one.kind == "component")


@pytest.mark.parametrize("sample", SAMPLES)
def test_views_are_the_same_transformation_at_every_size(sample: str, folder: Path) -> None:
    """A smooth picture, made small after or before the view, is the same but at cuts."""
    one = build(sample, folder)
    tolerance = 0.05 if sample.startswith("skew") else 0.02
    for move in (one.view, one.inverse_view):
        large = torch.nn.functional.avg_pool2d(move(smooth(256)), 4)
        assert (large - move(smooth(64))).abs().median() < tolerance
        assert (large - move(smooth(64))).abs().mean() < 4 * tolerance


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("dtype", HALVES)
def test_half_precision_follows_float32(sample: str, dtype: torch.dtype, folder: Path) -> None:
    im, one = noise(64, dtype), build(sample, folder)
    for move in both(one):
        assert torch.equal(move(im), move(im.float()).to(dtype))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("sample", SAMPLES)
def test_a_gpu_agrees(sample: str, folder: Path) -> None:
    im, one = noise(64), build(sample, folder)
    for move in both(one):
        assert (move(im.cuda()).cpu() - move(im)).abs().max() < 1e-5


# ---------------------------------------------------------------------------------------------- orthogonal ones


@pytest.mark.parametrize("sample", ORTHOGONAL)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, *HALVES])
def test_orthogonal_views_return_to_the_bit(sample: str, dtype: torch.dtype, folder: Path) -> None:
    one = build(sample, folder)
    for size in (*SIZES, 1024):
        im = noise(size, dtype, channels=1 if size > 256 else 3)
        assert torch.equal(one.inverse_view(one.view(im)), im), size
        assert torch.equal(one.view(one.inverse_view(im)), im), size


@pytest.mark.parametrize("sample", ORTHOGONAL)
@pytest.mark.parametrize("size", SIZES)
def test_noise_stays_noise_under_orthogonal_views(sample: str, size: int, folder: Path) -> None:
    """Every value stays, but for its place and its sign: so independent standard normal values stay that."""
    im, one = noise(size, channels=1), build(sample, folder)
    for move in both(one):
        assert torch.equal(move(im).abs().flatten().sort().values, im.abs().flatten().sort().values)


@pytest.mark.parametrize("sample", SEEDED)
@pytest.mark.parametrize("size", [64, 128, 256, 1024])
def test_the_same_cells_move_at_every_size(sample: str, size: int, folder: Path) -> None:
    one, cells = build(sample, folder), noise(32, channels=1)
    scale = size // 32
    enlarged = cells.repeat_interleave(scale, dim=1).repeat_interleave(scale, dim=2)
    assert torch.equal(one.view(enlarged)[:, ::scale, ::scale], one.view(cells))


@pytest.mark.parametrize("name", ["patch_permute", "pixel_permute", "jigsaw"])
def test_seeds_decide_the_shuffle(name: str, folder: Path) -> None:
    im = noise(64)
    seen = [build(f"{name}:grid=4,seed={seed}", folder).view(im) for seed in (1, 1, 2)]
    assert torch.equal(seen[0], seen[1]) and not torch.equal(seen[0], seen[2])
    assert torch.equal(build(f"{name}:grid=4", folder).view(im), seen[0])
    state = np.random.get_state()[1].copy(), torch.get_rng_state()
    build(name, folder).view(im)
    assert np.array_equal(np.random.get_state()[1], state[0]) and torch.equal(torch.get_rng_state(), state[1])


def test_shuffles_do_not_change_from_release_to_release(folder: Path) -> None:
    assert build("patch_permute:grid=2,seed=0", folder).cells.tolist() == [2, 3, 1, 0]
    assert build("patch_permute:grid=3,seed=7", folder).cells.tolist() == [2, 7, 0, 8, 5, 3, 6, 1, 4]


@pytest.mark.parametrize("seed", range(40))
def test_no_seed_leaves_the_picture_as_it_is(seed: int, folder: Path) -> None:
    im = noise(8, channels=1)
    for name in ("patch_permute:grid=2", "jigsaw:grid=2"):
        assert not torch.equal(build(f"{name},seed={seed}", folder).view(im), im)


@pytest.mark.parametrize("sample", ["patch_permute", "pixel_permute", "jigsaw", "square_hinge", "permutation"])
def test_a_grid_that_does_not_fit_is_refused(sample: str, folder: Path) -> None:
    with pytest.raises(ValueError, match="do not divide 30 px"):
        build(sample, folder).view(noise(30))


def test_permutation_follows_its_file(tmp_path: Path) -> None:
    for array in ([1, 2, 3, 0], [[1, 2], [3, 0]]):
        np.save(tmp_path / "p.npy", np.array(array, dtype=np.uint8))
        view = build(f"permutation:file={tmp_path / 'p.npy'}", tmp_path)
        assert view.view(torch.tensor([[[10, 11], [12, 13]]])).tolist() == [[[11, 12], [13, 10]]]


def test_squares_turn_on_their_spot_in_opposite_directions(folder: Path) -> None:
    im = noise(8, channels=1)
    seen = build("square_hinge:grid=2", folder).view(im)
    assert torch.equal(seen[0, :4, :4], torch.rot90(im[0, :4, :4], -1))
    assert torch.equal(seen[0, :4, 4:], torch.rot90(im[0, :4, 4:], 1))
    assert torch.equal(seen[0, 4:, 4:], torch.rot90(im[0, 4:, 4:], -1))


# ---------------------------------------------------------------------------------------------- jigsaw


@pytest.mark.parametrize("grid", [2, 3, 4, 5, 8])
def test_pieces_of_a_jigsaw_have_four_equal_shapes(grid: int, folder: Path) -> None:
    size = grid * 16
    jigsaw = build(f"jigsaw:grid={grid},seed=3", folder)
    pieces = jigsaw.pieces(size)
    turned = np.rot90(np.arange(grid * grid).reshape(grid, grid), -1).reshape(-1)  # piece that comes to each place
    for place, piece in enumerate(turned):
        assert np.array_equal(pieces == place, np.rot90(pieces == piece, -1))
    sizes = np.bincount(pieces.reshape(-1), minlength=grid * grid)
    assert sizes.sum() == size * size and sizes.min() > 100 and len(set(sizes)) > (grid > 2), "tabs"


def test_the_seed_of_a_jigsaw_decides_its_tabs_too(folder: Path) -> None:
    first, again, other = (build(f"jigsaw:seed={seed}", folder).pieces(64) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


@pytest.mark.parametrize("sample", ["jigsaw", "jigsaw:grid=8,seed=7"])
def test_pieces_move_as_a_whole(sample: str, folder: Path) -> None:
    jigsaw = build(sample, folder)
    pieces = jigsaw.pieces(64)
    seen = jigsaw.view(torch.from_numpy(pieces)[None])[0].numpy()
    for place in range(jigsaw.grid**2):
        assert len(np.unique(seen[pieces == place])) == 1
    moved = [seen[pieces == place][0] != place for place in range(jigsaw.grid**2)]
    assert np.mean(moved) >= 0.5


# ---------------------------------------------------------------------------------------------- linear ones


@pytest.mark.parametrize("angle", [10.0, 45.0, 135.0, -100.0])
@pytest.mark.parametrize("size", [64, 256])
def test_rotate_loses_what_it_says(angle: float, size: int, folder: Path) -> None:
    one = build(f"rotate:angle={angle}", folder)
    rows = (torch.arange(size) + 0.5) / size - 0.5
    disc = (rows[:, None] ** 2 + rows[None, :] ** 2).sqrt() < 0.49
    white = noise(size)
    assert 0.85 < one.view(white)[:, disc].std() < 0.95
    lost = (one.inverse_view(one.view(white)) - white)[:, disc].std()
    assert 0.3 < lost < 0.5
    assert (one.inverse_view(one.view(smooth(size))) - smooth(size))[:, disc].abs().mean() < 0.01
    corner = rows[:, None].abs() + rows[None, :].abs() > 0.9
    assert torch.equal(one.view(white)[:, corner], white[:, corner])


def test_rotate_agrees_with_inner_rotate(folder: Path) -> None:
    im = smooth(64)
    turned, expected = (build(f"{name}:angle=50", folder).view(im) for name in ("rotate", "inner_rotate"))
    assert (turned - expected)[:, 16:48, 16:48].abs().max() < 0.1
    for angle in (90, 180, -90):
        seen = build(f"rotate:angle={angle}", folder).view(im)
        near = build(f"rotate:angle={angle + 1e-4}", folder).view(im)
        assert (seen - near).abs().max() < 1e-3


# ---------------------------------------------------------------------------------------------- components

WHOLES = (
    ("low_pass", "high_pass"),
    ("high_pass:sigma=0.05", "low_pass:sigma=0.05"),
    ("low_pass:sigma=0.0625", "band_pass", "high_pass:sigma=0.015625"),
    ("low_pass:sigma=0.2", "band_pass:coarse=0.1,fine=0.01", "band_pass:coarse=0.2,fine=0.1", "high_pass:sigma=0.01"),
    ("grayscale", "color"),
    ("motion", "motion_res"),
    ("motion:length=0.2,angle=30", "motion_res:angle=210,length=0.2"),
    ("scale", "scale:weight=0.5"),
    ("scale:weight=0.2", "scale:weight=0.3", "scale:weight=0.5"),
)
NO_WHOLES = (
    ("low_pass", "low_pass"),
    ("low_pass:sigma=0.03", "high_pass:sigma=0.05"),
    ("low_pass", "band_pass", "high_pass"),
    ("grayscale", "high_pass"),
    ("color", "color"),
    ("motion:length=0.2", "motion_res"),
    ("motion:angle=10", "motion_res"),
    ("scale", "scale:weight=0.4"),
    ("scale", "low_pass", "high_pass"),
    ("low_pass",),
)


def total(names: tuple[str, ...], im: torch.Tensor, folder: Path) -> torch.Tensor:
    return sum(build(name, folder).inverse_view(im) for name in names)


@pytest.mark.parametrize("names", WHOLES)
def test_parts_sum_to_the_picture(names: tuple[str, ...], folder: Path) -> None:
    assert check_combination(names) is True
    for size in (*SIZES, 1024):
        im = noise(size, channels=1 if size > 256 else 3)
        assert (total(names, im, folder) - im).abs().max() < 1e-5, size
    half = noise(64, torch.float16)
    assert (total(names, half, folder) - half).abs().max() < 0.02


@pytest.mark.parametrize("names", NO_WHOLES)
def test_other_parts_do_not_and_are_refused(names: tuple[str, ...], folder: Path) -> None:
    with pytest.raises(UserError, match="do not sum to the whole picture"):
        check_combination(names)
    im = noise(64) + 1
    assert (total(names, im, folder) - im).abs().max() > 0.05


@pytest.mark.parametrize("size", [32, 64, 257])
def test_blurs_keep_constants_and_the_mean(size: int) -> None:
    im = noise(size, torch.float64)
    for sigma in (1 / 1024, 1 / 32, 0.5):
        assert (gaussian_blur(torch.ones_like(im), sigma) - 1).abs().max() < 1e-12
        assert gaussian_blur(im, sigma).mean().item() == pytest.approx(im.mean().item(), abs=1e-12)
    for length, angle in ((1 / 64, 0.0), (0.2, 33.0), (0.5, 90.0)):
        assert (motion_blur(torch.ones_like(im), length, angle) - 1).abs().max() < 1e-9


@pytest.mark.parametrize("sigma", [1 / 64, 1 / 8, 0.6])
def test_a_gaussian_mirrors_the_picture_beyond_its_edge(sigma: float) -> None:
    """Against a plain sum over the pictures that stand around it, each the mirror image of its neighbours."""
    size, around = 32, 12
    im = noise(size, torch.float64, 1)[0]
    row = torch.cat([im if index % 2 == 0 else im.flip(-1) for index in range(-around, around + 1)], dim=-1)
    places = torch.arange(len(row[0]), dtype=torch.float64) - around * size
    kernel = torch.exp(-(((torch.arange(size)[:, None] - places) / (sigma * size)) ** 2) / 2)
    kernel = kernel / kernel.sum(dim=1, keepdim=True)
    level = row @ kernel.T
    column = torch.cat([level if index % 2 == 0 else level.flip(-2) for index in range(-around, around + 1)])
    assert (gaussian_blur(im[None], sigma)[0] - kernel @ column).abs().max() < 1e-6


LEVEL, UPRIGHT = (lambda im, angle=angle: motion_blur(im, 1 / 4, angle) for angle in (0.0, 90.0))


@pytest.mark.parametrize("blur", [lambda im: gaussian_blur(im, 1 / 32), LEVEL, UPRIGHT])
def test_no_blur_carries_one_edge_of_a_picture_to_the_other(blur: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Four fields, of which each meets others at the borders of a picture that would be wrapped."""
    im = torch.kron(
        torch.tensor([[0.0, 1.0], [2.0, 3.0]], dtype=torch.float64), torch.ones(32, 32, dtype=torch.float64)
    )
    blurred = blur(im[None])[0]
    for corner in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        assert abs(blurred[corner] - im[corner]) < 1e-6


def test_a_gaussian_has_its_width() -> None:
    im = torch.zeros(1, 129, 129, dtype=torch.float64)
    im[0, 64, 64] = 1
    row = gaussian_blur(im, 4 / 129)[0].sum(dim=0)
    assert ((torch.arange(129) - 64) ** 2 * row).sum().sqrt().item() == pytest.approx(4, rel=1e-3)


def test_motion_smears_along_its_angle_alone() -> None:
    im = torch.zeros(1, 65, 65, dtype=torch.float64)
    im[0, 32, 32] = 1
    level = motion_blur(im, 20 / 65, 0.0)[0]
    assert (level[32] > 0.01).sum() in (21, 22) and level[32].sum().item() == pytest.approx(1)
    assert torch.allclose(motion_blur(im, 20 / 65, 90.0)[0], level.T, atol=1e-12)
    slanted = motion_blur(im, 20 / 65, 45.0)[0]  # clockwise from level: down to the right
    assert slanted[38, 38] > 0.02 and slanted[26, 26] > 0.02 and slanted[26, 38].abs() < 1e-12


def test_colour_parts_are_orthogonal(folder: Path) -> None:
    im = noise(32, torch.float64)
    gray, colour = (build(name, folder).inverse_view(im) for name in ("grayscale", "color"))
    assert (gray * colour).sum().abs() < 1e-9
    assert torch.equal(gray[0], gray[2]) and colour.mean(dim=0).abs().max() < 1e-12


def test_every_view_that_moves_pixels_says_so() -> None:
    assert {"skew", "jigsaw", "patch_permute"} <= set(VIEWS)
    assert issubclass(type(build("skew", Path())), PermutationView)

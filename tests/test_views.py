"""Views turn the right way, and the way back changes no bit."""

import pytest
import torch

from tests.view_samples import noise
from utils.errors import UserError
from utils.views import get_views
from utils.views.view_base import BaseView

SQUARE = torch.tensor([[[1, 2], [3, 4]]])
TURNED = {  # what each view of the whole picture makes of SQUARE
    "identity": [[1, 2], [3, 4]],
    "rotate_cw": [[3, 1], [4, 2]],
    "rotate_ccw": [[2, 4], [1, 3]],
    "rotate_180": [[4, 3], [2, 1]],
    "flip": [[3, 4], [1, 2]],
    "flip_horizontal": [[2, 1], [4, 3]],
    "negate": [[-1, -2], [-3, -4]],
    "inner_circle:radius=0.5": [[4, 3], [2, 1]],
    "inner_circle:radius=0.5,turns=1": [[3, 1], [4, 2]],
    "square_hinge:grid=2": [[1, 2], [3, 4]],
    "skew:slope=1": [[1, 4], [3, 2]],
}
WHOLE = ("identity", "rotate_cw", "rotate_ccw", "rotate_180", "rotate:angle=90", "flip", "flip_horizontal",
         "inner_rotate", "inner_circle", "skew", "negate")  # fmt: skip
EXACT_ANGLES = (90.0, 180.0, 270.0, 360.0, -90.0, 0.0, 450.0)


def view(name: str, angle: float = 90.0) -> BaseView:
    return get_views([name], angle)[0]


def distance(size: int) -> torch.Tensor:
    """Of each pixel's centre from the picture's."""
    rows = [[((i - (size - 1) / 2) ** 2 + (j - (size - 1) / 2) ** 2) ** 0.5 for j in range(size)] for i in range(size)]
    return torch.tensor(rows)


@pytest.mark.parametrize("name", TURNED)
def test_views_turn_the_way_their_names_say(name: str) -> None:
    assert view(name).view(SQUARE).tolist() == [TURNED[name]]
    assert view(name).inverse_view(torch.tensor([TURNED[name]])).tolist() == SQUARE.tolist()


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_views_without_a_grid_are_bit_exact_inverses_at_any_size(name: str, dtype: torch.dtype) -> None:
    for size in (1, 2, 7, 32, 33, 96):
        im = noise(size, dtype)
        one = view(name)
        seen = one.view(im)
        assert seen.dtype == dtype and seen.shape == im.shape
        assert torch.equal(one.inverse_view(seen), im), size
        assert torch.equal(one.view(one.inverse_view(im)), im), size


def test_a_name_may_stand_twice_and_an_unknown_one_is_refused() -> None:
    assert [type(one).__name__ for one in get_views(["flip", "flip"])] == ["FlipView", "FlipView"]
    with pytest.raises(UserError, match="unknown view 'spin'"):
        get_views(["spin"])


# ---------------------------------------------------------------------------------------------- inner_rotate


@pytest.mark.parametrize(("size", "radius"), [(64, 24), (256, 96), (16, 6), (33, 33 * 24 / 64)])
@pytest.mark.parametrize("angle", [*EXACT_ANGLES, 45.0, 13.7])
def test_only_the_disc_turns(size: int, radius: float, angle: float) -> None:
    im, inside = noise(size), distance(size) <= radius
    seen = view("inner_rotate", angle).view(im)
    assert torch.equal(seen[:, ~inside], im[:, ~inside])
    changed = (seen != im).any(dim=0)
    if angle % 360:
        assert changed[inside].float().mean() > 0.8
        assert changed[distance(size) > radius - 1].any()
    else:
        assert not changed.any()


@pytest.mark.parametrize(("angle", "turns"), [(90.0, 1), (180.0, 2), (270.0, 3), (-90.0, 3), (450.0, 1), (-270.0, 1)])
@pytest.mark.parametrize("size", [64, 256, 33])
def test_the_disc_turns_clockwise(angle: float, turns: int, size: int) -> None:
    im, inside = noise(size), distance(size) <= size * 24 / 64
    whole = im
    for _ in range(turns):
        whole = view("rotate_cw").view(whole)
    assert torch.equal(view("inner_rotate", angle).view(im)[:, inside], whole[:, inside])


@pytest.mark.parametrize("angle", EXACT_ANGLES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_quarter_turns_of_the_disc_are_exact(angle: float, dtype: torch.dtype) -> None:
    for size in (32, 33, 64, 256):
        im, one = noise(size, dtype), view("inner_rotate", angle)
        assert torch.equal(one.inverse_view(one.view(im)), im)
        assert torch.equal(one.view(one.inverse_view(im)), im)


def test_other_angles_turn_clockwise_by_that_angle() -> None:
    """A bright spot above the centre moves to the upper right, and comes back."""
    im = torch.zeros(1, 64, 64)
    im[:, 14:19, 30:35] = 1.0
    seen = view("inner_rotate", 45.0).view(im)
    rows, columns = (distance_along.float().mean().item() for distance_along in seen[0].nonzero().T)
    expected = 31.5 + 15.5 * 2**-0.5
    assert columns == pytest.approx(expected, abs=1.0)
    assert rows == pytest.approx(63 - expected, abs=1.0)
    back = view("inner_rotate", 45.0).inverse_view(seen)
    assert (back != im).float().mean() < 0.01


def test_the_way_back_from_other_angles_is_close_on_smooth_pictures() -> None:
    axis = torch.linspace(-1, 1, 64)
    im = torch.stack([axis.expand(64, 64), axis[:, None].expand(64, 64), axis * axis[:, None]])
    for angle in (10.0, 45.0, 130.0, -45.0):
        one = view("inner_rotate", angle)
        lost, moved = (one.inverse_view(one.view(im)) - im).abs().mean(), (one.view(im) - im).abs().mean()
        assert lost < 0.01 < moved


@pytest.mark.parametrize("angle", [90.0, 180.0, -90.0])
def test_nearest_pixels_agree_with_exact_turns(angle: float) -> None:
    im = noise(64)
    assert torch.equal(view("inner_rotate", angle + 0.001).view(im), view("inner_rotate", angle).view(im))

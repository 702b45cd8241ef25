"""Every view moves from the picture to itself, without a jump."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import view_samples
from tests.view_samples import SAMPLES, apart, build, same, smooth
from utils.views.drawing import fly
from utils.views.view_base import NEUTRAL, from_tensor, to_tensor

folder, picture = view_samples.folder, view_samples.picture
MOVING = [sample for sample in SAMPLES if sample != "identity"]


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("size", [32, 64, 256])
def test_frames_start_at_the_picture_and_end_at_the_view(sample: str, size: int, folder: Path) -> None:
    one, start = build(sample, folder), from_tensor(smooth(size))
    before = start.tobytes()
    end = from_tensor(one.show(to_tensor(start)))
    for share in (0, 0.0, -0.1):
        assert same(one.frame(start, share), start)
    for share in (1, 1.0, 1.1):
        assert same(one.frame(start, share), end)
    between = one.frame(start, 0.4)
    assert between.mode == "RGB" and between.size == start.size
    assert start.tobytes() == before


@pytest.mark.parametrize("sample", SAMPLES)
def test_orthogonal_frames_end_on_the_very_pixels(sample: str, folder: Path, picture: Image.Image) -> None:
    one = build(sample, folder)
    if one.kind != "orthogonal" or sample == "negate":
        return
    end = np.sort(np.asarray(one.frame(picture, 1)).reshape(-1))
    assert np.array_equal(end, np.sort(np.asarray(picture).reshape(-1)))


@pytest.mark.parametrize("sample", MOVING)
def test_frames_do_not_jump_at_the_ends(sample: str, folder: Path, picture: Image.Image) -> None:
    one = build(sample, folder)
    whole_way = apart(one.frame(picture, 0), one.frame(picture, 1))
    assert apart(one.frame(picture, 0), one.frame(picture, 1e-4)) < max(1.5, 0.1 * whole_way)
    assert apart(one.frame(picture, 1 - 1e-4), one.frame(picture, 1)) < max(1.5, 0.1 * whole_way)


@pytest.mark.parametrize("sample", MOVING)
def test_frames_move_in_small_steps(sample: str, folder: Path, picture: Image.Image) -> None:
    one = build(sample, folder)
    frames = [one.frame(picture, step / 40) for step in range(41)]
    steps = [apart(a, b) for a, b in pairwise(frames)]
    assert 0 < max(steps) < 0.6 * apart(frames[0], frames[-1])


@pytest.mark.parametrize("sample", MOVING)
def test_frames_are_the_same_every_time(sample: str, folder: Path, picture: Image.Image) -> None:
    assert same(build(sample, folder).frame(picture, 0.3), build(sample, folder).frame(picture, 0.3))


def test_a_quarter_turn_shows_the_background_in_its_corners(folder: Path, picture: Image.Image) -> None:
    half = build("rotate_cw", folder).frame(picture, 0.5)
    assert half.getpixel((0, 0)) == half.getpixel((63, 63)) == NEUTRAL
    assert apart(half, picture.rotate(-45, Image.Resampling.BICUBIC, fillcolor=NEUTRAL)) < 1


def test_a_card_is_thin_half_way(folder: Path, picture: Image.Image) -> None:
    for name in ("flip", "flip_horizontal"):
        pixels = np.asarray(build(name, folder).frame(picture, 0.5))
        assert (pixels == np.array(NEUTRAL)).all(axis=2).mean() > 0.95


def test_hinged_squares_stay_in_their_cells(folder: Path) -> None:
    white = Image.new("RGB", (128, 128), (255, 255, 255))
    half = np.asarray(build("square_hinge", folder).frame(white, 0.5))[..., 0]
    assert half[0, 0] == 127 and half[16, 16] == 255
    assert (half == 255).mean() == pytest.approx(0.5, abs=0.06)


def test_ways_bend_and_end_where_they_should() -> None:
    start, end = np.array([[0.0, 0.0], [3.0, 1.0]]), np.array([[10.0, 0.0], [3.0, 1.0]])
    assert np.allclose(fly(start, end, 0), start) and np.allclose(fly(start, end, 1), end)
    half = fly(start, end, 0.5)
    assert half[0, 0] == pytest.approx(5) and abs(half[0, 1]) > 1 and np.allclose(half[1], start[1])


def test_other_modes_are_taken_as_rgb(folder: Path, picture: Image.Image) -> None:
    for share in (0, 0.5, 1):
        assert build("rotate_cw", folder).frame(picture.convert("L"), share).mode == "RGB"

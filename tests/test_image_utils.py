"""Value ranges and files of pictures."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from utils.images import decode, save_png, side_by_side, to_pil, to_unit_range


def test_network_range_becomes_unit_range_clamped_in_float32() -> None:
    values = torch.tensor([-3.0, -1.0, 0.0, 0.5, 1.0, 3.0], dtype=torch.bfloat16)
    out = to_unit_range(values)
    assert out.dtype == torch.float32
    assert out.tolist() == [0.0, 0.0, 0.5, 0.75, 1.0, 1.0]


def test_values_round_and_are_not_cut() -> None:
    levels = torch.arange(256).reshape(1, 1, 256).expand(3, 1, 256)
    for shift in (-0.4, 0.0, 0.4):
        pixels = np.asarray(to_pil((levels + shift).clamp(0, 255) / 255))
        assert pixels[0, :, 0].tolist() == list(range(256))


def test_values_outside_are_clamped_and_do_not_wrap() -> None:
    pixels = np.asarray(to_pil(torch.tensor([-0.5, 1.5, 257 / 255]).reshape(1, 1, 3).expand(3, 1, 3)))
    assert pixels[0, :, 0].tolist() == [0, 255, 255]


def test_pixels_keep_their_place_and_colour() -> None:
    picture = torch.zeros(3, 2, 4)
    picture[0, 0, 3] = picture[1, 1, 0] = picture[2, 1, 2] = 1.0
    image = to_pil(picture)
    assert (image.mode, image.size) == ("RGB", (4, 2))
    assert image.getpixel((3, 0)) == (255, 0, 0)
    assert image.getpixel((0, 1)) == (0, 255, 0)
    assert image.getpixel((2, 1)) == (0, 0, 255)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_any_float_type_becomes_a_picture(dtype: torch.dtype) -> None:
    assert np.asarray(to_pil(torch.full((3, 2, 2), 0.5, dtype=dtype))).max() == 128


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_is_refused(bad: float) -> None:
    picture = torch.zeros(3, 4, 4)
    picture[1, 2, 3] = bad
    with pytest.raises(ValueError, match="NaN or infinite"):
        to_pil(picture)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_is_found_before_it_is_clamped(bad: float) -> None:
    pictures = torch.zeros(2, 3, 4, 4, dtype=torch.float16)
    pictures[1, 1, 2, 3] = bad
    with pytest.raises(ValueError, match="NaN or infinite"):
        to_unit_range(pictures)


def test_side_by_side_goes_from_left_to_right() -> None:
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    joined = side_by_side([Image.new("RGB", (2, 3), colour) for colour in colours])
    assert joined.size == (6, 3)
    assert [joined.getpixel((x, 1)) for x in (0, 2, 5)] == colours


def test_png_keeps_every_value_and_gives_the_same_bytes(tmp_path: Path) -> None:
    image = to_pil(torch.rand(3, 9, 7, generator=torch.Generator().manual_seed(0)))
    save_png(tmp_path / "a.png", image)
    save_png(tmp_path / "b.png", image)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as read:
        assert np.array_equal(np.asarray(read), np.asarray(image))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_dropped_and_not_put_on_a_colour(tmp_path: Path, mode: str) -> None:
    values = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    values = values if mode != "LA" else np.repeat(values[..., :1], 3, axis=-1)
    picture = Image.fromarray(values).convert("RGB")
    picture = picture.quantize(16) if mode == "P" else picture
    colours = np.asarray(picture.convert("RGB"))
    if mode == "P":
        picture.save(tmp_path / "x.png", transparency=3)
    else:
        picture.putalpha(Image.fromarray(np.tile(np.arange(0, 256, 32, dtype=np.uint8), (8, 1))))
        picture.convert(mode).save(tmp_path / "x.png")
    assert Image.open(tmp_path / "x.png").mode == mode
    np.testing.assert_array_equal(np.asarray(decode(tmp_path / "x.png")), colours)


def test_names_that_no_file_can_have_are_no_pictures(tmp_path: Path) -> None:
    for name in ("x" * 300, "a\0b"):
        with pytest.raises(ValueError, match="not a regular file"):
            decode(tmp_path / name)

"""What is measured while a sphere is made reaches run.json, and what is measured of the file reaches the scores."""

import json
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

import main
from guidance.panorama_model import Blend
from tests import runs
from tests.test_best_of import red  # noqa: F401
from utils.cameras import VIEW_SETS
from utils.sphere import Band, Camera, canvas_directions, look

one_thread, read_once = runs.one_thread, runs.read_once
HEIGHT, SIDE = 64, 32


def sphere(sd_folder: Path, top: Path, *extra: object) -> list[str]:
    """A sphere of 64x128 pixels in two steps, into ``top/t``."""
    return [str(word) for word in (
        "--app", "panorama", "--sd_path", sd_folder, "--save_top_dir", top, "--tag", "t", "--device", "cpu",
        "--dtype", "float32", "--panorama_height", HEIGHT, "--view_set", 16, "--num_inference_steps", 2,
        "--guidance_scale", 2, "--prompt", "a b", *extra
    )]  # fmt: skip


def read(top: Path) -> dict:
    return json.loads((top / "t" / "run.json").read_text())["pictures"][0]


def as_view(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]


# ---------------------------------------------------------------------------------------------- spread


def test_views_of_one_smooth_sphere_spread_little_and_by_how_much_they_differ_otherwise() -> None:
    """Of two views that show the same, one brighter by 0.2, each is 0.1 off their mean."""
    directions, camera = canvas_directions(HEIGHT), Camera(30, 10, 90)
    smooth = 0.4 + 0.1 * directions
    alike, apart = Blend(HEIGHT, 2), Blend(HEIGHT, 2)
    for brighter in (0.0, 0.2):
        alike.add(camera, as_view(look(smooth, camera, SIDE)))
        apart.add(camera, as_view(look(smooth, camera, SIDE) + brighter))
    assert alike.spread() < 0.002
    assert apart.spread() == pytest.approx(0.1, abs=0.002)


def test_the_spread_of_some_pixels_is_close_to_that_of_all() -> None:
    rng, cameras = np.random.default_rng(0), VIEW_SETS["16"]
    some, every = Blend(HEIGHT, len(cameras)), Blend(HEIGHT, 1)
    for camera in cameras:
        view = as_view(np.clip(rng.normal(0.5, 0.1, (SIDE, SIDE, 3)), 0, 1))
        some.add(camera, view)
        every.add(camera, view)
    assert some.stride > every.stride == 1
    assert sum(part.size for _, part in some.kept) <= 3 * SIDE**2 < sum(part.size for _, part in every.kept)
    assert some.spread() == pytest.approx(every.spread(), rel=0.05)
    assert torch.equal(some.sphere(), every.sphere())


def test_no_decoded_view_is_held_while_the_next_one_is_made() -> None:
    blend, alive = Blend(HEIGHT, 16), []
    for camera in VIEW_SETS["16"]:
        assert not [one for one in alive if one() is not None]
        decoded = torch.rand(1, 3, SIDE, SIDE, dtype=torch.float64)
        alive.append(weakref.ref(decoded))
        blend.add(camera, decoded)
        assert not any(np.shares_memory(decoded.numpy(), kept) for _, kept in blend.kept)
        del decoded


# ---------------------------------------------------------------------------------------------- run.json


def test_run_json_keeps_spread_and_coverage(sd_folder: Path, tmp_path: Path) -> None:
    assert main.main(sphere(sd_folder, tmp_path)) == 0
    figures = read(tmp_path)["figures"]
    assert set(figures) == {"spread", "coverage"}
    assert figures["coverage"] == 1 and 0 < figures["spread"] < 0.5
    assert main.main(sphere(sd_folder, tmp_path)) == 0  # the folder is read again, and nothing is to do


def test_a_ring_covers_the_share_of_its_band(sd_folder: Path, tmp_path: Path) -> None:
    assert main.main(sphere(sd_folder, tmp_path, "--view_set", "ring")) == 0
    figures = read(tmp_path)["figures"]
    assert 0.5 < figures["coverage"] < 0.7 and 0 < figures["spread"] < 0.5
    assert Band(0, 60, 60).share == 1 and Band(0, 30, 60).share == pytest.approx(0.5)
    assert Band(20, 40, 60).share == pytest.approx(0.5)  # 30 degrees each way


def test_without_synchronisation_views_spread_more(sd_folder: Path, tmp_path: Path) -> None:
    assert main.main(sphere(sd_folder, tmp_path / "x0")) == 0
    assert main.main(sphere(sd_folder, tmp_path / "none", "--sync", "none")) == 0
    assert read(tmp_path / "none")["figures"]["spread"] > read(tmp_path / "x0")["figures"]["spread"]


def test_the_best_of_several_keeps_its_own_figures(sd_folder: Path, tmp_path: Path, red: Path) -> None:  # noqa: F811
    assert main.main(sphere(sd_folder, tmp_path / "best", "--num_samples", 2, "--keep_best")) == 0
    best = read(tmp_path / "best")
    assert main.main(sphere(sd_folder, tmp_path / "one", "--seed", best["seed"])) == 0
    other = next(one["seed"] for one in best["samples"] if one["seed"] != best["seed"])
    assert main.main(sphere(sd_folder, tmp_path / "other", "--seed", other)) == 0
    assert best["figures"] == read(tmp_path / "one")["figures"] != read(tmp_path / "other")["figures"]

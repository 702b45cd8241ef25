"""What is measured while a sphere is made reaches run.json, and what is measured of the file reaches the scores."""

import json
import shutil
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import eval as evaluation
import main
from guidance import get_app
from guidance.panorama_model import Blend
from tests import runs
from tests.test_best_of import red  # noqa: F401
from utils.cameras import VIEW_SETS
from utils.report.cards import CardMaker
from utils.report.contents import read_contents
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


# ---------------------------------------------------------------------------------------------- scores


@pytest.fixture(scope="module")
def made(sd_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two spheres."""
    top = tmp_path_factory.mktemp("spheres")
    assert main.main(sphere(sd_folder, top, "--num_samples", 2)) == 0
    return top / "t"


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "spheres"))


def score(folder: Path) -> dict:
    assert evaluation.main(["--fdir1", str(folder), "--app", "panoramas", "--clip_model", "tiny"]) == 0
    return json.loads((folder / "eval_details.json").read_text())


def test_scores_are_told_by_direction_and_figures_by_picture(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    details = score(folder)
    directions, rows = details["directions"], details["figures"]["pictures"]
    assert {role: row["pictures"] for role, row in directions.items()} == {"level": 8, "up": 4, "down": 4}
    up = [row["score"] for row in details["pictures"] if Path(row["file"]).stem[-1] in "45"]
    assert directions["up"]["score"] == pytest.approx(np.mean(up))
    assert [row["seed"] for row in rows] == [1, 2]
    assert all(set(row["figures"]) == {"wrap", "pole", "seams", "spread"} for row in rows)
    assert details["figures"]["mean"]["wrap"] == pytest.approx(np.mean([row["figures"]["wrap"] for row in rows]))
    printed = capsys.readouterr().out
    assert "straight" not in printed and all(
        word in printed for word in ("level", "wrap", "pole", "mean over pictures")
    )
    assert set(json.loads((folder / "eval.json").read_text())) == {
        "source_dir", "score", *(f"{folder}/{row['files'][0]}" for row in details["prompts"])
    }  # fmt: skip


def broken(folder: Path) -> Path:
    """The first sphere, with its right half made dark."""
    file = next(path for path in sorted(folder.glob("*.png")) if Image.open(path).size == (2 * HEIGHT, HEIGHT))
    picture = Image.open(file).convert("RGB")
    picture.paste((0, 0, 0), (HEIGHT, 0, 2 * HEIGHT, HEIGHT))
    picture.save(file)
    return file


def test_a_sphere_that_does_not_meet_is_told_by_eval_and_by_the_page(folder: Path) -> None:
    before = score(folder)["figures"]["pictures"]
    broken(folder)
    after = score(folder)["figures"]["pictures"]
    assert after[0]["figures"]["wrap"] > 3 * before[0]["figures"]["wrap"] and after[1] == before[1]
    app = get_app("panorama")
    cards = CardMaker(read_contents(folder, app), app).cards()
    for card, row in zip(cards, after, strict=True):
        assert {name: value for name, _, value in card.measured} == row["figures"]


def test_of_a_ring_poles_are_not_told_and_of_unknown_cameras_no_seams(folder: Path, sd_folder: Path) -> None:
    assert main.main(sphere(sd_folder, folder / "ring", "--view_set", "ring")) == 0
    assert set(score(folder / "ring" / "t")["figures"]["mean"]) == {"wrap", "seams", "spread"}
    record = json.loads((folder / "run.json").read_text())
    record["options"]["view_set"] = "0" * 64
    (folder / "run.json").write_text(json.dumps(record))
    assert set(score(folder)["figures"]["mean"]) == {"wrap", "pole", "spread"}


def test_a_damaged_sphere_is_listed_and_the_others_measured(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = broken(folder)
    file.write_bytes(file.read_bytes()[:200])
    details = score(folder)
    assert [row["seed"] for row in details["figures"]["pictures"]] == [2]
    assert any(item["file"] == file.name and "no figures" in item["reason"] for item in details["skipped"])
    assert f"{file.name}: no figures" in capsys.readouterr().out

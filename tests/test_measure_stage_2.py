"""What ``training/measure_models.py`` says of stage 2: its figures by hand, its pictures, and one small run."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.analytic import asking
from training import measure_models as measure
from training.drawing import letters
from training.measure import stage_2 as measure_stage_2
from training.measure import tool as measure_tool


@pytest.fixture
def small(
    if_stage_1_folder: Path, if_stage_2_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """Return a command line: three letters of invented faces, small random stages, 16 to 64 px."""
    masks = np.zeros((6, 26, letters.MASK_SIZE, letters.MASK_SIZE), np.uint8)
    masks[:, :, 20:70, 30:60] = 255
    np.savez_compressed(tmp_path / "glyphs.npz", masks=masks, aspects=np.ones((6, 26), np.float32))
    monkeypatch.setattr(measure_stage_2, "PICTURES", 3)
    places = {"stage_1_path": if_stage_1_folder, "stage_2_path": if_stage_2_folder, "work_dir": tmp_path / "work",
              "checkpoint_dir": tmp_path}  # fmt: skip
    return ["--only", "stage_2", *(str(part) for name, path in places.items() for part in (f"--{name}", path))]


def columns(*values: int) -> np.ndarray:
    """Return a picture ``[3, W, 3]`` of columns with these levels."""
    return np.broadcast_to(np.array(values, np.uint8)[None, :, None], (3, len(values), 3))


# ---------------------------------------------------------------------------------------------- figures


def test_psnr_has_its_values_by_hand() -> None:
    assert measure_stage_2.psnr(columns(0, 9), columns(0, 9)) == math.inf
    assert measure_stage_2.psnr(columns(0, 0), columns(255, 255)) == 0
    assert measure_stage_2.psnr(columns(6, 9), columns(5, 10)) == pytest.approx(20 * math.log10(255))
    assert measure_stage_2.psnr(columns(2, 0), columns(0, 0)) == pytest.approx(10 * math.log10(255**2 / 2))


def test_psnr_is_the_same_both_ways_and_falls_with_the_error() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(60, 190, (8, 8, 3)).astype(np.uint8)
    near, far = (truth + rng.integers(-k, k, truth.shape) for k in (4, 40))
    near, far = near.astype(np.uint8), far.astype(np.uint8)
    assert measure_stage_2.psnr(near, truth) == measure_stage_2.psnr(truth, near) > measure_stage_2.psnr(far, truth)


def test_gradients_have_their_values_by_hand() -> None:
    picture = columns(0, 6, 6, 0)  # across 6, 0, -6; down nothing
    assert measure_stage_2.gradient(picture, 1) == pytest.approx(2)
    assert measure_stage_2.gradient(picture, 2) == pytest.approx(12)
    assert measure_stage_2.gradient(picture.swapaxes(0, 1), 1) == pytest.approx(2)


def test_a_blurred_edge_keeps_its_mean_gradient_and_loses_of_its_root_mean_square() -> None:
    sharp, soft = columns(0, 0, 8, 8), columns(0, 4, 8, 8)
    assert measure_stage_2.gradient_ratio([soft], [sharp], 1) == pytest.approx(1)
    assert measure_stage_2.gradient_ratio([soft], [sharp], 2) == pytest.approx(math.sqrt(0.5))
    assert measure_stage_2.gradient_ratio([sharp, soft], [soft, sharp], 2) == pytest.approx(1)


# ---------------------------------------------------------------------------------------------- pictures


def test_every_letter_is_drawn_in_two_styles_and_styles_are_as_frequent() -> None:
    labels = measure_stage_2.draw_labels(measure_stage_2.PICTURES).tolist()
    assert len(set(labels)) == len(labels) == 52
    drawn = [letters.captions()[label] for label in labels]
    assert sorted(caption[-1] for caption in drawn) == sorted(2 * letters.LETTERS)
    counts = [sum(measure_stage_2.style_of(label) == style for label in labels) for style in letters.STYLES]
    assert set(counts) == {8, 9}
    assert drawn == [letters.caption(measure_stage_2.style_of(label), letters.LETTERS[label % 26]) for label in labels]


def test_a_picture_is_enlarged_as_in_the_cascade(small: list[str]) -> None:
    tool, prompt = measure_tool.Tool(measure.parse(small)), "a photo of the letter n"
    model = measure_stage_2.load_model(tool, [prompt], 50)
    list(model.generate(asking(prompt), 3))
    results, generator = dict(model.results), torch.Generator().manual_seed(3)
    torch.randn(results["stage_1"].shape, generator=generator)  # what the first stage drew
    enlarged = model.enlarge(results["stage_1"], prompt, generator)
    assert enlarged.shape == (1, 3, 64, 64)
    assert torch.equal(enlarged, results["stage_2"])


def test_the_small_picture_is_the_truth_averaged_down_and_bicubic_is_pillows(small: list[str]) -> None:
    samples = measure_stage_2.enlarge_letters(measure_tool.Tool(measure.parse(small)), 0)
    assert [sample.label for sample in samples] == measure_stage_2.draw_labels(3).tolist()
    for sample in samples:
        averaged = np.asarray(sample.truth, float).reshape(16, 4, 16, 4, 3).mean((1, 3))
        assert np.abs(np.asarray(sample.low) - averaged).max() <= 1
        assert sample.bicubic == sample.low.resize((64, 64), Image.Resampling.BICUBIC)
        assert sample.stage_2.size == sample.truth.size == (64, 64)


def test_a_run_writes_its_rows_other_noise_levels_and_a_sheet(small: list[str], tmp_path: Path) -> None:
    measure.main([*small, "--stage2_noise_levels", "0"])
    part = json.loads((tmp_path / "work" / "measures.json").read_text())["stage_2"]
    values = [row["value"] for row in part["rows"]]
    assert values[2] == pytest.approx(values[0] - values[1])
    assert [row["bar"] for row in part["rows"]] == [None, None, ">= 0 dB", None, None]
    assert part["rows"][2]["reached"] is bool(values[2] >= 0)
    assert part["rows"][0]["what"].endswith("16 to 64 px")
    assert part["details"]["noise_level"] == 50 and set(part["details"]["other_noise_levels"]) == {"0"}
    other = part["details"]["other_noise_levels"]["0"]
    assert other["psnr_bicubic"] == values[1] and other["psnr"] != values[0]
    assert set(part["details"]["by_style"]) == {"plain", "oil painting", "pencil sketch"}
    assert Image.open(tmp_path / "work" / "stage-2.png").size == (4 * 64, 3 * 64)


def test_the_part_stands_after_the_letters() -> None:
    names = list(measure.PARTS)
    assert names[names.index("letters") + 1] == "stage_2"
    assert names == measure.parse([]).only

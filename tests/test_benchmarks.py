"""Benchmarks compare what makes the same picture."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import bench_projection, bench_wide, compare_cases
from tests import runs

one_thread = runs.one_thread


def test_both_ways_of_mapping_agree(tmp_path: Path) -> None:
    rows = bench_projection.main(["--windows", "2", "9", "--repeats", "1", "--output_dir", str(tmp_path)])
    assert len(rows) >= 4 and all(row["difference"] < 1e-6 for row in rows)
    written = json.loads((tmp_path / "bench_projection.json").read_text())
    assert written["rows"] == rows and written["machine"]["torch"]
    assert (tmp_path / "bench_projection.md").read_text().count("|\n") == len(rows) + 2


@pytest.mark.parametrize("log_step", [0, 1])
def test_the_literal_loop_makes_our_strip(log_step: int, sd_folder: Path, tmp_path: Path) -> None:
    argv = ["--sd_path", sd_folder, "--num_inference_steps", 3, "--log_step", log_step, "--output_dir", tmp_path]
    ours, literal = bench_wide.main([str(value) for value in argv])
    assert ours["largest difference"] < 1e-3
    assert ours["network samples"] == literal["network samples"] == 3 * 2 * ours["windows"]
    assert literal["decodes"] == (1 + 3 * log_step) * ours["windows"]
    tiles = 8  # six windows that touch, in tiles that overlap by a quarter
    assert ours["decodes"] == (1 + 3 * log_step) * tiles


def test_views_that_agree_do_not_differ(tmp_path: Path) -> None:
    picture = np.random.RandomState(0).randint(0, 256, (64, 64, 3), dtype=np.uint8)
    view = compare_cases.get_views(compare_cases.views_of(90))[1]
    Image.fromarray(picture).save(tmp_path / "a.png")
    turned = view.view(compare_cases.read(tmp_path / "a.png"))
    Image.fromarray((turned.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)).save(tmp_path / "b.png")
    for second, expected in (("b.png", 0.0), ("a.png", None)):
        files = [{"file": "a.png", "role": "view"}, {"file": second, "role": "view"}]
        (tmp_path / "run.json").write_text(json.dumps({"pictures": [{"files": files}]}))
        found = compare_cases.disagreement(tmp_path, 90)
        assert found == expected if expected is not None else found > 0.05

"""Benchmarks compare what makes the same picture."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import (
    ambiguous_runs,
    bench_compile,
    bench_first_picture,
    bench_panorama,
    bench_peers,
    bench_profile,
    bench_projection,
    bench_scale,
    bench_schedules,
    bench_step,
    bench_threads,
    bench_wide,
    compare_cases,
    processes,
    show_views,
    wide_runs,
)
from guidance.wide_image_app import read_strip_prompts
from tests import runs
from training.drawing.landscape_captions import PROMPTS
from utils.models.runtime import COMPILERS
from utils.prompts import file_stem

one_thread = runs.one_thread


def test_both_ways_of_mapping_agree(tmp_path: Path) -> None:
    rows = bench_projection.main(["--windows", "2", "9", "--repeats", "1", "--output_dir", str(tmp_path)])
    assert len(rows) >= 4 and all(row["difference"] < 1e-6 for row in rows)
    written = json.loads((tmp_path / "bench_projection.json").read_text())
    assert written["rows"] == rows and written["machine"]["torch"]
    assert (tmp_path / "bench_projection.md").read_text().count("|\n") == len(rows) + 2


@pytest.mark.parametrize("revision", ["HEAD", bench_step.BEFORE_APPS])
def test_steps_of_two_revisions_are_timed_in_turns(revision: str, tmp_path: Path) -> None:
    if not known(revision):
        pytest.skip(f"this checkout has no revision {revision}")
    worktrees, short = bench_step.git("worktree", "list"), bench_step.git("rev-parse", "--short", revision)
    argv = ["--against", revision, "--steps", "2", "--rounds", "3", "--starts", "2"]
    rows = bench_step.main([*argv, "--output_dir", str(tmp_path)])
    assert len(rows) == 4 and all(0.05 < row["before / now"] < 20 for row in rows)
    for row in rows:
        assert row["half of all rounds, from"] <= row["before / now"] <= row["to"]
    assert json.loads((tmp_path / "bench_step.json").read_text())["against"] == short
    assert bench_step.git("worktree", "list") == worktrees


def known(revision: str) -> bool:
    try:
        return bool(bench_step.git("rev-parse", "--verify", f"{revision}^{{commit}}"))
    except SystemExit:
        return False


def test_the_ratio_of_steps_is_that_of_times_taken_one_after_the_other() -> None:
    row = bench_step.row_of("s", [(0.2, 0.1), (0.4, 0.2), (0.1, 0.2)], steps=100)
    assert (row["before, ms"], row["now, ms"]) == (pytest.approx(2), pytest.approx(2))
    assert row["before / now"] == 2


def test_a_revision_that_does_not_exist_ends_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"bench_step\.py: error: git rev-parse"):
        bench_step.main(["--against", "no-such-revision", "--output_dir", str(tmp_path)])


@pytest.mark.parametrize("log_step", [0, 1])
def test_the_literal_loop_makes_our_strip(log_step: int, sd_folder: Path, tmp_path: Path) -> None:
    argv = ["--sd_path", sd_folder, "--num_inference_steps", 3, "--log_step", log_step, "--output_dir", tmp_path]
    ours, literal = bench_wide.main([str(value) for value in argv])
    assert ours["largest difference"] < 1e-3
    assert ours["network samples"] == literal["network samples"] == 3 * 2 * ours["windows"]
    assert literal["decodes"] == (1 + 3 * log_step) * ours["windows"]
    tiles = 8  # six windows that touch, in tiles that overlap by a quarter
    assert ours["decodes"] == (1 + 3 * log_step) * tiles


def test_a_whole_strip_is_calculated_from_what_was_counted(sd_folder: Path, tmp_path: Path) -> None:
    argv = ["--sd_path", sd_folder, "--num_inference_steps", 1, "--panorama_width", 128, "--output_dir", tmp_path]
    rows = bench_wide.main([*map(str, argv), "--dtype", "bfloat16"])
    for row, parts in zip(rows, (8, 41), strict=True):
        assert row["whole strip, samples"] == 4100 and row["whole strip, decodes"] == 11 * parts
        minutes = (4100 * row["seconds per sample"] + 11 * parts * row["seconds per decode"]) / 60
        assert row["whole strip, minutes"] == pytest.approx(minutes, abs=0.006)
        assert 0 < row["mean distance from float32"] < 0.1


@pytest.mark.skipif(not any(map(shutil.which, COMPILERS)), reason="needs a C++ compiler")
def test_translated_networks_make_the_same_strip(sd_folder: Path, tmp_path: Path) -> None:
    argv = ["--sd_path", sd_folder, "--num_inference_steps", 2, "--panorama_width", 128, "--dtype", "float32",
            "--device", "cpu", "--repeats", 1, "--output_dir", tmp_path]  # fmt: skip
    plain, translated = bench_compile.main([str(value) for value in argv])
    assert plain["times faster"] == 1 and plain["largest difference"] == 0
    assert 0 < translated["largest difference"] < 1e-3


def test_diffusers_panorama_makes_our_canvas(sd_folder: Path, tmp_path: Path) -> None:
    argv = ["--sd_path", sd_folder, "--num_inference_steps", 4, "--output_dir", tmp_path]
    rows = {row["run"]: row for row in bench_peers.main([str(value) for value in argv])}
    assert len(rows) == 5
    same = [row for run, row in rows.items() if "panorama" in run]
    assert all(row["largest difference of the canvas"] < 1e-4 for row in same)
    assert {row["network samples"] for row in same} == {rows["ours, reference"]["network samples"]}
    assert rows["ours, draft"]["largest difference of the canvas"] > 1e-3


def test_the_profile_adds_up(tmp_path: Path) -> None:
    rows = bench_profile.main(["--repeats", "1", "--num_inference_steps", "1", "--output_dir", str(tmp_path)])
    assert [row["preset"] for row in rows] == ["default", "reference", "balanced", "draft"]
    for row in rows:
        assert row["network"] + row["decoder"] + row["rest"] == pytest.approx(row["seconds"], abs=0.003)
        assert min(row["network"], row["decoder"], row["rest"]) > 0 and row["decodes"] == 8


def test_scale_measures_the_tool(tmp_path: Path) -> None:
    (row,) = bench_scale.main(["--windows", "2", "--num_inference_steps", "1", "--output_dir", str(tmp_path)])
    assert row["pixels"] == "128x256" and row["seconds"] > 0
    assert 0.2 < row["peak memory GiB"] < 4


def test_schedules_are_made_once_and_candidates_with_all_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = [bench_schedules.Setting("1", "ddim", 1), bench_schedules.Setting("shifted", "dpmpp_2m", 2, (0, 0.5))]
    monkeypatch.setattr(bench_schedules, "CANDIDATES", {settings[1]})
    loaded = wide_runs.load(None, list(PROMPTS.values()), device="cpu")
    for _ in range(2):
        bench_schedules.make_missing(loaded, settings, list(PROMPTS.values())[:1], 2, tmp_path)
        made = sorted(tmp_path.rglob("*.png"))
        assert len(made) == 3
        times = {path: path.stat().st_mtime_ns for path in made}
    assert {path: path.stat().st_mtime_ns for path in made} == times
    samples = [json.loads(path.with_suffix(".json").read_text())["samples"] for path in made]
    assert samples == [2 * 6, *[2 * 6 + 7] * 2]  # shifted: guided in the first of two steps


def test_figures_of_a_schedule(tmp_path: Path) -> None:
    smooth = np.tile(np.abs(np.arange(768) % 200 - 100.0)[None, :, None], (128, 1, 3))  # steps of one level
    jump = smooth + (np.arange(768) // 128 % 2 * 20)[None, :, None]
    scene = next(iter(PROMPTS))
    judge, scorer = (lambda crops: [scene, *["?"] * (len(crops) - 1)]), FakeScorer()
    pictures = [Image.fromarray(strip.round().astype(np.uint8), "RGB") for strip in (smooth, jump)]
    found = [bench_schedules.figures({(scene, 0): picture}, judge, scorer) for picture in pictures]
    assert found[0]["judge"] == 1 / 8 and found[0]["score"] == 1.0
    assert found[0]["seams"] == pytest.approx(1) and found[1]["seams"] > 10
    both = bench_schedules.figures({(scene, seed): picture for seed, picture in enumerate(pictures)}, judge, scorer)
    assert [both["seams, least"], both["seams, most"]] == [row["seams"] for row in found]
    made = {"schedule": "1/2", "solver": "ddim", "guidance": "all", "reduction": "weighted", "samples": 10}
    rows = [{**made, **figures} for figures in found]
    bench_schedules.plot(rows, [{**made, **both}], tmp_path / "plot.png")
    assert Image.open(tmp_path / "plot.png").width > 500


class FakeScorer:
    """All pictures and prompts have the same feature."""

    def cosines(self, pictures: Sequence[tuple[Image.Image, str]]) -> np.ndarray:
        return np.ones(len(pictures), np.float32)


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


def test_differences_from_averaging_x0_are_taken_picture_by_picture() -> None:
    rows = [
        {"turn": 90, "case": "2: x0", "scores": [0.5, 0.9]},
        {"turn": 90, "case": "3: x_t", "scores": [0.6, 1.0]},
        {"turn": 90, "case": "2: x0, independent starts", "scores": [0.1, 0.2]},
        {"turn": 90, "case": "0: no synchronisation", "scores": [0.3, 0.2]},
        {"turn": 45, "case": "2: x0", "scores": [0.0, 0.0]},
    ]
    compared = {(row["turn"], row["case"]): row for row in compare_cases.beside_x0(rows)}
    x_t = compared[90, "3: x_t"]
    assert x_t["score, less that of x0"] == pytest.approx(0.1) and x_t["standard error of that"] == pytest.approx(0)
    alone = compared[90, "0: no synchronisation"]  # its views start by themselves
    assert alone["score, less that of x0"] == alone["standard error of that"] == pytest.approx(0.1)
    assert compared[45, "2: x0"]["score, less that of x0"] == 0
    assert compare_cases.standard_error([0.0, 2.0]) == pytest.approx(1) and compare_cases.standard_error([1.0]) is None


def test_cases_are_compared_on_a_model_of_ones_own(
    if_stage_1_folder: Path, if_stage_2_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare_cases, "ANGLES", (45,))
    chosen = {row: compare_cases.ROWS[row] for row in ("2: x0", "3: x_t", "2: x0, independent starts")}
    monkeypatch.setattr(compare_cases, "ROWS", chosen)
    prompts = tmp_path / "pairs.json"
    prompts.write_text(json.dumps({"one": {"canonical_prompt": "a horse", "instance_prompt": "a village"}}))
    rows = compare_cases.compare([*paths(if_stage_1_folder, if_stage_2_folder), "--clip_model", "tiny",
        "--prompts_file", str(prompts), "--num_inference_steps", "2", "--work_dir", str(tmp_path / "work"),
        "--output_dir", str(tmp_path / "out")])  # fmt: skip
    assert [row["case"] for row in rows] == list(chosen) and {row["pictures"] for row in rows} == {2}
    written = json.loads((tmp_path / "out" / "compare_cases.json").read_text())
    for row, scores in zip(rows, written["scores_by_picture"], strict=True):
        assert row["score"] == pytest.approx(np.mean(scores["scores"])) and row["standard error"] > 0
    record = json.loads(next((tmp_path / "work").glob("inner_*/run.json")).read_text())
    assert record["model"]["sources"]["stage_1_path"]["name"] == str(if_stage_1_folder)
    assert record["options"]["dtype"] == "float32" and record["pictures"][0]["prompts"] == ["a horse", "a village"]


def test_views_are_shown_on_a_model_of_ones_own(
    if_stage_1_folder: Path, if_stage_2_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(show_views, "EXAMPLES", show_views.EXAMPLES[:1])
    show_views.show([*paths(if_stage_1_folder, if_stage_2_folder), "--num_inference_steps", "2",
                     "--work_dir", str(tmp_path), "--output", str(tmp_path / "sheet.png")])  # fmt: skip
    record = json.loads(next(tmp_path.glob("*/run.json")).read_text())
    assert record["model"]["sources"]["stage_2_path"]["name"] == str(if_stage_2_folder)
    assert record["options"]["dtype"] == "float32" and Image.open(tmp_path / "sheet.png").width > 500


def test_device_and_number_format_are_passed_on() -> None:
    for parse in (compare_cases.parse, show_views.parse):
        for device, dtype in (("cpu", "float32"), ("cuda", "float16")):
            argv = ambiguous_runs.model_argv(parse(["--device", device, "--dtype", dtype]))
            assert argv == ["--model", "tiny", "--device", device, "--dtype", dtype]


def paths(stage_1: Path, stage_2: Path) -> list[str]:
    """Options that name random weights."""
    return ["--stage_1_path", str(stage_1), "--stage_2_path", str(stage_2), "--device", "cpu", "--dtype", "float32"]


def test_a_first_picture_is_timed_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([7.0, 3.0, 5.0])

    def run_main(argv: Sequence[str], folder: Path, threads: int | None = None) -> processes.Measured:
        assert "--preset" in argv and "draft" in argv and not folder.exists()
        return processes.Measured(next(seconds), [2.5], 0.5)

    monkeypatch.setattr(bench_first_picture, "run_main", run_main)
    draft = {"strip, draft": bench_first_picture.PICTURES["strip, draft"]}
    monkeypatch.setattr(bench_first_picture, "PICTURES", draft)
    (row,) = bench_first_picture.main(["--repeats", "3", "--output_dir", str(tmp_path)])
    assert (row["whole process, s"], row["least"], row["most"]) == (5.0, 3.0, 7.0)
    assert row["the picture alone, s"] == 2.5 and row["peak memory GiB"] == 0.5


def test_pixels_of_two_numbers_of_threads_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = [entry["prompt"] for entry in read_strip_prompts(bench_threads.PROMPTS).values()]

    def run_main(argv: Sequence[str], folder: Path, threads: int | None = None) -> processes.Measured:
        folder.mkdir()
        for prompt in prompts:
            strip = np.full((2, 5, 3), 100, np.uint8)
            strip[0, 0, 0] -= (prompt == prompts[0]) * (threads == 1) * 20  # darker: differences have no sign
            Image.fromarray(strip).save(folder / f"{file_stem(prompt)}.png")
        return processes.Measured(1.0, [1.0] * len(prompts), 1.0)

    monkeypatch.setattr(bench_threads, "run_main", run_main)
    (row,) = bench_threads.main(["--dtypes", "float32", "--output_dir", str(tmp_path)])
    assert (row["strips"], row["of these differ"], row["largest difference, levels"]) == (10, 1, 20)
    assert row["mean difference, levels"] == pytest.approx(20 / 300)
    assert row["values that differ, share"] == row["by more than 8 levels, share"] == pytest.approx(1 / 300)
    written = json.loads((tmp_path / "bench_threads.json").read_text())
    assert written["largest_by_strip"]["float32"] == {prompt: 20 * (prompt == prompts[0]) for prompt in prompts}


def test_whole_panoramas_are_calculated_from_their_parts(sd_folder: Path, tmp_path: Path) -> None:
    rows = bench_panorama.main(["--sd_path", str(sd_folder), "--repeats", "1", "--output_dir", str(tmp_path)])
    assert [row["samples"] for row in rows] == [2200, 880, 528]
    report = json.loads((tmp_path / "bench_panorama.json").read_text())
    assert report["views"] == 22 and all(seconds > 0 for seconds in report["parts"].values())
    for row in rows:
        assert sum(row[part] for part in ("network, %", "decoder, %", "all else, %, calculated")) == pytest.approx(
            100, abs=0.1
        )
    assert "calculated" in (tmp_path / "bench_panorama.md").read_text()
    parts = dict.fromkeys(report["parts"], 0.0) | {"one sample": 2.0, "one view decoded": 5.0}
    assert bench_panorama.whole_run("draft", parts, 22)["seconds, calculated"] == 528 * 2 + 22 * 5

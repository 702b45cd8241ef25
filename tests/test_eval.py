"""eval.py: which files are scored with which prompts, what it writes, and how it ends. No network, a small CLIP."""

import json
import os
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

import eval as eval_script
from guidance import get_app
from utils import files
from utils.errors import UserError, exit_with
from utils.images import decode
from utils.prompts import PictureRequest as Request
from utils.prompts import file_stem
from utils.run.run_record import FileEntry
from utils.scoring import clip_files
from utils.scoring.clip_files import ClipSource, find_clip
from utils.scoring.clip_score import points
from utils.scoring.eval_plan import ScorePlan, list_files, make_plan, read_run
from utils.scoring.eval_scores import verdict
from utils.scoring.naming import StripNaming, ViewsNaming, is_joined

ROOT = Path(__file__).parents[1]
MODEL_CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"layers": 1, "width": 32, "head_width": 16, "patch_size": 16, "image_size": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP model with random weights in open_clip's folder layout."""
    import open_clip
    import torch

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("clip")
    save_file(open_clip.CLIP(**MODEL_CONFIG).state_dict(), folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": MODEL_CONFIG, "preprocess_cfg": {}}))
    return folder


def draw(path: Path, seed: int = 0, size: tuple[int, int] = (40, 40)) -> Path:
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


def png_header(width: int, height: int) -> bytes:
    """Return the start of a PNG: enough to know its size, no pixels."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    end = b"IDAT" + zlib.compress(b"\0" * 100)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in (chunk, end)
    )


def draw_all(folder: Path, *names: str, wide: tuple[str, ...] = ()) -> Path:
    for seed, name in enumerate(names):
        draw(folder / f"{name}.png", seed)
    for name in wide:
        draw(folder / f"{name}.png", 99, (80, 40))
    return folder


def plan_of(folder: Path, app: str, known: bool = False, **names: Any) -> ScorePlan:
    """Plan a folder; ``known``: by its run.json, too."""
    rule = StripNaming(names.get("prompts", {})) if app == "wide_image" else ViewsNaming(names.get("pairs", []))
    return make_plan(list_files(folder), rule, get_app(app).roles, read_run(folder, app) if known else None)


def files_of(app: str, request: Request, suffix: str) -> list[FileEntry]:
    options = SimpleNamespace(views_names=["identity"] * len(request.prompts))  # by which the app lists files
    return get_app(app).list_files(options, request, suffix)


def prompts_of(plan: ScorePlan) -> dict[str, str]:
    return {picture.file: picture.prompt for picture in plan.files}


def reasons_of(plan: ScorePlan) -> dict[str, str]:
    return {item.file: item.reason for item in plan.skipped}


def write_run(folder: Path, app: str, requests: list[Request], family: str = "sd", status: str = "done") -> list[str]:
    """Write a run.json of some pictures; return the stems of their files."""
    pictures = [
        {
            "name": f"{number}",
            "prompts": list(request.prompts),
            "seed": 1,
            "status": status,
            "files": files_of(app, request, "" if number == 0 else f"~{number + 1}"),
        }
        for number, request in enumerate(requests)
    ]
    record = {"app": app, "options": {}, "model": {"family": family, "sources": {}}, "sessions": []}
    (folder / "run.json").write_text(json.dumps({**record, "pictures": pictures}))
    return [Path(entry["file"]).stem for picture in pictures for entry in picture["files"]]


def run_main(folder: Path, app: str, clip_folder: Path, *more: str) -> dict[str, Any]:
    assert eval_script.main(["--fdir1", str(folder), "--app", app, "--clip_model", str(clip_folder), *more]) == 0
    return json.loads((folder / "eval_details.json").read_text())


# ------------------------------------------------------------------------------------- prompts from file names


def test_crops_are_scored_and_their_strip_is_not(tmp_path: Path) -> None:
    plan = plan_of(draw_all(tmp_path, "A_b_10", "A_b_2400", "C_d_7", "A_b"), "wide_image")
    assert prompts_of(plan) == {"A_b_10.png": "A b", "A_b_2400.png": "A b", "C_d_7.png": "C d"}
    assert "strip" in reasons_of(plan)["A_b.png"]


def test_a_wide_picture_is_a_strip_even_without_crops(tmp_path: Path) -> None:
    plan = plan_of(draw_all(tmp_path, "Alone", wide=("A_strip", "Route_66")), "wide_image")
    assert prompts_of(plan) == {"Alone.png": "Alone"}
    assert set(reasons_of(plan)) == {"A_strip.png", "Route_66.png"}


def test_a_number_at_the_end_of_a_prompt_is_no_position(tmp_path: Path) -> None:
    plan = plan_of(draw_all(tmp_path, "Route_66", "Route_66_100", "Route_66_200"), "wide_image")
    assert prompts_of(plan) == {"Route_66_100.png": "Route 66", "Route_66_200.png": "Route 66"}


@pytest.mark.parametrize("name", ["_12", "___", "_"])
def test_a_name_without_a_prompt_is_skipped(tmp_path: Path, name: str) -> None:
    assert reasons_of(plan_of(draw_all(tmp_path, name), "wide_image")) == {f"{name}.png": "no prompt in its name"}


def test_views_are_scored_and_side_by_side_is_not(tmp_path: Path) -> None:
    plan = plan_of(draw_all(tmp_path, "a_dog", "a_cat", "a_dog-a_cat", wide=("a_x-a_y",)), "ambiguous_image")
    assert prompts_of(plan) == {"a_cat.png": "a cat", "a_dog.png": "a dog"}
    assert set(reasons_of(plan)) == {"a_dog-a_cat.png", "a_x-a_y.png"}
    assert "side by side" in reasons_of(plan)["a_dog-a_cat.png"]


def test_numbers_of_ambiguous_prompts_stay(tmp_path: Path) -> None:
    assert prompts_of(plan_of(draw_all(tmp_path, "route_66"), "ambiguous_image")) == {"route_66.png": "route 66"}


@pytest.mark.parametrize(
    ("stem", "joined"),
    [("a-b", True), ("a-b-c", True), ("x-ray-a", True), ("a", False), ("x-ray", False), ("a-", False), ("a-z", False)],
)
def test_joined_stems(stem: str, joined: bool) -> None:
    assert is_joined(stem, {"a", "b", "c", "x-ray"} - {stem}) is joined


def test_many_joined_names_are_told_apart_quickly(tmp_path: Path) -> None:
    stems = {"-".join("a" * count) for count in range(1, 61)}
    odd = "-".join("a" * 60) + "-b"
    started = time.monotonic()
    assert [stem for stem in stems if not is_joined(stem, stems)] == ["a"] and not is_joined(odd, stems)
    paths = [draw(tmp_path / f"{stem}.png") for stem in stems]
    assert prompts_of(plan_of(tmp_path, "ambiguous_image")) == {"a.png": "a"} and len(paths) == 60
    assert time.monotonic() - started < 1


def test_a_hyphen_in_a_prompt_is_no_join(tmp_path: Path) -> None:
    plan = plan_of(draw_all(tmp_path, "a_t-rex", "a_t", "a_t-rex-a_t"), "ambiguous_image")
    assert set(prompts_of(plan)) == {"a_t-rex.png", "a_t.png"}


def test_only_the_top_level_is_read_sorted_and_own_records_are_left_out(tmp_path: Path) -> None:
    draw_all(tmp_path, "b_1", "a_2", ".hidden")
    (tmp_path / "deeper").mkdir()
    draw_all(tmp_path / "deeper", "c_3")
    for name in ("run.json", "eval.json", "eval_details.json"):
        (tmp_path / name).write_text("{}")
    assert [path.name for path in list_files(tmp_path)] == ["a_2.png", "b_1.png"]


# ------------------------------------------------------------------------------------- prompts files and run.json


def test_a_prompts_file_comes_before_the_file_name(tmp_path: Path) -> None:
    draw_all(tmp_path, "A_b_10", "A_b_12", "E_f_3", "Mile_7")
    prompts = {"A_b": "A/b: the prompt", "Mile_7": "Mile 7"}
    plan = plan_of(tmp_path, "wide_image", prompts=prompts)
    expected = {
        "A_b_10.png": "A/b: the prompt",
        "A_b_12.png": "A/b: the prompt",
        "E_f_3.png": "E f",
        "Mile_7.png": "Mile 7",
    }
    assert prompts_of(plan) == expected


def test_run_json_comes_first_and_unknown_files_follow_their_names(tmp_path: Path) -> None:
    request = Request(("A / b.c",), {"eval_pos": (5, 60)})
    draw_all(tmp_path, *write_run(tmp_path, "wide_image", [request]), "Other_prompt_9")
    plan = plan_of(tmp_path, "wide_image", known=True, prompts={"A___b.c": "wrong"})
    stem = file_stem("A / b.c")
    assert prompts_of(plan) == {
        f"{stem}_5.png": "A / b.c",
        f"{stem}_60.png": "A / b.c",
        "Other_prompt_9.png": "Other prompt",
    }
    assert list(reasons_of(plan)) == [f"{stem}.png"]


@pytest.mark.parametrize(
    "prompt", ["x" * 5000, "a/b\\c", "line one\nline two", "a 🏔 mountain", "..", 'a: b? c* "d" <e>', "_ _", "x_y 12"]
)
@pytest.mark.parametrize("app", ["wide_image", "ambiguous_image"])
def test_every_prompt_comes_back_from_its_files(tmp_path: Path, app: str, prompt: str) -> None:
    wide = app == "wide_image"
    requests = [Request((prompt,), {"eval_pos": (0, 7)}) if wide else Request((prompt, "a dog"))] * 2
    plan = plan_of(draw_all(tmp_path, *write_run(tmp_path, app, requests)), app, known=True)
    assert len(plan.files) == 4
    assert set(prompts_of(plan).values()) == ({prompt} if wide else {prompt, "a dog"})


def test_repeated_names_come_back_without_run_json(tmp_path: Path) -> None:
    plan = plan_of(draw_all(tmp_path, "A_b~2_10", "C_d_5"), "wide_image")
    assert prompts_of(plan) == {"A_b~2_10.png": "A b", "C_d_5.png": "C d"}


def test_strips_without_crops_and_unfinished_pictures_are_skipped(tmp_path: Path) -> None:
    draw_all(tmp_path, *write_run(tmp_path, "wide_image", [Request(("A b",))]))
    assert reasons_of(plan_of(tmp_path, "wide_image", known=True)).keys() == {"A_b.png"}
    draw_all(tmp_path, *write_run(tmp_path, "wide_image", [Request(("A b",), {"eval_pos": (3,)})], status="failed"))
    plan = plan_of(tmp_path, "wide_image", known=True)
    assert not plan.files
    assert "failed" in reasons_of(plan)["A_b_3.png"]


def test_a_file_that_run_json_names_and_the_folder_lacks_is_listed(tmp_path: Path) -> None:
    write_run(tmp_path, "wide_image", [Request(("A b",), {"eval_pos": (3, 4)})])
    plan = plan_of(draw_all(tmp_path, "A_b_3", "A_b"), "wide_image", known=True)
    assert "not in the folder" in reasons_of(plan)["A_b_4.png"]


@pytest.mark.parametrize("count", [2, 3])
def test_views_of_run_json_belong_together(tmp_path: Path, count: int) -> None:
    request = Request(tuple(f"a picture of {word}" for word in ("one", "two", "three")[:count]))
    draw_all(tmp_path, *write_run(tmp_path, "ambiguous_image", [request]))
    plan = plan_of(tmp_path, "ambiguous_image", known=True)
    (views,) = plan.views
    assert views.prompts == request.prompts
    assert [prompts_of(plan)[file] for file in views.files] == list(request.prompts)
    assert len(plan.skipped) == 1


def test_pairs_are_found_by_prompt_where_all_views_are_there(tmp_path: Path) -> None:
    pairs = [("a dog", "a cat"), ("a dog", "a cow"), ("a cat", "a dog")]
    views = plan_of(draw_all(tmp_path, "a_cat", "a_dog"), "ambiguous_image", pairs=pairs).views
    assert [view.prompts for view in views] == [("a dog", "a cat"), ("a cat", "a dog")]
    assert views[0].files == ("a_dog.png", "a_cat.png")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"app": 1, "pictures": 3}', '{"pictures": [{"prompts": [1]}]}'])
def test_a_damaged_run_json_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(UserError, match=r"run\.json"):
        read_run(tmp_path, "wide_image")


@pytest.mark.parametrize(
    ("change", "wanted"),
    [({"prompt": None}, "prompt"), ({"view": None}, "view"), ({"role": None}, "role"), ({"file": 3}, "file")],
)
def test_a_file_entry_with_odd_fields_is_told(tmp_path: Path, change: dict, wanted: str) -> None:
    write_run(tmp_path, "ambiguous_image", [Request(("a", "b"))])
    record = json.loads((tmp_path / "run.json").read_text())
    record["pictures"][0]["files"][0] |= change
    (tmp_path / "run.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match=rf"run\.json.*files\[0\]\.{wanted} is"):
        read_run(tmp_path, "ambiguous_image")


def test_a_view_without_its_prompt_is_listed(tmp_path: Path) -> None:
    draw_all(tmp_path, *write_run(tmp_path, "ambiguous_image", [Request(("a", "b"))]))
    record = json.loads((tmp_path / "run.json").read_text())
    del record["pictures"][0]["files"][0]["prompt"]
    (tmp_path / "run.json").write_text(json.dumps(record))
    plan = plan_of(tmp_path, "ambiguous_image", known=True)
    assert prompts_of(plan) == {"b.png": "b"} and plan.views == []
    assert "which prompt" in reasons_of(plan)["a.png"]


def test_the_other_app_is_told(tmp_path: Path) -> None:
    write_run(tmp_path, "wide_image", [Request(("A b",))])
    with pytest.raises(UserError, match="--app wide_image"):
        read_run(tmp_path, "ambiguous_image")


# ------------------------------------------------------------------------------------- the whole script


def test_eval_json_has_the_assignments_keys_and_means(tmp_path: Path, clip_folder: Path) -> None:
    draw_all(tmp_path, "B_b_9", "A_a_20", "A_a_100", "A_a_3")
    details = run_main(tmp_path, "wide_images", clip_folder)
    scores = {row["file"]: row["score"] for row in details["pictures"]}
    a, b = np.mean([scores[f"A_a_{n}.png"] for n in (3, 20, 100)]), scores["B_b_9.png"]
    result = json.loads((tmp_path / "eval.json").read_text())
    assert list(result) == ["source_dir", f"{tmp_path}/A_a_100.png", f"{tmp_path}/B_b_9.png", "score"]
    assert result["source_dir"] == f"{tmp_path}/"
    assert list(result.values())[1:] == pytest.approx([a, b, (a + b) / 2], abs=1e-12)
    assert details["score"] == result["score"]
    assert details["counts"] == {"pictures": 4, "prompts": 2, "pairs": 0, "skipped": 0}
    assert len({round(score, 6) for score in scores.values()}) == 4


def test_scores_are_open_clips_own(tmp_path: Path, clip_folder: Path) -> None:
    import open_clip
    import torch

    draw(tmp_path / "a_red_fox_5.png", 3, (50, 70))
    (row,) = run_main(tmp_path, "wide_image", clip_folder)["pictures"]
    model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{clip_folder}")
    model.eval()
    with torch.no_grad(), Image.open(tmp_path / "a_red_fox_5.png") as image:
        features = model.encode_image(preprocess(image)[None], normalize=True)
        texts = model.encode_text(open_clip.get_tokenizer(f"local-dir:{clip_folder}")(["a red fox"]), normalize=True)
    assert row["score"] == pytest.approx(float(features[0] @ texts[0]), abs=1e-6)


def test_a_score_does_not_depend_on_the_rest_of_the_folder(tmp_path: Path, clip_folder: Path) -> None:
    names = [f"P_{number}" for number in range(20)]
    together = run_main(draw_all(tmp_path, *names), "wide_image", clip_folder)["pictures"]
    for name in names[1:]:
        (tmp_path / f"{name}.png").unlink()
    (alone,) = run_main(tmp_path, "wide_image", clip_folder)["pictures"]
    assert alone["score"] == pytest.approx(together[0]["score"], abs=2e-6)


def test_alignment_and_concealment_reach_the_details(tmp_path: Path, clip_folder: Path) -> None:
    draw_all(tmp_path, "a_photo_of_a_duck", "a_photo_of_a_rabbit", "a_photo_of_a_duck-a_photo_of_a_rabbit")
    details = run_main(tmp_path, "ambiguous_images", clip_folder)
    (pair,) = details["pairs"]
    cosines, scale = np.array(pair["cosines"]), details["clip"]["logit_scale"]
    assert scale == pytest.approx(1 / 0.07, rel=1e-5)
    assert pair["alignment"] == details["alignment"] == min(cosines[0, 0], cosines[1, 1])
    odds = [np.exp(scale * (cosines[i, i] - cosines[pair])) for i in (0, 1) for pair in ((i, 1 - i), (1 - i, i))]
    assert pair["concealment"] == pytest.approx(np.mean([odd / (1 + odd) for odd in odds]))
    assert [row["score"] for row in details["pictures"]] == pytest.approx([cosines[0, 0], cosines[1, 1]], abs=1e-6)
    assert details["counts"]["skipped"] == 1


def test_files_that_cannot_be_scored_are_listed_and_the_others_scored(tmp_path: Path, clip_folder: Path) -> None:
    draw_all(tmp_path, "good_1", "cut_2")
    data = (tmp_path / "cut_2.png").read_bytes()
    (tmp_path / "cut_2.png").write_bytes(data[: len(data) // 2])
    (tmp_path / "no_3.png").write_text("no picture")
    (tmp_path / "empty_4.png").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("notes")
    os.mkfifo(tmp_path / "pipe_5.png")
    (tmp_path / "large_6.png").write_bytes(png_header(10_000, 10_000))
    (tmp_path / "larger_7.png").write_bytes(png_header(20_000, 20_000))
    details = run_main(tmp_path, "wide_images", clip_folder)
    assert [row["file"] for row in details["pictures"]] == ["good_1.png"]
    reasons = {item["file"]: item["reason"] for item in details["skipped"]}
    assert list(reasons) == sorted(
        ["cut_2.png", "no_3.png", "empty_4.png", "notes.txt", "pipe_5.png", "large_6.png", "larger_7.png"]
    )
    assert "damaged" in reasons["cut_2.png"]
    assert "100,000,000 pixels" in reasons["large_6.png"]
    assert "100,000,000 pixels" in reasons["larger_7.png"]
    assert "not a picture" in reasons["no_3.png"]


@pytest.mark.parametrize("mode", ["RGBA", "L", "LA", "P", "1", "I;16"])
def test_pictures_of_every_mode_are_read_as_rgb(tmp_path: Path, mode: str) -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    source = Image.fromarray(grey.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(grey).convert(mode)
    assert source.mode == mode
    source.save(tmp_path / "x.png")
    pixels = np.asarray(decode(tmp_path / "x.png"))
    assert pixels.shape == (16, 16, 3)
    if mode != "1":
        np.testing.assert_array_equal(pixels, np.stack([grey] * 3, -1))


def test_the_table_shows_scores_and_no_grade_for_other_weights(
    tmp_path: Path, clip_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    details = run_main(draw_all(tmp_path, "A_long_prompt_4", "A_long_prompt"), "wide_images", clip_folder)
    printed = capsys.readouterr().out
    assert details["grade"] is None
    assert f"{details['score']:.4f}" in printed
    assert "A long prompt" in printed and "Not scored by design: 1 strip (" in printed
    assert "A_long_prompt.png" not in printed and "skipped:" not in printed
    assert "Grade:" not in printed and "No grade" in printed


def test_a_grade_is_given_for_openai_weights_only() -> None:
    details = {"grade": {"points": 5.0, "of": 10.0, "rule": "r"}, "clip": {"model": "m", "weights": "w"}}
    assert verdict(details) == "Grade: 5 of 10 (r)."
    tiny = {"grade": None, "clip": {"model": "tiny", "weights": "w"}}
    assert "Grade" not in verdict(tiny) and "count for nothing" in verdict(tiny)


@pytest.mark.parametrize(
    ("views", "grade"),
    [
        (["identity", "rotate_cw"], "10 of 10 (10 above 0.28, 5 from 0.26, else 0)"),
        (["identity", "inner_rotate"], "5 of 5 (5 above 0.28, 2.5 from 0.26, else 0)"),
        (["identity", "inner_circle:turns=1"], "5 of 5 (5 above 0.28, 2.5 from 0.26, else 0)"),
        (None, "10 of 10 (10 above 0.28, 5 from 0.26, else 0)"),
    ],
)
def test_task_3_is_graded_of_five(
    tmp_path: Path, clip_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    views: list[str] | None, grade: str,
) -> None:  # fmt: skip
    draw_all(tmp_path, *write_run(tmp_path, "ambiguous_image", [Request(("a", "b"))]))
    record = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**record, "options": {"views_names": views}}))
    weights = clip_folder / "open_clip_model.safetensors"
    source = ClipSource(f"local-dir:{clip_folder}", "", weights, is_openai=True)
    monkeypatch.setattr(eval_script, "find_clip", lambda model, pretrained: source)
    monkeypatch.setattr("utils.scoring.eval_scores.points", lambda score, full: points(0.3, full))
    run_main(tmp_path, "ambiguous_images", clip_folder)
    assert f"Grade: {grade}." in capsys.readouterr().out.splitlines()


def test_what_is_skipped_by_design_is_counted_and_the_rest_is_listed(
    tmp_path: Path, clip_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_all(tmp_path, *write_run(tmp_path, "ambiguous_image", [Request((f"a {n}", f"b {n}")) for n in range(3)]))
    draw_all(tmp_path, "c_1-c_2", "c_1", "c_2")
    (tmp_path / "notes.txt").write_text("notes")
    record = json.loads((tmp_path / "run.json").read_text())
    record["pictures"][0]["files"] += [
        {"file": "a_0.safetensors", "role": "latents"},
        {"file": "a_0.gif", "role": "animation"},
        {"file": "gone.png", "role": "view", "prompt": "x", "view": 2},
    ]
    (tmp_path / "run.json").write_text(json.dumps(record))
    for name in ("a_0.safetensors", "a_0.gif"):
        (tmp_path / name).write_bytes(b"x")
    details = run_main(tmp_path, "ambiguous_images", clip_folder)
    printed = capsys.readouterr().out
    assert "Not scored by design: 1 animation, 1 latents, 4 side by side (listed in eval_details.json)." in printed
    assert printed.split("skipped:\n")[1].splitlines()[:3] == [
        "  gone.png: named in run.json, but not in the folder",
        "  notes.txt: not a picture that can be read",
        "",
    ]
    assert len(details["skipped"]) == details["counts"]["skipped"] == 8
    assert all(set(item) == {"file", "reason"} for item in details["skipped"])


def test_the_concealment_of_the_embedded_scorer_is_commented(
    tmp_path: Path, clip_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_all(tmp_path, *write_run(tmp_path, "ambiguous_image", [Request(("a", "b"))]))
    run_main(tmp_path, "ambiguous_images", clip_folder)
    assert "C is about 1" not in capsys.readouterr().out
    monkeypatch.setattr(clip_files, "TINY_FOLDER", clip_folder)
    assert eval_script.main(["--fdir1", str(tmp_path), "--app", "ambiguous_images", "--clip_model", "tiny"]) == 0
    assert capsys.readouterr().out.count("C is about 1") == 1


def test_a_second_run_gives_the_same_files(tmp_path: Path, clip_folder: Path) -> None:
    draw_all(tmp_path, "A_1", "B_2")
    run_main(tmp_path, "wide_images", clip_folder)
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    run_main(tmp_path, "wide_images", clip_folder)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == first


# ------------------------------------------------------------------------------------- where the weights come from


def test_pictures_of_the_embedded_models_take_the_embedded_scorer(
    tmp_path: Path, clip_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(clip_files, "TINY_FOLDER", clip_folder)
    write_run(tmp_path, "wide_image", [Request(("A b",), {"eval_pos": (3,)})], family="tiny")
    draw_all(tmp_path, "A_b_3")
    assert eval_script.main(["--fdir1", str(tmp_path), "-app", "wide_images"]) == 0
    assert "embedded scorer" in capsys.readouterr().out.splitlines()[0]
    details = json.loads((tmp_path / "eval_details.json").read_text())
    assert details["clip"]["model"] == "tiny" and details["grade"] is None


def test_a_local_weights_file_is_taken_for_a_known_model(tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"x")
    source = find_clip(None, str(weights))
    assert source == ClipSource("ViT-B-32-quickgelu", str(weights), weights, is_openai=False)


@pytest.mark.filterwarnings("ignore")
def test_local_checkpoints_load_in_every_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import open_clip
    import torch

    from utils.scoring.clip_model import ClipScorer

    (tmp_path / "small-test.json").write_text(json.dumps(MODEL_CONFIG))
    open_clip.add_model_config(tmp_path / "small-test.json")
    model = open_clip.CLIP(**MODEL_CONFIG).eval()
    image = Image.new("RGB", (50, 30), (200, 30, 90))
    state = model.state_dict()
    save_file(state, tmp_path / "a.safetensors")
    torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}}, tmp_path / "b.pt")
    script_like = torch.jit.trace_module(model, {"encode_image": torch.zeros(1, 3, 32, 32)}, check_trace=False)
    torch.jit.save(script_like, tmp_path / "c.pt")
    features = []
    for name in ("a.safetensors", "b.pt", "c.pt"):
        scorer = ClipScorer(find_clip("small-test", str(tmp_path / name)))
        assert not scorer.model.training
        features.append(scorer.image_features([scorer.prepare(image)]))
    assert all(np.array_equal(features[0], other) for other in features[1:])


def test_the_weights_of_a_tag_see_pictures_with_its_own_mean_and_deviation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import open_clip

    from utils.scoring.clip_model import ClipScorer

    (tmp_path / "small-tag.json").write_text(json.dumps(MODEL_CONFIG))
    open_clip.add_model_config(tmp_path / "small-tag.json")
    save_file(open_clip.CLIP(**MODEL_CONFIG).state_dict(), tmp_path / "a.safetensors")
    own = {"mean": (0.1, 0.2, 0.3), "std": (0.5, 0.25, 0.2), "interpolation": "bilinear", "resize_mode": "squash"}
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda model, tag: {"url": "x", **own})
    scorer = ClipScorer(ClipSource("small-tag", "own", tmp_path / "a.safetensors"))
    picture = Image.new("RGB", (64, 32), (255, 0, 0))
    shown = scorer.prepare(picture).mean(dim=(1, 2)).tolist()
    assert shown == pytest.approx([(1 - 0.1) / 0.5, -0.2 / 0.25, -0.3 / 0.2], abs=1e-6)


@pytest.mark.parametrize(
    ("model", "pretrained", "words"),
    [
        ("tiny", "openai", "leave out --clip_pretrained"),
        ("local-dir:/nowhere", None, "open_clip_config.json"),
        ("ViT-Z-99", None, "no model of open_clip"),
        ("ViT-B-32", "no_such_tag", "no file and no weights"),
        ("x" * 300, None, "no model of open_clip"),
        (None, "x" * 300, "no file and no weights"),
        (f"local-dir:{'x' * 300}", None, "open_clip_config.json"),
        ("hf-hub:../../x", None, "no name of a Hub repository"),
        ("hf-hub:", None, "no name of a Hub repository"),
        ("", None, "--clip_model '' names nothing"),
        ("local-dir:", None, "--clip_model 'local-dir:' names nothing"),
        (None, "", "--clip_pretrained '' names nothing"),
        ("a\0b", None, "no model of open_clip"),
        (None, "a\0b", "no file and no weights"),
        ("~/model", None, "no model of open_clip"),
    ],
)
def test_clip_options_that_do_not_fit_are_told(model: str | None, pretrained: str | None, words: str) -> None:
    with pytest.raises(UserError, match=words):
        find_clip(model, pretrained)


def test_weights_of_another_model_are_told(tmp_path: Path, clip_folder: Path) -> None:
    from utils.scoring.clip_model import ClipScorer

    (tmp_path / "open_clip_config.json").write_text((clip_folder / "open_clip_config.json").read_text())
    save_file({"x": np_to_torch(np.zeros(1))}, tmp_path / "open_clip_model.safetensors")
    with pytest.raises(UserError, match="cannot be loaded"):
        ClipScorer(find_clip(str(tmp_path), None))


def np_to_torch(array: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(array)


@pytest.mark.parametrize("hang", [False, True])
def test_a_hub_that_does_not_answer_is_told_quickly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], hang: bool
) -> None:
    import huggingface_hub

    def ask(url: str, timeout: float) -> None:
        assert timeout <= 5
        if hang:
            time.sleep(60)
        raise ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", ask)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda repository, name: None)
    monkeypatch.setattr(clip_files, "PROBE_LIMIT", 0.5)
    draw_all(tmp_path, "A_1")
    started = time.monotonic()
    with pytest.raises(SystemExit) as end:
        eval_script.main(["--fdir1", str(tmp_path), "--app", "wide_images"])
    assert end.value.code == 2
    assert time.monotonic() - started < 5
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "--clip_model tiny" in message and "--clip_pretrained" in message
    assert not (tmp_path / "eval.json").exists()


def test_cached_weights_need_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    cached = tmp_path / "open_clip_pytorch_model.bin"
    monkeypatch.setattr(
        huggingface_hub, "try_to_load_from_cache", lambda repository, name: str(cached) if name == cached.name else None
    )
    monkeypatch.setattr(clip_files, "_ask_hub", lambda repository, name: pytest.fail("the Hub was asked"))
    assert find_clip(None, None) == ClipSource("ViT-B-32-quickgelu", "openai", cached, is_openai=True)
    assert find_clip("ViT-B-32", None).model == "ViT-B-32-quickgelu"


# ------------------------------------------------------------------------------------- mistakes of the user


def test_bad_input_ends_with_code_two_and_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty, notes = tmp_path / "empty", tmp_path / "notes"
    empty.mkdir()
    notes.mkdir()
    (notes / "a.png").write_text("no picture")
    folders = {
        str(tmp_path / "missing"): "does not exist",
        str(notes / "a.png"): "is a file",
        str(empty): "holds no files",
        "x" * 300: "cannot be read: File name too long",
    }
    cases = [(folder, "wide_images", words) for folder, words in folders.items()]
    cases += [(str(notes), "wide_images", "1 skipped"), (str(notes), "hologram", "--app 'hologram' is not known")]
    for folder, app, words in cases:
        with pytest.raises(SystemExit) as end:
            eval_script.main(["--fdir1", folder, "--app", app])
        message = capsys.readouterr().err
        assert end.value.code == 2
        assert message.startswith("eval.py: error: ") and message.count("\n") == 1
        assert words in message
    assert sorted(path.name for path in tmp_path.rglob("*.json")) == []


def test_a_bad_prompts_file_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw_all(tmp_path, "A_1")
    (tmp_path / "prompts.json").write_text('{"A": {"prompt": 3}}')
    for app in ("wide_images", "ambiguous_images"):
        with pytest.raises(SystemExit) as end:
            eval_script.main(["--fdir1", str(tmp_path), "--app", app, "--prompts_file", str(tmp_path / "prompts.json")])
        assert end.value.code == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_errors_become_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        exit_with("eval.py", UserError("two\nlines"))
    assert end.value.code == 2
    assert capsys.readouterr().err == "eval.py: error: two lines\n"


def test_help_loads_no_torch() -> None:
    code = "import runpy, sys; sys.argv = ['eval.py', '--help']\n"
    code += "try: runpy.run_path('eval.py', run_name='__main__')\n"
    code += "except SystemExit: assert not {'torch', 'open_clip', 'huggingface_hub'} & set(sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--fdir1" in result.stdout and "-app" in result.stdout


# ------------------------------------------------------------------------------------- atomic files


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    files.write_json(path, {"a": 1})
    monkeypatch.setattr(files.os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(OSError, match="No space"):
        files.write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.json"]


@pytest.mark.parametrize("value", [{"a": float("nan")}, {"a": object()}])
def test_what_is_no_json_is_not_written(tmp_path: Path, value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        files.write_json(tmp_path / "x.json", value)
    assert not list(tmp_path.iterdir())


def test_json_keeps_any_file_name_and_permissions_follow_the_umask(tmp_path: Path) -> None:
    value = {"é 🏔": "\udcff"}
    files.write_json(tmp_path / "x.json", value)
    assert json.loads((tmp_path / "x.json").read_text(encoding="utf-8")) == value
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "x.json").stat().st_mode == (tmp_path / "plain").stat().st_mode

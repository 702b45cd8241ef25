"""Runs through main.py's own options, from the command line to the folder: batches, faults, resuming, repeating."""

import io
import json
import os
import re
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import main
from guidance import get_app
from guidance.pipeline import choose_family
from guidance.wide_image_model import WideImageModel
from tests import runs
from utils.images import to_pil, to_unit_range
from utils.options import Given

one_thread, read_once, fast_wide, no_weights = runs.one_thread, runs.read_once, runs.fast_wide, runs.no_weights
PROMPTS = ["a red house", "the sea at night", "a beach"]
ODD_PROMPTS = [
    "x" * 5000, "y/" * 2500, "beach", "beach 0", "Beach", "same", "same", "...", ".hidden", "../../up", "a\nb", "a\tb",
    "🙂🙂", "_", "__", "e\u0301", "é", "C:\\con", "%s $HOME *", "a_b", "a b",
]  # fmt: skip


def write_prompts(path: Path, prompts: list[str], eval_pos: list[int] | None = None) -> Path:
    entries = {f"entry {i}": {"prompt": prompt, "eval_pos": eval_pos or [0]} for i, prompt in enumerate(prompts)}
    path.write_text(json.dumps(entries), encoding="utf-8")
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_prompts(tmp_path / "prompts.json", PROMPTS)


@pytest.fixture
def reference(sd_folder: Path, tmp_path: Path, file: Path, fast_wide: list[str]) -> dict[str, bytes]:
    """The files of an undisturbed batch."""
    assert main.main(runs.wide(sd_folder, tmp_path / "reference", "--prompts_file", file)) == 0
    pictures = runs.contents(tmp_path / "reference" / "t")
    assert len(pictures) == 2 * len(PROMPTS) and len(set(pictures.values())) == len(pictures)
    return pictures


def statuses(folder: Path) -> list[str]:
    return [picture["status"] for picture in runs.run_json(folder)["pictures"]]


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.png")}


# ---------------------------------------------------------------------------------------------- batches


def test_weights_load_once_for_a_batch(reference: dict[str, bytes], fast_wide: list[str]) -> None:
    assert len(fast_wide) == 1


def test_a_picture_alone_has_the_bytes_of_the_kth_of_a_batch(
    reference: dict[str, bytes], sd_folder: Path, tmp_path: Path
) -> None:
    for prompt in PROMPTS[1:]:
        argv = runs.wide(sd_folder, tmp_path / prompt, "--prompt", prompt, "--eval_pos", 0)
        assert main.main(argv) == 0
        alone = runs.contents(tmp_path / prompt / "t")
        assert len(alone) == 2 and alone == {name: reference[name] for name in alone}


def test_a_repeated_run_has_equal_bytes_and_a_rerun_makes_nothing(
    reference: dict[str, bytes], sd_folder: Path, tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = runs.wide(sd_folder, tmp_path / "again", "--prompts_file", file)
    assert main.main(argv) == 0
    folder = tmp_path / "again" / "t"
    assert runs.contents(folder) == reference
    before = times(folder), runs.comparable(runs.run_json(folder))
    capsys.readouterr()
    assert main.main([*argv, "--view_batch_size", "1", "--log_step", "1"]) == 0
    assert "0 of 3 pictures to make" in capsys.readouterr().out
    assert (times(folder), runs.comparable(runs.run_json(folder))) == before


def pixels_of(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as picture:
        return repr((picture.size, picture.mode)).encode() + picture.tobytes()


def test_another_seed_is_another_picture(reference: dict[str, bytes], sd_folder: Path, tmp_path: Path) -> None:
    assert main.main(runs.wide(sd_folder, tmp_path, "--prompt", PROMPTS[0], "--seed", 2, "--eval_pos", 0)) == 0
    for name in runs.shown(tmp_path / "t"):
        assert runs.pixels(tmp_path / "t" / name) != pixels_of(reference[name])


def test_one_failure_does_not_stop_the_others(
    reference: dict[str, bytes], sd_folder: Path, tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    argv, folder = runs.wide(sd_folder, tmp_path / "out", "--prompts_file", file), tmp_path / "out" / "t"
    with monkeypatch.context() as patch:
        patch.setattr(WideImageModel, "render", runs.fail_on_call(WideImageModel.render, {2}, ValueError("NaN here")))
        assert main.main(argv) == 1
    stderr = capsys.readouterr().err
    assert re.findall(r"main\.py: failed: (.*)", stderr) == ["the_sea_at_night: ValueError: NaN here"]
    assert statuses(folder) == ["done", "failed", "done"]
    assert "NaN here" in runs.run_json(folder)["pictures"][1]["error"]
    made = times(folder)
    assert len(made) == 4
    assert main.main(argv) == 0
    assert runs.contents(folder) == reference
    assert made.items() <= times(folder).items() and statuses(folder) == ["done"] * 3


@pytest.mark.parametrize("log_step", [0, 1])
@pytest.mark.parametrize(
    ("app", "file", "tensor"),
    [
        ("wide_image", "unet/diffusion_pytorch_model.safetensors", "conv_out.bias"),
        ("wide_image", "vae/diffusion_pytorch_model.safetensors", "decoder.conv_out.bias"),
        ("ambiguous_image", "unet/diffusion_pytorch_model.safetensors", "conv_out.bias"),
    ],
)
def test_a_network_that_overflows_makes_no_picture(
    app: str, file: str, tensor: str, log_step: int, sd_folder: Path, if_stage_1_folder: Path, if_stage_2_folder: Path,
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Infinities would be clamped to black or to white, and the picture called done."""
    folder = shutil.copytree(sd_folder if app == "wide_image" else if_stage_2_folder, tmp_path / "m")
    weights = load_file(folder / file)
    weights[tensor][1] = float("inf")
    save_file(weights, folder / file, {"format": "pt"})
    argv = runs.wide(folder, tmp_path) if app == "wide_image" else runs.ambiguous(if_stage_1_folder, folder, tmp_path)
    argv += ["--guidance_scale", "1", "--num_inference_steps", "1", "--log_step", str(log_step)]
    assert main.main(argv) == 1
    assert "NaN or infinite values: try --dtype float32" in capsys.readouterr().err
    assert statuses(tmp_path / "t") == ["failed"]
    made = [path.name for path in (tmp_path / "t").rglob("*.png")]
    assert not made or ((app, log_step) == ("ambiguous_image", 1) and all(name[:7] == "stage_1" for name in made))


@pytest.mark.parametrize("write", range(1, 11))
def test_a_full_disk_loses_no_finished_picture(
    write: int, reference: dict[str, bytes], sd_folder: Path, tmp_path: Path, file: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """The disk is full from the given write on; the first of ten enters the prompts, then three follow per picture."""
    argv, folder = runs.wide(sd_folder, tmp_path / "out", "--prompts_file", file), tmp_path / "out" / "t"
    full = runs.fail_on_call(os.fsync, set(range(write, 1000)), OSError(28, "No space left on device"))
    with monkeypatch.context() as patch:
        patch.setattr("utils.files.os.fsync", full)
        if write == 1:
            assert "No space left" in runs.refused(capsys, argv)
        else:
            assert main.main(argv) == 1
            assert "No space left" in capsys.readouterr().err
    kept = runs.contents(folder)
    assert len(kept) >= 2 * ((write - 2) // 3) and kept.items() <= reference.items()
    assert list(folder.glob(".*.tmp")) == []
    assert main.main(argv) == 0
    assert runs.contents(folder) == reference


def test_ctrl_c_stops_and_the_same_command_goes_on(
    reference: dict[str, bytes], sd_folder: Path, tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    argv, folder = runs.wide(sd_folder, tmp_path / "out", "--prompts_file", file), tmp_path / "out" / "t"
    with monkeypatch.context() as patch:
        patch.setattr(WideImageModel, "render", runs.fail_on_call(WideImageModel.render, {2}, KeyboardInterrupt()))
        assert main.main(argv) == 130
    assert statuses(folder) == ["done", "pending", "pending"]
    assert main.main(argv) == 0
    assert runs.contents(folder) == reference


def test_a_way_to_synchronise_that_cannot_work_is_warned_of(
    if_stage_1_folder: Path, if_stage_2_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = runs.ambiguous(if_stage_1_folder, if_stage_2_folder, tmp_path, "--sync", "eps", "--num_inference_steps", 1)
    warning = "Warning: case 1 averages eps, but the views start from noise of their own"
    for extra, told in (([], True), (["--initialize_xt_from_zt", "--tag", "shared"], False)):
        assert main.main([*argv, *extra]) == 0
        assert (warning in capsys.readouterr().out) == told


def test_odd_prompts_get_safe_names_that_run_json_maps_back(
    sd_folder: Path, tmp_path: Path, fast_wide: list[str]
) -> None:
    file = write_prompts(tmp_path / "odd.json", ODD_PROMPTS)
    argv = runs.wide(sd_folder, tmp_path, "--prompts_file", file, "--panorama_width", 64, "--num_inference_steps", 1)
    assert main.main(argv) == 0
    folder = tmp_path / "t"
    pictures = runs.run_json(folder)["pictures"]
    assert [picture["prompts"] for picture in pictures] == [[prompt] for prompt in ODD_PROMPTS]
    named = [entry["file"] for picture in pictures for entry in picture["files"]]
    assert len({name.casefold() for name in named}) == len(named) == 2 * len(ODD_PROMPTS)
    assert sorted(named) == sorted(runs.contents(folder)) and max(len(name.encode()) for name in named) <= 255
    assert {entry["prompt"] for picture in pictures for entry in picture["files"]} == set(ODD_PROMPTS)
    assert main.main(argv) == 0 and len(fast_wide) == 1
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_long_prompt_on_the_command_line(
    if_stage_1_folder: Path, if_stage_2_folder: Path, tmp_path: Path
) -> None:  # fmt: skip
    prompts = ["é/" * 2500, "a.b\nc 🙂"]
    argv = runs.ambiguous(if_stage_1_folder, if_stage_2_folder, tmp_path, "--style", "", "--prompts", *prompts)
    assert main.main([*argv, "--num_inference_steps", "1"]) == 0
    (picture,) = runs.run_json(tmp_path / "t")["pictures"]
    assert [entry.get("prompt") for entry in picture["files"]] == [*prompts, None]
    assert all((tmp_path / "t" / entry["file"]).exists() for entry in picture["files"])


# ---------------------------------------------------------------------------------------------- negative prompts


def test_a_negative_prompt_is_part_of_what_a_picture_is(
    sd_folder: Path, tmp_path: Path, fast_wide: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Another one, or none, is another picture of the same folder; the same one is there already."""
    argv = runs.wide(sd_folder, tmp_path, "--prompt", "a", "--panorama_width", 64, "--eval_pos", 0)
    given = ([], ["--negative_prompt", "haze"], ["--negative_prompt", "blur"])
    for extra in given:
        assert main.main([*argv, *extra]) == 0
    before = times(tmp_path / "t")
    capsys.readouterr()
    for extra in given:
        assert main.main([*argv, *extra]) == 0
        assert "0 of 1 pictures to make" in capsys.readouterr().out
    assert times(tmp_path / "t") == before
    pictures = runs.run_json(tmp_path / "t")["pictures"]
    assert [picture.get("negative_prompt") for picture in pictures] == [None, "haze", "blur"]
    assert "negative_prompt" not in runs.run_json(tmp_path / "t")["options"]
    strips = [runs.pixels(tmp_path / "t" / picture["files"][0]["file"]) for picture in pictures]
    assert len(set(strips)) == 3


def test_entries_of_a_file_may_have_a_negative_prompt_of_their_own(
    sd_folder: Path, tmp_path: Path, fast_wide: list[str]
) -> None:
    entries = {"own": {"prompt": "a", "negative_prompt": "blur"}, "given": {"prompt": "a"}}
    (tmp_path / "p.json").write_text(json.dumps(entries))
    argv = runs.wide(sd_folder, tmp_path / "file", "--panorama_width", 64, "--prompts_file", tmp_path / "p.json")
    assert main.main([*argv, "--negative_prompt", "haze"]) == 0
    made = runs.run_json(tmp_path / "file" / "t")["pictures"]
    assert [picture["negative_prompt"] for picture in made] == ["blur", "haze"]
    for picture in made:
        negative = picture["negative_prompt"]
        argv = runs.wide(sd_folder, tmp_path / negative, "--panorama_width", 64, "--prompt", "a")
        assert main.main([*argv, "--negative_prompt", negative]) == 0
        alone = (tmp_path / negative / "t" / "a.png").read_bytes()
        assert (tmp_path / "file" / "t" / picture["files"][0]["file"]).read_bytes() == alone


# ---------------------------------------------------------------------------------------------- refusals of a folder


def test_a_folder_made_with_other_options_is_left_alone(
    reference: dict[str, bytes], sd_folder: Path, tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "reference" / "t"
    before = runs.contents(folder, "*")
    argv = runs.wide(sd_folder, tmp_path / "reference", "--prompts_file", file)
    sentence = runs.refused(capsys, [*argv, "--num_inference_steps", "3", "--guidance_scale", "3"])
    assert "--num_inference_steps: there 2, now 3" in sentence and "--guidance_scale: there 2.0, now 3.0" in sentence
    assert "--eta" not in sentence
    for other in (["--window_stride", "4"], ["--circular"], ["--sync", "eps"], ["--dtype", "bfloat16"],
                  ["--save_latents"], ["--panorama_width", "64"], ["--no-initialize_xt_from_zt"]):  # fmt: skip
        assert other[0].replace("no-", "") in runs.refused(capsys, [*argv, *other])
    assert runs.contents(folder, "*") == before


def test_another_seed_adds_pictures_to_a_folder(
    reference: dict[str, bytes], sd_folder: Path, tmp_path: Path, file: Path, fast_wide: list[str]
) -> None:
    folder = tmp_path / "reference" / "t"
    before = runs.contents(folder)
    assert main.main(runs.wide(sd_folder, tmp_path / "reference", "--prompts_file", file, "--seed", 2)) == 0
    after = runs.contents(folder)
    assert before.items() <= after.items() and len(after) == 2 * len(before)
    assert [picture["seed"] for picture in runs.run_json(folder)["pictures"]] == [1, 1, 1, 2, 2, 2]


def test_a_folder_of_other_weights_is_refused(
    reference: dict[str, bytes], sd_folder: Path, tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(sd_folder, tmp_path / "copy")
    assert main.main(runs.wide(copy, tmp_path / "reference", "--prompts_file", file)) == 0  # the same, elsewhere
    weights = copy / "vae" / "diffusion_pytorch_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-3] ^= 1
    weights.write_bytes(data)
    sentence = runs.refused(capsys, runs.wide(copy, tmp_path / "reference", "--prompts_file", file))
    assert "sd_path" in sentence and "other options" in sentence


def test_a_foreign_picture_is_never_overwritten(
    sd_folder: Path, tmp_path: Path, fast_wide: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "a_beach_0.png").write_bytes(b"mine")
    argv = runs.wide(sd_folder, tmp_path, "--prompt", "a beach", "--eval_pos", 0)
    assert "a_beach_0.png" in runs.refused(capsys, argv)
    assert runs.contents(tmp_path / "t") == {"a_beach_0.png": b"mine"}


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize("text", ["", "{", "[]", '{"app": "wide_image", "options": null}'])
def test_a_damaged_run_json_is_one_sentence(
    text: str, sd_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "run.json").write_text(text)
    assert "run.json" in runs.refused(capsys, runs.wide(sd_folder, tmp_path))
    assert runs.contents(tmp_path / "t", "*") == {"run.json": text.encode()}


# ---------------------------------------------------------------------------------------------- what a run leaves


def test_run_json_of_a_strip(reference: dict[str, bytes], sd_folder: Path, tmp_path: Path) -> None:
    run = runs.run_json(tmp_path / "reference" / "t")
    assert run["app"] == "wide_image" and run["model"]["family"] == "sd"
    assert len(run["model"]["sources"]["sd_path"]["sha256"]) == 64
    assert run["options"]["dtype"] == "float32" and run["options"]["panorama_height"] == 64
    assert {"torch", "diffusers", "transformers"} <= run["sessions"][0]["versions"].keys()
    assert "git_revision" in run["sessions"][0]
    for picture, prompt in zip(run["pictures"], PROMPTS, strict=True):
        assert (picture["prompts"], picture["seed"], picture["eval_pos"]) == ([prompt], 1, [0])
        assert [entry["role"] for entry in picture["files"]] == ["strip", "crop"] and picture["seconds"] >= 0


WIDE_OPTIONS = {
    "defaults": [],
    "many": ["--seed", 5, "--sampling_method", "ddpm", "--eta", 0.5, "--sync", "eps", "--mvd_end", 0.5, "--circular",
             "--no-initialize_xt_from_zt", "--timestep_spacing", "trailing", "--save_latents", "--panorama_height", 72,
             "--eval_pos", 3, 1],
    "single views": ["--sync", "none", "--dtype", "bfloat16", "--guidance_scale", 1],
}  # fmt: skip


@pytest.mark.parametrize("case", WIDE_OPTIONS)
def test_a_strip_can_be_repeated_from_run_json_alone(
    case: str, sd_folder: Path, tmp_path: Path, fast_wide: list[str], read_once: dict
) -> None:
    if case == "single views":
        read_once.clear()  # other number format
    assert main.main(runs.wide(sd_folder, tmp_path / "a", "--prompt", "x/y z", *WIDE_OPTIONS[case])) == 0
    argv = runs.repeat_arguments(runs.run_json(tmp_path / "a" / "t"), 0)
    assert main.main([*argv, "--save_top_dir", str(tmp_path / "b"), "--tag", "t", "--device", "cpu"]) == 0
    if case == "single views":
        read_once.clear()
    check_equal(tmp_path / "a" / "t", tmp_path / "b" / "t")


AMBIGUOUS_OPTIONS = {
    "defaults": [],
    "many": ["--seed", 4, "--views_names", "identity", "inner_rotate", "flip", "--rotate_angle", 45, "--prompts", "a",
             "b", "c", "--style", "ink of", "--thresholding", "none", "--stage2_conditioning", "plain", "--sync", "xt",
             "--initialize_xt_from_zt", "--stage2_noise_level", 100, "--save_latents"],
}  # fmt: skip


@pytest.mark.parametrize("case", AMBIGUOUS_OPTIONS)
def test_an_ambiguous_picture_can_be_repeated_from_run_json_alone(
    case: str, if_stage_1_folder: Path, if_stage_2_folder: Path, tmp_path: Path
) -> None:
    argv = runs.ambiguous(if_stage_1_folder, if_stage_2_folder, tmp_path / "a", *AMBIGUOUS_OPTIONS[case])
    assert main.main(argv) == 0
    again = runs.repeat_arguments(runs.run_json(tmp_path / "a" / "t"), 0)
    assert main.main([*again, "--save_top_dir", str(tmp_path / "b"), "--tag", "t", "--device", "cpu"]) == 0
    check_equal(tmp_path / "a" / "t", tmp_path / "b" / "t")
    if case == "many":
        check_latents_of_views(tmp_path / "a" / "t")


def check_equal(first: Path, second: Path) -> None:
    for pattern in ("*.png", "*.safetensors"):
        assert runs.contents(first, pattern) == runs.contents(second, pattern)
    assert runs.comparable(runs.run_json(first)) == runs.comparable(runs.run_json(second))


def check_latents_of_views(folder: Path) -> None:
    """The saved states are the pictures before rounding."""
    files = runs.run_json(folder)["pictures"][0]["files"]
    (latents,) = (load_file(folder / entry["file"]) for entry in files if entry["role"] == "latents")
    assert {name: (tuple(t.shape), t.dtype) for name, t in latents.items()} == {
        "stage_1": ((3, 3, 16, 16), torch.float32),
        "stage_2": ((3, 3, 64, 64), torch.float32),
    }
    views = [entry for entry in files if entry["role"] == "view"]
    assert [entry["prompt"] for entry in views] == ["ink of a", "ink of b", "ink of c"]
    for entry in views:
        with Image.open(folder / entry["file"]) as picture:
            assert picture.tobytes() == to_pil(to_unit_range(latents["stage_2"][entry["view"]])).tobytes()
    (joined,) = (entry for entry in files if entry["role"] == "side_by_side")
    with Image.open(folder / joined["file"]) as picture:
        assert picture.size == (192, 64)


def test_latents_of_a_strip(sd_folder: Path, tmp_path: Path, fast_wide: list[str]) -> None:
    assert main.main(runs.wide(sd_folder, tmp_path, "--prompt", "a b", "--save_latents")) == 0
    latents = load_file(tmp_path / "t" / "a_b.safetensors")
    assert list(latents) == ["canvas"]
    assert latents["canvas"].shape == (1, 4, 8, 12) and latents["canvas"].dtype == torch.float32


def test_previews_lie_apart_and_change_nothing(
    reference: dict[str, bytes], sd_folder: Path, tmp_path: Path, file: Path
) -> None:
    assert main.main(runs.wide(sd_folder, tmp_path / "out", "--prompts_file", file, "--log_step", 2)) == 0
    folder = tmp_path / "out" / "t"
    assert runs.contents(folder) == reference
    previews = sorted(path.relative_to(folder).as_posix() for path in folder.glob("previews/**/*.png"))
    assert previews == sorted(f"previews/{p.replace(' ', '_')}/stage_1_step_0002.png" for p in PROMPTS)
    with Image.open(folder / previews[0]) as preview:
        assert preview.size == (96, 64)


def test_save_dir_now_adds_the_time(sd_folder: Path, tmp_path: Path, fast_wide: list[str]) -> None:
    assert main.main(runs.wide(sd_folder, tmp_path, "--prompt", "a", "--save_dir_now")) == 0
    (folder,) = tmp_path.iterdir()
    assert re.fullmatch(r"t_\d{4}-\d\d-\d\d-\d{6}", folder.name) and (folder / "run.json").exists()


def test_eval_pos_scales_with_the_height_and_keeps_its_number(
    sd_folder: Path, tmp_path: Path, fast_wide: list[str]
) -> None:
    assert main.main(runs.wide(sd_folder, tmp_path, "--prompt", "a", "--eval_pos", 0, 128, 256)) == 0
    with Image.open(tmp_path / "t" / "a.png") as strip:
        for position, left in ((0, 0), (128, 16), (256, 32)):
            with Image.open(tmp_path / "t" / f"a_{position}.png") as crop:
                assert crop.tobytes() == strip.crop((left, 0, left + 64, 64)).tobytes()


# ---------------------------------------------------------------------------------------------- models and words


@pytest.mark.parametrize(
    ("model", "path", "gpu", "device", "family", "reason"),
    [
        ("auto", None, False, "auto", "tiny", "no GPU is present"),
        ("auto", None, True, "auto", "sd", "a GPU is present"),
        ("auto", None, True, "cpu", "tiny", "no GPU is used"),
        ("auto", "x/y", False, "auto", "sd", "a path was given"),
        ("tiny", None, True, "auto", "tiny", "--model"),
        ("sd", None, False, "cpu", "sd", "--model"),
    ],
)
def test_choice_of_the_model(
    model: str, path: str | None, gpu: bool, device: str, family: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("utils.models.runtime.accelerator_present", lambda: gpu)
    app = get_app("wide_image")
    given = Given(app.options, {"app": app.name, "model": model, "sd_path": path, "device": device})
    chosen, line = choose_family(app, given)
    assert chosen == family and reason in line and line.count("\n") == 0
    if model == "auto":
        assert "--model" in line


def test_default_prompts_depend_on_the_model() -> None:
    app = get_app("ambiguous_image")
    given = Given(app.options, {"app": app.name})
    real, embedded = (app.requests(app.fill(given, family)) for family in ("deepfloyd", "tiny"))
    assert real[0].prompts == ("an oil painting of a horse", "an oil painting of a snowy mountain village")
    assert [prompt.split()[-1] for prompt in embedded[0].prompts] == ["N", "Z"]


@pytest.fixture
def small_vocabulary(sd_folder: Path, tmp_path: Path) -> Path:
    folder = shutil.copytree(sd_folder, tmp_path / "with_words")
    subjects = {name: {"names": [name], "words": []} for name in ("beach", "snowy village")}
    words = {"subjects": subjects, "styles": ["photo"], "filler": ["a", "of"]}
    (folder / "words.json").write_text(json.dumps(words))
    return folder


@pytest.mark.usefixtures("no_weights")
def test_a_prompt_without_a_known_word_ends_with_the_list(
    small_vocabulary: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sentence = runs.refused(capsys, runs.wide(small_vocabulary, tmp_path / "out", "--prompt", "a photo of a cat"))
    assert "a photo of a cat" in sentence and "beach, snowy village" in sentence and "--model sd" in sentence
    assert not (tmp_path / "out").exists()


def test_unknown_words_are_named_in_a_warning(
    small_vocabulary: Path, tmp_path: Path, fast_wide: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    argv = runs.wide(small_vocabulary, tmp_path / "out", "--prompt", "a photo of a purple beach", "--eval_pos", 0)
    assert main.main(argv) == 0
    said = capsys.readouterr()
    (warning,) = [line for line in (said.out + said.err).splitlines() if "warning" in line.lower()]
    assert "'purple'" in warning and "'photo'" not in warning


@pytest.mark.usefixtures("no_weights")
def test_steps_that_have_no_signal_to_start_from_are_refused(
    sd_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(sd_folder, tmp_path / "zero_snr")
    path = folder / "scheduler" / "scheduler_config.json"
    zero = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
    path.write_text(json.dumps(json.loads(path.read_text()) | zero))
    argv = runs.wide(folder, tmp_path / "out", "--timestep_spacing", "trailing")
    assert "--timestep_spacing leading" in runs.refused(capsys, argv)
    assert not (tmp_path / "out").exists()

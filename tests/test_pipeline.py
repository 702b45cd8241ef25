"""From Python: pictures in memory, the same for the same call, with the command line's sentences for what is wrong."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import main
from guidance import load_pipeline
from guidance.networks.text_encoders import ClipText
from guidance.pipeline import Output, Pipeline
from tests import runs

one_thread, no_weights, read_once, fast_wide = runs.one_thread, runs.no_weights, runs.read_once, runs.fast_wide
FEW = {"device": "cpu", "dtype": "float32", "num_inference_steps": 2, "guidance_scale": 2.0}
Load = Callable[..., Pipeline]


@pytest.fixture
def wide(sd_folder: Path) -> Load:
    """A pipeline of strips of 64x96 pixels."""
    given = {**FEW, "sd_path": str(sd_folder), "panorama_width": 96, "window_stride": 2}
    return lambda **more: load_pipeline("wide_image", **{**given, **more})


@pytest.fixture
def pair(if_stage_1_folder: Path, if_stage_2_folder: Path) -> Load:
    """A pipeline of ambiguous pictures of 64x64 pixels."""
    given = {**FEW, "stage_1_path": str(if_stage_1_folder), "stage_2_path": str(if_stage_2_folder), "style": ""}
    return lambda **more: load_pipeline("ambiguous_image", **{**given, **more})


def pixels(out: Output) -> dict[str, bytes]:
    return {name: picture.tobytes() for name, picture in out.images.items()}


# ---------------------------------------------------------------------------------------------- pictures in memory


def test_a_strip_and_its_states(wide: Load, capfd: pytest.CaptureFixture[str]) -> None:
    out = wide(eval_pos=[0, 256])("a red house", seed=3)
    assert {name: picture.size for name, picture in out.images.items()} == {
        "a_red_house": (96, 64), "a_red_house_0": (64, 64), "a_red_house_256": (64, 64),
    }  # fmt: skip
    assert out.seed == 3 and {name: tuple(one.shape) for name, one in out.latents.items()} == {"canvas": (1, 4, 8, 12)}
    strip, crop = out.images["a_red_house"], out.images["a_red_house_256"]
    assert np.array_equal(np.asarray(strip)[:, 32:], np.asarray(crop))
    assert capfd.readouterr() == ("", "")


def test_views_and_their_states(pair: Load, capfd: pytest.CaptureFixture[str]) -> None:
    out = pair()(["a horse", "a boat"])
    assert {name: picture.size for name, picture in out.images.items()} == {
        "a_horse": (64, 64), "a_boat": (64, 64), "a_horse-a_boat": (128, 64),
    }  # fmt: skip
    assert out.seed == 1 and {name: tuple(one.shape) for name, one in out.latents.items()} == {
        "stage_1": (2, 3, 16, 16), "stage_2": (2, 3, 64, 64),
    }  # fmt: skip
    assert capfd.readouterr() == ("", "")


def test_pictures_are_those_of_the_command_line(
    wide: Load, pair: Load, sd_folder: Path, if_stage_1_folder: Path, if_stage_2_folder: Path, tmp_path: Path
) -> None:
    argv = runs.wide(sd_folder, tmp_path / "w", "--prompt", "a", "--negative_prompt", "b", "--seed", 3, "--eval_pos", 0)
    assert main.main(argv) == 0
    argv = runs.ambiguous(if_stage_1_folder, if_stage_2_folder, tmp_path / "p", "--prompts", "a", "b", "--seed", 3)
    assert main.main([*argv, "--style", "ink of", "--negative_prompt", "c"]) == 0
    outs = wide(eval_pos=[0])("a", 3, "b"), pair(style="ink of")(["a", "b"], 3, "c")
    for out, top in zip(outs, ("w", "p"), strict=True):
        files = {path.stem: Image.open(path).tobytes() for path in (tmp_path / top / "t").glob("*.png")}
        assert len(files) > 1 and pixels(out) == files


def test_the_same_call_is_the_same_picture(wide: Load) -> None:
    """Whatever was made between, prompts that came later too."""
    pipe = wide()
    first = pixels(pipe("a", seed=3))
    others = [pixels(pipe("a", seed=4)), pixels(pipe("a", seed=3, negative_prompt="b")), pixels(pipe("c", seed=3))]
    assert pixels(pipe("a", seed=3)) == first == pixels(wide()("a", seed=3))
    assert all(first.values() != other.values() for other in others)
    assert pixels(pipe("a")) == pixels(pipe("a", seed=1))


def test_options_are_what_calls_fall_back_to(pair: Load) -> None:
    prompts = ["a", "b"]
    told = pair(seed=5, negative_prompt="c")
    assert pixels(told(prompts)) == pixels(pair()(prompts, 5, "c")) != pixels(told(prompts, negative_prompt="d"))


@pytest.mark.parametrize("app", ["wide", "pair"])
def test_two_pipelines_do_not_disturb_each_other(app: str, request: pytest.FixtureRequest) -> None:
    """Their steps taken in turn, of different numbers of them."""
    load, prompts = request.getfixturevalue(app), ["a", "b"] if app == "pair" else "a"
    given = {"eta": 0.5, "sampling_method": "ddim"}, {"num_inference_steps": 3, "sync": "eps"}
    alone = [pixels(load(**one)(prompts, seed=2)) for one in given]
    pipes = [load(**one) for one in given]
    requests = [pipe.request(prompts) for pipe in pipes]
    last: dict[int, Any] = {}
    for states in itertools.zip_longest(*(pipe.generate(one, 2) for pipe, one in zip(pipes, requests, strict=True))):
        last |= {index: state for index, state in enumerate(states) if state is not None}
    for index, pipe in enumerate(pipes):
        files = pipe.plan.list_files(requests[index], "")
        assert pixels(Output(2, pipe.products(last[index], files), {})) == alone[index]


def test_steps_and_previews(wide: Load, pair: Load, capfd: pytest.CaptureFixture[str]) -> None:
    states = [(state.stage, state.step, state.steps, state.preview().size) for state in wide().steps("a", seed=3)]
    assert states == [(1, 1, 2, (96, 64)), (1, 2, 2, (96, 64))]
    states = [(state.stage, state.step, state.steps, state.preview().size) for state in pair().steps(["a", "b"])]
    assert states == [(1, 1, 2, (32, 16)), (1, 2, 2, (32, 16)), (2, 1, 2, (128, 64)), (2, 2, 2, (128, 64))]
    assert capfd.readouterr() == ("", "")


def test_networks_load_at_the_first_picture_and_once_the_text_encoder_for_new_prompts(
    sd_folder: Path, wide: Load, fast_wide: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoders, load = [], ClipText._load
    monkeypatch.setattr(ClipText, "_load", lambda encoder: encoders.append(encoder) or load(encoder))
    pipe = wide()
    assert fast_wide == []
    for prompt, expected in (("new a", 1), ("new b", 2), ("new a", 2), ("new b", 2)):
        pipe(prompt)
        assert fast_wide == [str(sd_folder)] and len(encoders) == expected


# ---------------------------------------------------------------------------------------------- what is wrong

BAD_OPTIONS = [
    ({"colour": "red"}, "--colour is not known: see --help for all options."),
    ({"stage_1_path": "x"}, "--stage_1_path does not belong to --app wide_image, but to ambiguous_image"),
    ({"num_inference_steps": 0}, "--num_inference_steps 0 is out of range: give 1 to 1000."),
    ({"num_inference_steps": "2"}, "--num_inference_steps '2' is of the wrong kind: give a whole number."),
    ({"circular": 1}, "--circular 1 is of the wrong kind: give True or False."),
    ({"guidance_interval": [0.5]}, "--guidance_interval has 1 values: give 2."),
    ({"eval_pos": 5}, "--eval_pos 5 is no list"),
    ({"sync": "z0"}, "--sync 'z0' is not known: give one of x0, eps, xt, none."),
    ({"window_stride": 9}, "--window_stride 9 skips cells: give 1 to the window's size 8."),
    ({"panorama_width": 100}, "--panorama_width 100 does not suit the model"),
    ({"sync": "none", "mvd_end": 0.5}, "--mvd_end 0.5 ends an averaging that --sync none never starts"),
    ({"sd_path": "/nowhere/at/all"}, "no such folder"),
    ({"prompt": " "}, "an empty prompt was given"),
]
BAD_CALLS = [
    (("",), "an empty prompt was given: say what to draw."),
    ((["a", "b"],), "2 prompts for one strip: give one."),
    (([],), "0 prompts for one strip: give one."),
    ((5,), "prompts 5 are of the wrong kind: give a text, or a list of texts."),
    ((["a", None],), "are of the wrong kind"),
    (("a", -1), f"--seed -1 is out of range: give 0 to {2**63 - 1}."),
    (("a", 1.5), "--seed 1.5 is of the wrong kind: give a whole number."),
    (("a", True), "--seed True is of the wrong kind: give a whole number."),
    (("a", 1, " "), "an empty prompt was given: say what to draw."),
    (("a", 1, 7), "--negative_prompt 7 is of the wrong kind: give text."),
]


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize(("given", "sentence"), BAD_OPTIONS)
def test_options_that_are_wrong_are_value_errors(given: dict, sentence: str, wide: Load) -> None:
    with pytest.raises(ValueError) as refusal:
        wide(**given)
    assert sentence in str(refusal.value)


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize(("arguments", "sentence"), BAD_CALLS)
def test_arguments_that_are_wrong_are_value_errors(arguments: tuple, sentence: str, wide: Load) -> None:
    """Both ways to call, and at once: not when the first step is asked for."""
    pipe = wide()
    for call in (pipe, pipe.steps):
        with pytest.raises(ValueError) as refusal:
            call(*arguments)
        assert sentence in str(refusal.value)


@pytest.mark.usefixtures("no_weights")
def test_sentences_are_those_of_the_command_line(
    pair: Load, if_stage_1_folder: Path, if_stage_2_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = runs.ambiguous(if_stage_1_folder, if_stage_2_folder, tmp_path)
    for typed, act in (
        ("--prompts a b c", lambda: pair()(["a", "b", "c"])),
        ("--views_names identity spin", lambda: pair(views_names=["identity", "spin"])),
        ("--mvd_end nan", lambda: pair(mvd_end=float("nan"))),
        ("--eta 0.5 --preset draft", lambda: pair(eta=0.5, preset="draft")),
        ("--guidance_scale 1 --negative_prompt x", lambda: pair(guidance_scale=1)(["a", "b"], negative_prompt="x")),
    ):
        told = runs.refused(capsys, [*argv, *typed.split(" ")])
        with pytest.raises(ValueError) as refusal:
            act()
        assert told == f"main.py: error: {refusal.value}\n"


@pytest.mark.usefixtures("no_weights")
def test_an_app_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="'hologram' is not known: give one of wide_image, ambiguous_image"):
        load_pipeline("hologram")


def test_a_case_that_cannot_work_is_warned_of_as_the_pipeline_is_made() -> None:
    with pytest.warns(UserWarning, match="add --initialize_xt_from_zt") as warned:
        load_pipeline("ambiguous_image", model="tiny", sync="eps")
    assert len(warned) == 1
    assert warned[0].filename == __file__


def test_words_that_an_embedded_model_does_not_know_are_warned_of() -> None:
    pipe = load_pipeline("ambiguous_image", model="tiny", device="cpu", style="")
    with pytest.warns(UserWarning, match="'flying'") as warned:
        pipe.request(["flying letter N", "the letter Z"])
    assert len(warned) == 1
    with pytest.raises(ValueError, match="'a cat'"):
        pipe(["a cat", "the letter Z"])


@pytest.mark.parametrize(
    ("app", "given", "words"),
    [
        ("wide_image", {"guidance_scal": 3.0}, "did you mean --guidance_scale?"),
        ("wide_image", {"rotate_angl": 3.0}, "--rotate_angle belongs to ambiguous_image"),
        ("ambiguous_image", {"panorama_width": 512}, "does not belong to --app ambiguous_image"),
        ("wide_image", {"tag": "mine"}, "--tag applies to folders of pictures"),
        ("wide_image", {"num_samples": 4, "keep_best": True}, "--num_samples --keep_best applies to folders"),
    ],
)
def test_options_that_do_nothing_in_memory_are_refused(app: str, given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words.replace("?", "[?]")):
        load_pipeline(app, model="tiny", **given)


def test_a_picture_cannot_go_on_once_another_was_begun(wide: Load) -> None:
    pipe = wide()
    alone = pixels(pipe("b", seed=2))
    first, second = pipe.steps("a", seed=1), pipe.steps("b", seed=2)
    next(first), next(second)
    with pytest.raises(ValueError, match="began another picture"):
        next(first)
    *_, last = second
    files = pipe.plan.list_files(pipe.request("b"), "")
    assert pixels(Output(2, pipe.products(last, files), {})) == alone

"""The panorama app as a whole: its steps against plain ones, words by direction, what comes out, what is refused."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from PIL import Image
from safetensors.torch import load_file

import main
from guidance import get_app, load_pipeline, panorama_model
from guidance.base_model import StepState
from guidance.networks import stable_diffusion
from guidance.panorama_model import PanoramaModel
from guidance.shared_options import EMBEDDED
from tests import runs
from tests.analytic import (
    EMBEDDINGS,
    SD_SCHEDULER,
    FakeVAE,
    asking,
    complete,
    enlarge,
    nonlinear_answer,
    sphere_model,
)
from utils.cameras import CUBE, NOVEL, VIEW_SETS
from utils.sphere import Camera, look

one_thread, no_weights = runs.one_thread, runs.no_weights
BROAD = [Camera(yaw, pitch, 150) for yaw, pitch in ((0, 0), (120, 0), (240, 0), (0, 90), (0, -90))]
FIVE = ("a", "b", "b", "c", "c")  # of one place: level, up, straight up, down, straight down


def last_state(states: Iterator[StepState]) -> StepState:
    *_, last = states
    return last


def finish(seed: int = 1, model: PanoramaModel | None = None, prompts: tuple[str, ...] = FIVE, **given: Any):
    """The finished views."""
    return last_state((model or sphere_model(**given)).generate(asking(*prompts), seed)).x_t_1


# ---------------------------------------------------------------------------------------------- steps


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_views_that_nobody_averages_are_plain_ddim(scale: float) -> None:
    """Every view by itself, against diffusers' own loop; the views start from noise that they share."""
    model = sphere_model(sync="none", num_inference_steps=4, guidance_scale=scale)
    views, scheduler = finish(5, model), DDIMScheduler.from_config(SD_SCHEDULER)
    noise = torch.randn(model.noise_shape({}), generator=torch.Generator().manual_seed(5))
    x_ts, answer = model.project_noise(noise), nonlinear_answer(4)
    scheduler.set_timesteps(4)
    words = {"level": "a", "up": "b", "straight up": "b", "down": "c", "straight down": "c"}
    bands = ["level"] * 6 + ["up"] * 4 + ["down"] * 4 + ["straight up", "straight down"]
    for number in (0, 7, 12, 14, 15):
        x_t = x_ts[number : number + 1]
        for t in scheduler.timesteps:
            null, prompted = (answer(x_t, t, EMBEDDINGS[text], None) for text in ("", words[bands[number]]))
            x_t = scheduler.step(null + scale * (prompted - null), t, x_t).prev_sample
        assert (views[number] - x_t[0]).abs().max() < 1e-5 * views.abs().max()


def test_averaged_views_show_one_canvas() -> None:
    """x0 of every step is what the views see of one canvas; left alone they show spheres of their own."""
    model = sphere_model(num_inference_steps=3)
    for state in model.generate(asking(*FIVE), 1):
        assert torch.equal(state.x0s, model.forward_mapping(state.z0s))
    apart = {}
    for sync in ("x0", "none"):
        model = sphere_model(num_inference_steps=8, sync=sync)
        views = finish(1, model)
        apart[sync] = (views - model.forward_mapping(model.inverse_mapping(views))).abs().mean() / views.abs().mean()
    assert apart["x0"] < 0.5 * apart["none"], apart


def test_corrections_are_those_that_were_asked_for() -> None:
    x_ts = torch.randn(16, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    plain, twice = (sphere_model(corrections=count) for count in (0, 2))
    assert torch.equal(plain.inverse_mapping(x_ts), plain.projection.average(x_ts))
    z = plain.projection.average(x_ts)
    for _ in range(2):
        z = z + plain.projection.average(x_ts - plain.projection.look(z))
    assert torch.allclose(twice.inverse_mapping(x_ts), z, atol=1e-6)
    assert not torch.allclose(twice.inverse_mapping(x_ts), plain.inverse_mapping(x_ts), atol=1e-3)


def test_a_picture_is_the_same_alone_and_as_the_last_of_many() -> None:
    alone, model = finish(7, eta=0.4), sphere_model(eta=0.4)
    for seed in (7, 2):
        finish(seed, model, ("c",) * 5)
    torch.randn(3)  # the global generator plays no part
    assert torch.equal(finish(7, model), alone)
    assert not torch.equal(finish(8, model), alone) and not torch.equal(finish(7, model, ("a",) * 5), alone)


def test_never_more_views_at_once_than_a_batch_and_one_in_the_decoder() -> None:
    pictures = []
    for size in (1, 5, 100):
        vae = FakeVAE(enlarge)
        model = sphere_model(vae, view_batch_size=size)
        state = last_state(model.generate(asking(*FIVE), 1))
        pictures.append(state.x_t_1)
        calls = model.latent_model.denoiser.unet.calls
        assert max(len(call.x_t) for call in calls) <= 2 * size  # both halves of the guidance
        model.render(state, files_of(model))
        assert [len(call) for call in vae.calls] == [1] * 16
    assert all((picture - pictures[0]).abs().max() < 1e-5 * pictures[0].abs().max() for picture in pictures)


@pytest.mark.parametrize("space", ["canonical", "instance"])
def test_noise_of_the_steps_is_white_in_every_view(monkeypatch: pytest.MonkeyPatch, space: str) -> None:
    """What ``--eta`` adds: drawn on the sphere it is shared where views overlap, else every view has its own."""
    model, drawn, step = sphere_model(eta=0.5, noise_space=space, num_inference_steps=40), [], None
    step = model.compute_prev_state

    def spy(x_t: torch.Tensor, x0: torch.Tensor, timestep: int, noise: torch.Tensor) -> torch.Tensor:
        drawn.append(noise)
        return step(x_t, x0, timestep, noise)

    monkeypatch.setattr(model, "compute_prev_state", spy)
    finish(1, model)
    noise = torch.stack(drawn)
    assert noise.shape == (40, 16, 4, 8, 8) and (noise.std(dim=(0, 2, 3, 4)) - 1).abs().max() < 0.03
    assert (noise[..., 1:] * noise[..., :-1]).mean().abs() < 0.01
    middle = noise[:, :6, :, 3:5]  # level views, 60 degrees apart, 90 wide: what one shows at its right, the next left
    overlap = torch.stack([(middle[:, 0, ..., i] * middle[:, 1, ..., j]).mean() for i in (6, 7) for j in (0, 1)]).max()
    assert overlap > 0.3 if space == "canonical" else overlap < 0.1


def test_presets_and_solvers_make_finite_pictures() -> None:
    for given in (
        {"preset": "draft"}, {"preset": "balanced"}, {"preset": "reference", "num_inference_steps": 2},
        {"sampling_method": "ddpm", "eta": 1.0}, {"mvd_end": 0.5}, {"reduction": "mean"},
        {"initialize_xt_from_zt": False}, {"guidance_interval": [0.0, 0.5]}, {"sync": "eps"}, {"sync": "xt"},
    ):  # fmt: skip
        views = finish(**given)
        assert views.shape == (16, 4, 8, 8) and torch.isfinite(views).all(), given
    options = {name: complete("panorama", "sd", panorama_height=32, preset=name) for name in ("balanced", "draft")}
    assert {name: (one.num_inference_steps, one.sampling_method) for name, one in options.items()} == {
        "balanced": (20, "dpmpp_2m"), "draft": (12, "dpmpp_2m"),
    }  # fmt: skip


# ---------------------------------------------------------------------------------------------- what comes out


def files_of(model: PanoramaModel):
    return get_app("panorama").list_files(model.options, asking(*FIVE), "")


def test_the_sphere_shows_what_the_views_show() -> None:
    """Views of one colour by direction, decoded one by one, and pictures at novel cameras and of a cube's faces."""
    model = sphere_model(panorama_height=64, cube=True)
    colours = [camera.directions(8) / 4 for camera in model.mapper]  # latents: half of what is decoded, in [-1, 1]
    x_ts = torch.from_numpy(np.stack(colours)).permute(0, 3, 1, 2).float()
    x_ts = torch.cat([x_ts, torch.zeros(16, 1, 8, 8)], dim=1)
    made = model.render(StepState(1, 1, 1, {"x_t_1": x_ts}, model), files_of(model))
    assert list(made)[:2] == ["a.png", "a_0.png"] and len(made) == 1 + len(NOVEL) + len(CUBE)
    sphere = np.asarray(made["a.png"]) / 255
    assert sphere.shape == (64, 128, 3) and made["a_0.png"].size == (16, 16)
    cameras = {**{f"a_{number}.png": camera for number, camera in enumerate(NOVEL)},
               **{f"a_{face}.png": camera for face, camera in CUBE.items()}}  # fmt: skip
    for name, camera in cameras.items():
        expected = camera.directions(16) / 4 + 0.5
        assert np.abs(np.asarray(made[name]) / 255 - expected).max() < 0.06, name
        assert np.abs(np.asarray(made[name]) / 255 - look(sphere, camera, 16)).max() < 2.5 / 255, name


def test_the_ring_is_cropped_to_its_band_and_never_black() -> None:
    model = sphere_model(view_set="ring", panorama_height=64)
    state = StepState(1, 1, 1, {"x_t_1": torch.full((8, 4, 8, 8), 0.2), "x0s": torch.full((8, 4, 8, 8), 0.2)}, model)
    made = model.render(state, files_of(model))
    for name, picture in (*made.items(), ("preview", model.preview(state))):
        assert np.asarray(picture).min() == np.asarray(picture).max() == round(0.7 * 255), name
    assert made["a.png"].size == (128, 28) and len(made) == 5  # and four novel ones, all of them level


def test_the_height_of_the_picture_changes_its_size_alone() -> None:
    views = [finish(1, panorama_height=height) for height in (16, 22, 64)]
    assert torch.equal(views[0], views[1]) and torch.equal(views[0], views[2])


# ---------------------------------------------------------------------------------------------- the command line


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, read_once: dict[str, Any]) -> None:
    """Read a folder's weights from disk once for all tests."""

    def load(source: Any, runtime: Any, *control: Any) -> Any:
        if source.name not in read_once:
            read_once[source.name] = stable_diffusion.load_stable_diffusion(source, runtime, *control)
        return read_once[source.name]

    monkeypatch.setattr(panorama_model, "load_stable_diffusion", load)
    monkeypatch.setattr("guidance.networks.loading.gc.collect", lambda: 0)


read_once = runs.read_once


def cameras_file(top: Path, *cameras: Camera, name: str = "cameras.json") -> Path:
    path = top / name
    path.write_text(json.dumps([{"yaw": one.yaw, "pitch": one.pitch, "fov": one.fov} for one in cameras]))
    return path


def argv(sd_folder: Path, top: Path, *extra: object) -> list[str]:
    """A sphere of 64x128 pixels in two steps, into ``top/t``."""
    given = ["--app", "panorama", "--sd_path", sd_folder, "--save_top_dir", top, "--tag", "t", "--device", "cpu",
             "--dtype", "float32", "--num_inference_steps", 2, "--guidance_scale", 2, "--panorama_height", 64,
             "--view_set", cameras_file(top, *BROAD), *extra]  # fmt: skip
    return [str(word) for word in given]


@pytest.mark.usefixtures("quick")
def test_a_batch_is_made_once_and_mended_by_the_same_command(sd_folder: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "p.json"
    prompts.write_text(json.dumps({
        "lake": {"prompt": "a lake", "prompt_up": "stars", "negative_prompt": "boats"},
        "room": {"prompt": "a room", "indoor": True, "prompt_down": ["a rug", "{} below"]},
    }))  # fmt: skip
    line = argv(sd_folder, tmp_path, "--prompts_file", prompts, "--save_latents", "--cube", "--eta", 0.5)
    assert main.main(line) == 0
    folder, before = tmp_path / "t", runs.shown(tmp_path / "t")
    run = runs.run_json(folder)
    assert [one["prompts"] for one in run["pictures"]] == [
        ["a lake", "stars", "stars", "a lake, looking down at the ground", "a lake, the ground straight below"],
        ["a room", "a room, looking up at the ceiling", "a room, the ceiling straight above", "a rug", "a room below"],
    ]  # fmt: skip
    assert len(before) == 2 * 15 and {"a_lake.png", "a_room_up.png", "a_room_7.png"} <= set(before)
    latents = load_file(folder / "a_lake.safetensors")
    assert {name: tuple(one.shape) for name, one in latents.items()} == {
        "views": (5, 4, 8, 8), "canvas": (1, 4, 32, 64),
    }  # fmt: skip
    (folder / "a_room_3.png").unlink()
    assert main.main([*line, "--log_step", "1"]) == 0
    assert len([*folder.glob("previews/**/*.png")]) == 2
    assert runs.shown(folder) == before


@pytest.mark.usefixtures("quick")
def test_python_makes_what_the_command_line_makes(sd_folder: Path, tmp_path: Path) -> None:
    places = ["270:a city", "90:a lake"]
    assert main.main(argv(sd_folder, tmp_path, "--prompts_at", *places, "--seed", 4)) == 0
    pipe = load_pipeline("panorama", sd_path=str(sd_folder), device="cpu", dtype="float32", num_inference_steps=2,
                         guidance_scale=2.0, panorama_height=64,
                         view_set=str(tmp_path / "cameras.json"), prompts_at=places)  # fmt: skip
    out = pipe(["a city", "a lake"], seed=4)
    assert set(out.images) == {path.stem for path in (tmp_path / "t").glob("*.png")}
    for name, picture in out.images.items():
        assert picture.tobytes() == Image.open(tmp_path / "t" / f"{name}.png").tobytes(), name
    assert "a_city-a_lake" in out.images
    with pytest.raises(ValueError, match="1 prompts for one sphere: give one for each of the 2"):
        pipe("a city")


@pytest.mark.usefixtures("quick")
def test_cameras_of_ones_own_make_a_sphere_too(sd_folder: Path, tmp_path: Path) -> None:
    path = cameras_file(
        tmp_path, *(Camera(yaw, pitch, 150) for yaw, pitch in ((0, 0), (120, 0), (240, 0), (0, 90), (0, -90)))
    )
    line = argv(sd_folder, tmp_path, "--view_set", path)
    assert main.main(line) == 0 and len(runs.contents(tmp_path / "t")) == 9
    path.write_text(path.read_text() + " ")
    with pytest.raises(SystemExit):  # other cameras than those of the folder
        main.main(line)


@pytest.mark.usefixtures("no_weights")
def test_cameras_that_leave_something_unseen_are_refused_with_the_share(sd_folder, tmp_path, capsys) -> None:
    for cameras, share in (([Camera(0, 0, 90)], "83"), ([*CUBE.values()][:5], "17"), (VIEW_SETS["22"][:-1], "")):
        path = cameras_file(tmp_path, *cameras, name="gaps.json")
        said = runs.refused(capsys, argv(sd_folder, tmp_path, "--view_set", path))
        assert f"leaves {share}" in said and "% of the sphere unseen: add cameras" in said


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (["--space", "canonical"], "less than half of its noise's variance; take --space instance"),
        (["--case_num", 5], "carries the canvas from step to step"),
        (["--case_num", 57], "take one that carries the views, such as 2"),
        (["--view_set", "23"], "is no set and no file"),
        (["--view_set", "ring", "--cube"], "--cube"),
        (["--panorama_height", 68], "a multiple of 8, at least its window of 64"),
        (["--panorama_height", 56], "a multiple of 8, at least its window of 64"),
        (["--prompts_at", "0:a", "360:b"], "0 degrees twice"),
        (["--prompts_at", "a"], "has no place"),
        (["--prompt", "a", "--prompts_at", "0:a"], "both say what to draw"),
        (["--prompt", "a", "--prompts_file", "x.json"], "both say what to draw"),
        (["--prompt", " "], "an empty prompt"),
        (["--prompt_up", ""], "an empty prompt"),
        (["--prompt_down", "a", "b", "c"], "--prompt_down has 3 texts"),
        (["--guidance_scale", 1, "--pole_guidance", 1], "is where guidance falls to"),
        (["--guidance_scale", 1, "--negative_prompt", "a"], "leave one of them out"),
        (["--weight_map", "x.npy"], "--weight_map x.npy"),
        (["--corrections", 21], "out of range"),
        (["--reduction", "sum"], "give one of mean, weighted"),
        (["--preset", "draft", "--eta", 0.5], "dpmpp_2m"),
        (["--model", "deepfloyd"], "give one of auto, tiny, sd"),
        (["--style", "x"], "ambiguous_image"),
    ],
)
def test_mistakes_end_in_one_sentence(sd_folder: Path, tmp_path: Path, capsys, extra: list, said: str) -> None:
    assert said in runs.refused(capsys, argv(sd_folder, tmp_path, *extra))
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize(("sync", "warned"), [("x0", False), ("eps", True), ("xt", True), ("none", False)])
def test_averaging_what_holds_noise_is_warned_of(sync: str, warned: bool) -> None:
    said = get_app("panorama").warnings(complete("panorama", "sd", panorama_height=32, sync=sync))
    assert [("averages what holds noise" in one and "take case 2" in one) for one in said] == [True] * warned


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({}, "lacks prompt"),
        ({"prompt": ""}, "must be a text that is not empty"),
        ({"prompt": "a", "indoor": "yes"}, "indoor of 'x' must be true or false"),
        ({"prompt": "a", "prompt_up": []}, "must be a text, or a list of two"),
        ({"prompt": "a", "prompt_up": ["a", "b", "c"]}, "must be a text, or a list of two"),
        ({"prompt": "a", "prompt_down": [3, "b"]}, "must be a text, or a list of two"),
        ({"prompt": "a", "prompt_down": ["a", "\ud800"]}, "prompt_down of 'x'"),
        ({"prompt": "a", "prompts_at": "0:a"}, "unknown field 'prompts_at'"),
    ],
)
def test_entries_of_prompts_files_are_checked(sd_folder, tmp_path, capsys, no_weights, entry: dict, said: str) -> None:
    path = tmp_path / "p.json"
    path.write_text(json.dumps({"x": entry}))
    refusal = runs.refused(capsys, argv(sd_folder, tmp_path, "--prompts_file", path))
    assert said in refusal and "line 1 column 2" in refusal


@pytest.mark.skipif((EMBEDDED / "panoramas").exists(), reason="the embedded model is there")
def test_without_weights_the_sentence_says_which_to_give(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    sentence = runs.refused(capsys, ["--app", "panorama", "--device", "cpu", "--save_top_dir", str(tmp_path)])
    assert "no embedded model of panoramas yet: give --sd_path" in sentence

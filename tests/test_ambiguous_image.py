"""The ambiguous-image app as a whole: both stages against the assignment's formulas, noise draws, what is saved."""

import functools
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, UNet2DConditionModel

from guidance.ambiguous_image_model import AmbiguousImageModel
from guidance.base_model import StepState
from guidance.networks.deepfloyd import PixelStage
from guidance.networks.denoisers import Conditioning, Denoiser
from tests.analytic import (
    CPU,
    EMBEDDINGS,
    ambiguous_model,
    asking,
    nonlinear_answer,
    open_stage,
    pixel_stages,
    text_of,
    turning_answer,
)

F64 = torch.float64
GUIDANCE = 3.0
BARE = {"thresholding": "none"}  # the assignment's formulas have none
FILES = [
    {"file": "b.png", "role": "view", "view": 1},
    {"file": "a.png", "role": "view", "view": 0},
    {"file": "both.png", "role": "side_by_side"},
    {"file": "both.safetensors", "role": "latents"},
]


@functools.cache
def disc(size: int) -> torch.Tensor:
    middle, radius = (size - 1) / 2, size * 24 / 64
    rows = [[(i - middle) ** 2 + (j - middle) ** 2 <= radius**2 for j in range(size)] for i in range(size)]
    return torch.tensor(rows)


def turn_disc(im: torch.Tensor, quarter_turn: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    return torch.where(disc(im.shape[-1]), quarter_turn(im), im)


def clockwise(im: torch.Tensor) -> torch.Tensor:
    return im.flip(-2).transpose(-2, -1)


def counterclockwise(im: torch.Tensor) -> torch.Tensor:
    return im.transpose(-2, -1).flip(-2)


# name -> view, inverse view
PLAIN_VIEWS = {
    "identity": (lambda im: im, lambda im: im),
    "rotate_cw": (clockwise, counterclockwise),
    "rotate_ccw": (counterclockwise, clockwise),
    "rotate_180": (lambda im: im.flip(-1).flip(-2), lambda im: im.flip(-1).flip(-2)),
    "flip": (lambda im: im.flip(-2), lambda im: im.flip(-2)),
    "inner_rotate": (lambda im: turn_disc(im, clockwise), lambda im: turn_disc(im, counterclockwise)),
}


def look(names: tuple[str, ...], canonical: torch.Tensor) -> torch.Tensor:
    return torch.stack([PLAIN_VIEWS[name][0](canonical) for name in names])


def average(names: tuple[str, ...], x_ts: torch.Tensor) -> torch.Tensor:
    """The canonical mean ``[C, h, h]``."""
    total = torch.zeros(x_ts.shape[1:], dtype=F64)
    for name, x_t in zip(names, x_ts, strict=True):
        total += PLAIN_VIEWS[name][1](x_t)
    return (total / len(names)).to(x_ts.dtype)


def last_state(states: Iterator[StepState]) -> StepState:
    *_, last = states
    return last


# ---------------------------------------------------------------------------------------------- the slow twin


def load_stage(folder: Path, dtype: torch.dtype) -> PixelStage:
    unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet").eval().requires_grad_(False).to(dtype)
    config = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    noising = None
    if (folder / "image_noising_scheduler").exists():
        noising = DDPMScheduler.from_pretrained(folder, subfolder="image_noising_scheduler").alphas_cumprod.double()
    return PixelStage(Denoiser(unet, config, CPU), unet.config.sample_size, noising)


@pytest.fixture(scope="module")
def hub_stages(if_stage_1_folder: Path, if_stage_2_folder: Path) -> list[PixelStage]:
    """Float32 weights, evaluated in float64, so that what differs is the state, kept in float32."""
    return [load_stage(folder, F64) for folder in (if_stage_1_folder, if_stage_2_folder)]


def hub_model(stages: list[PixelStage], **given) -> AmbiguousImageModel:
    model = ambiguous_model(stages, **{"guidance_scale": GUIDANCE, **BARE, **given})
    generator = torch.Generator().manual_seed(3)
    model.embeddings = {name: torch.randn(1, 7, 32, generator=generator) for name in ("", "a", "b", "c")}
    return model


def slow_noise(unet, x_t, t, text, null, low_res, level) -> torch.Tensor:
    """eps of one view by two network calls; of the six channels the first three."""
    x_in = (x_t if low_res is None else torch.cat([x_t, low_res]))[None].double()
    labels = None if low_res is None else torch.tensor([level])
    null_eps, text_eps = (
        unet(x_in, torch.tensor(t), told.double(), class_labels=labels).sample[0, :3].float() for told in (null, text)
    )
    return null_eps + GUIDANCE * (text_eps - null_eps)


def slow_step(names, x_ts, eps, abar: float, abar_prev: float, sync: str) -> tuple[torch.Tensor, torch.Tensor]:
    if sync == "eps":
        eps = look(names, average(names, eps))
    x0s = (x_ts - math.sqrt(1 - abar) * eps) / math.sqrt(abar)
    if sync == "x0":
        x0s = look(names, average(names, x0s))
    stepped = math.sqrt(abar_prev) * x0s
    stepped = stepped + math.sqrt((1 - abar_prev) / (1 - abar)) * (x_ts - math.sqrt(abar) * x0s)
    return x0s, look(names, average(names, stepped)) if sync == "xt" else stepped


@pytest.mark.parametrize(
    ("names", "given"),
    [
        (("identity", "rotate_cw"), {}),
        (("identity", "inner_rotate"), {"initialize_xt_from_zt": True}),
        (("rotate_ccw", "flip", "rotate_180"), {"stage2_conditioning": "plain", "stage2_noise_level": 120}),
        (("identity", "inner_rotate"), {"sync": "eps"}),
        (("flip", "rotate_cw"), {"sync": "xt"}),
        (("identity", "rotate_180"), {"sync": "none"}),
    ],
)
def test_every_step_of_both_stages_equals_the_assignment(
    hub_stages, if_stage_2_folder: Path, names: tuple[str, ...], given: dict
) -> None:
    """Stage 1 draws x_T, stage 2 draws its own from the same generator, then the noise of its input."""
    model = hub_model(hub_stages, views_names=list(names), num_inference_steps=2, **given)
    prompts = ("a", "b", "c")[: len(names)]
    states, generator = list(model.generate(asking(*prompts), 9)), torch.Generator().manual_seed(9)
    assert [(state.stage, state.step) for state in states] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    noising = DDPMScheduler.from_pretrained(if_stage_2_folder, subfolder="image_noising_scheduler")
    abars = DDPMScheduler(beta_schedule="squaredcos_cap_v2").alphas_cumprod.tolist()
    level = given.get("stage2_noise_level", 50)
    low_res, x_ts = None, torch.empty(0)
    for number, stage in enumerate(hub_stages):
        result = x_ts
        if given.get("initialize_xt_from_zt"):
            x_ts = look(names, torch.randn(1, 3, stage.size, stage.size, generator=generator)[0])
        else:
            x_ts = torch.randn(len(names), 3, stage.size, stage.size, generator=generator)
        if number == 1:
            low_res = F.interpolate(result, (64, 64), mode="bilinear", align_corners=True)
            if given.get("stage2_conditioning") != "plain":
                drawn = look(names, torch.randn(1, 3, 64, 64, generator=generator)[0])
                low_res = noising.add_noise(low_res, drawn, torch.tensor(level))
        for t, prev, state in zip((500, 0), (abars[0], 1.0), states[number * 2 :], strict=False):
            eps = torch.stack([
                slow_noise(stage.denoiser.unet, x_t, t, model.embeddings[prompts[i]], model.embeddings[""],
                           None if low_res is None else low_res[i], level)
                for i, x_t in enumerate(x_ts)
            ])  # fmt: skip
            x0s, x_t_1 = slow_step(names, x_ts, eps, abars[t], prev, given.get("sync", "x0"))
            assert (state.x0s - x0s).abs().max() < 1e-5
            assert (state.x_t_1 - x_t_1).abs().max() < 1e-5
            assert (state.z0s[0] - average(names, x0s)).abs().max() < 1e-5
            assert (state.z_t_1[0] - average(names, x_t_1)).abs().max() < 1e-5
            x_ts = state.x_t_1


# ---------------------------------------------------------------------------------------------- mapping


@pytest.mark.parametrize("dtype", [torch.float32, F64, torch.bfloat16])
def test_there_and_back_changes_no_bit(dtype: torch.dtype) -> None:
    names = list(PLAIN_VIEWS)
    for count in range(1, len(names) + 1):
        model = ambiguous_model(pixel_stages(), views_names=names[:count])
        for size in (8, 33, 64):
            z = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(size)).to(dtype)
            seen = model.forward_mapping(z)
            assert seen.shape == (count, 3, size, size) and seen.dtype == dtype
            assert torch.equal(model.inverse_mapping(seen), z)
            assert torch.equal(seen, look(tuple(names[:count]), z[0]))


def test_the_mean_turns_views_back() -> None:
    names = tuple(PLAIN_VIEWS)
    model = ambiguous_model(pixel_stages(), views_names=list(names))
    x_ts = torch.randn(len(names), 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert (model.inverse_mapping(x_ts)[0] - average(names, x_ts)).abs().max() < 1e-6


# ---------------------------------------------------------------------------------------------- where views start


def first_inputs(**given) -> list[torch.Tensor]:
    """What the networks of both stages are asked first."""
    model = ambiguous_model(pixel_stages(), num_inference_steps=2, guidance_scale=1.0, **given)
    last_state(model.generate(asking("a", "b"), 5))
    return [stage.denoiser.unet.calls[0].x_t for stage in model.stages]


def test_views_start_from_noise_of_their_own() -> None:
    generator = torch.Generator().manual_seed(5)
    first, second = first_inputs()
    assert torch.equal(first, torch.randn(2, 3, 8, 8, generator=generator, dtype=torch.float32))
    assert torch.equal(second[:, :3], torch.randn(2, 3, 16, 16, generator=generator, dtype=torch.float32))


def test_views_may_share_one_noise() -> None:
    generator = torch.Generator().manual_seed(5)
    for seen, size in zip(first_inputs(initialize_xt_from_zt=True), (8, 16), strict=True):
        canonical = torch.randn(1, 3, size, size, generator=generator)[0]
        assert torch.equal(seen[:, :3], look(("identity", "rotate_cw"), canonical))


def test_an_independent_start_is_the_default() -> None:
    assert ambiguous_model(pixel_stages()).options.initialize_xt_from_zt is False


# ---------------------------------------------------------------------------------------------- the input of stage 2


def upscale(im: torch.Tensor, size: int) -> torch.Tensor:
    """Bilinear, corners on corners, one pixel at a time."""
    old = im.shape[-1]
    out = torch.empty(len(im), size, size)
    for i in range(size):
        for j in range(size):
            y, x = i * (old - 1) / (size - 1), j * (old - 1) / (size - 1)
            top, left = min(int(y), old - 2), min(int(x), old - 2)
            dy, dx = y - top, x - left
            upper = (1 - dx) * im[:, top, left] + dx * im[:, top, left + 1]
            lower = (1 - dx) * im[:, top + 1, left] + dx * im[:, top + 1, left + 1]
            out[:, i, j] = (1 - dy) * upper + dy * lower
    return out


def stage_2_inputs(**given) -> tuple[torch.Tensor, torch.Tensor, list[int]]:
    """Stage 1's results, the pictures that stage 2 is told to enlarge, the noise level it is told."""
    model = ambiguous_model(pixel_stages(), **{"num_inference_steps": 2, "guidance_scale": 1.0, **BARE, **given})
    results = [state.x_t_1 for state in model.generate(asking("a", "b"), 5) if state.stage == 1][-1]
    call = model.stages[1].denoiser.unet.calls[0]
    return results, call.x_t[:, 3:], call.labels.tolist()


@pytest.mark.parametrize("sync", ["x0", "none"])
def test_plain_input_is_each_views_own_result_in_float_and_unclipped(sync: str) -> None:
    results, low_res, labels = stage_2_inputs(stage2_conditioning="plain", sync=sync)
    assert results.abs().max() > 1.5  # so that clipping would show
    expected = torch.stack([upscale(result, 16) for result in results])
    assert (low_res - expected).abs().max() < 1e-5
    assert torch.equal(low_res[:, :, ::15, ::15], results[:, :, ::7, ::7])  # corners on corners
    assert labels == [50, 50]


@pytest.mark.parametrize("level", [0, 50, 250, 999])
def test_noised_input_is_that_of_diffusers(level: int) -> None:
    results, low_res, labels = stage_2_inputs(stage2_noise_level=level)
    generator = torch.Generator().manual_seed(5)
    for size in (8, 16):
        torch.randn(2, 3, size, size, generator=generator)  # what both stages start from
    noise = look(("identity", "rotate_cw"), torch.randn(1, 3, 16, 16, generator=generator)[0])
    scheduler = DDPMScheduler()
    scheduler.alphas_cumprod = torch.linspace(0.99, 0.01, 1000, dtype=F64)  # as the fake stage says
    enlarged = F.interpolate(results, (16, 16), mode="bilinear", align_corners=True)
    expected = scheduler.add_noise(enlarged, noise, torch.tensor([level, level]))
    assert (low_res - expected).abs().max() < 1e-5
    assert labels == [level, level]


def test_the_noise_of_the_input_is_drawn_once_for_all_steps() -> None:
    model = ambiguous_model(pixel_stages(), num_inference_steps=4)
    last_state(model.generate(asking("a", "b"), 5))
    told = [call.x_t[:, 3:] for call in model.stages[1].denoiser.unet.calls]
    assert len(told) == 4
    assert all(torch.equal(low_res, told[0]) for low_res in told)


def test_every_view_has_its_own_prompt_and_the_null_half_comes_first() -> None:
    model = ambiguous_model(pixel_stages(), num_inference_steps=1)
    last_state(model.generate(asking("b", "a"), 5))
    for stage in model.stages:
        (call,) = stage.denoiser.unet.calls
        assert torch.equal(call.text, torch.cat([EMBEDDINGS[""], EMBEDDINGS[""], EMBEDDINGS["b"], EMBEDDINGS["a"]]))
        assert torch.equal(call.x_t[:2], call.x_t[2:])


def test_a_negative_prompt_takes_the_place_of_the_empty_one_in_both_stages() -> None:
    model = ambiguous_model(pixel_stages(), num_inference_steps=1)
    last_state(model.generate(asking("b", "a", negative_prompt="c"), 5))
    for stage in model.stages:
        (call,) = stage.denoiser.unet.calls
        assert torch.equal(call.text, torch.cat([EMBEDDINGS[name] for name in ("c", "c", "b", "a")]))


def test_guidance_one_asks_half_as_much() -> None:
    sizes = {}
    for scale in (1.0, 2.0):
        model = ambiguous_model(pixel_stages(), num_inference_steps=1, guidance_scale=scale)
        last_state(model.generate(asking("a", "b"), 5))
        sizes[scale] = [len(stage.denoiser.unet.calls[0].x_t) for stage in model.stages]
    assert sizes == {1.0: [2, 2], 2.0: [4, 4]}


# ---------------------------------------------------------------------------------------------- thresholding


def test_each_stage_thresholds_as_its_own_scheduler_says() -> None:
    model = ambiguous_model(pixel_stages(), num_inference_steps=2)
    limits = []
    for state in model.generate(asking("a", "b"), 5):
        assert state.x0s.abs().max() <= 1
        limits.append(model.stage.threshold)
    assert limits == [(0.95, 1.5)] * 2 + [(0.95, 1.0)] * 2


@pytest.mark.parametrize("said", [{"thresholding": False}, {"thresholding": None}, {}])
def test_a_scheduler_that_asks_for_no_thresholding_gets_none(said: dict) -> None:
    stages = pixel_stages()
    for stage in stages:
        del stage.denoiser.scheduler_config["thresholding"]
        stage.denoiser.scheduler_config |= said
        assert stage.threshold is None
    states = ambiguous_model(stages, num_inference_steps=2).generate(asking("a", "b"), 5)
    bare = ambiguous_model(pixel_stages(), num_inference_steps=2, **BARE).generate(asking("a", "b"), 5)
    assert all(torch.equal(one.x0s, other.x0s) for one, other in zip(states, bare, strict=True))


def test_without_thresholding_x0_is_free() -> None:
    model = ambiguous_model(pixel_stages(), num_inference_steps=2, **BARE)
    assert max(state.x0s.abs().max().item() for state in model.generate(asking("a", "b"), 5)) > 1.5
    assert model.stage.threshold is None


# ---------------------------------------------------------------------------------------------- ways to synchronise


def finish(sync: str, names: list[str]) -> torch.Tensor:
    """The final canonical picture in float64, from one shared float64 noise, one prompt per view."""
    model = ambiguous_model(
        pixel_stages(F64, answers=[turning_answer, turning_answer]),
        sync=sync, views_names=names, num_inference_steps=10, guidance_scale=2.0, **BARE,
    )  # fmt: skip
    prompts = text_of(*range(1, len(names) + 1))
    open_stage(model, model.stages[0].denoiser, Conditioning(prompts, text_of(0)))
    canonical = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(4), dtype=F64)
    state = last_state(model.denoise({"xts": model.forward_mapping(canonical)}, torch.Generator()))
    assert state.z_t_1.dtype == F64
    return state.z_t_1


@pytest.mark.parametrize("names", [["identity", "rotate_cw"], ["identity", "inner_rotate", "flip"]])
def test_from_a_shared_start_the_cases_agree(names: list[str]) -> None:
    pictures = {sync: finish(sync, names) for sync in ("x0", "eps", "xt", "none")}
    assert (pictures["eps"] - pictures["x0"]).abs().max() < 1e-9
    assert (pictures["xt"] - pictures["x0"]).abs().max() < 1e-9
    assert (pictures["none"] - pictures["x0"]).abs().max() > 0.01


# ---------------------------------------------------------------------------------------------- the same picture again


def test_a_picture_is_the_same_alone_and_as_the_last_of_many() -> None:
    options = {"num_inference_steps": 3, "eta": 0.3}
    alone = last_state(ambiguous_model(pixel_stages(), **options).generate(asking("b", "c"), 7)).x_t_1
    model = ambiguous_model(pixel_stages(), **options)
    for prompts, seed in ((("a", "b"), 7), (("c", "b"), 2)):
        last_state(model.generate(asking(*prompts), seed))
    torch.randn(3)  # the global generator plays no part
    assert torch.equal(last_state(model.generate(asking("b", "c"), 7)).x_t_1, alone)
    assert not torch.equal(last_state(model.generate(asking("b", "c"), 8)).x_t_1, alone)
    assert not torch.equal(last_state(model.generate(asking("c", "b"), 7)).x_t_1, alone)


@pytest.mark.parametrize("scale", [1.0, 10.0])
def test_the_view_batch_size_changes_no_picture(scale: float) -> None:
    options = {"num_inference_steps": 4, "guidance_scale": scale, "views_names": list(PLAIN_VIEWS)}
    pictures = [
        last_state(
            ambiguous_model(pixel_stages(), view_batch_size=size, **options).generate(asking(*"abcabc"), 1)
        ).x_t_1
        for size in (1, 3, 100)
    ]
    assert (pictures[1] - pictures[0]).abs().max() < 1e-5
    assert (pictures[2] - pictures[0]).abs().max() < 1e-5


def test_networks_in_half_precision_keep_a_float32_state() -> None:
    rough, exact = (
        last_state(ambiguous_model(pixel_stages(dtype), num_inference_steps=4).generate(asking("a", "b"), 1)).x_t_1
        for dtype in (torch.bfloat16, torch.float32)
    )
    assert rough.dtype == torch.float32
    assert torch.isfinite(rough).all()
    assert 0 < (rough - exact).abs().mean() < 0.1


# ---------------------------------------------------------------------------------------------- what is saved


def pixels(picture: torch.Tensor) -> np.ndarray:
    return ((picture.clamp(-1, 1) + 1) / 2 * 255).round().permute(1, 2, 0).numpy().astype(np.uint8)


@pytest.mark.parametrize("sync", ["x0", "none"])
def test_every_view_is_saved_as_it_is(sync: str) -> None:
    model = ambiguous_model(pixel_stages(), num_inference_steps=3, sync=sync)
    state = last_state(model.generate(asking("a", "b"), 5))
    pictures = {name: np.asarray(image) for name, image in model.render(state, FILES).items()}
    assert list(pictures) == ["b.png", "a.png", "both.png"]
    assert np.abs(pictures["a.png"].astype(int) - pixels(state.x_t_1[0])).max() <= 1
    assert np.abs(pictures["b.png"].astype(int) - pixels(state.x_t_1[1])).max() <= 1
    assert np.array_equal(pictures["both.png"], np.concatenate([pictures["a.png"], pictures["b.png"]], axis=1))
    turned = np.rot90(pictures["a.png"], -1)
    if sync == "none":
        assert np.abs(turned.astype(int) - pictures["b.png"]).max() > 50
    else:
        assert np.abs(turned.astype(int) - pictures["b.png"]).max() <= 1


def test_the_last_state_is_x0_where_the_final_alpha_is_one() -> None:
    model = ambiguous_model(pixel_stages(), num_inference_steps=3)
    for stage in (1, 2):
        last = [state for state in model.generate(asking("a", "b"), 5) if state.stage == stage][-1]
        assert (last.x_t_1 - last.x0s).abs().max() < 1e-6


def test_the_results_of_both_stages_are_kept() -> None:
    model = ambiguous_model(pixel_stages(), num_inference_steps=3)
    states = list(model.generate(asking("a", "b"), 5))
    kept = model.latents()
    assert {name: tuple(result.shape) for name, result in kept.items()} == {
        "stage_1": (2, 3, 8, 8),
        "stage_2": (2, 3, 16, 16),
    }
    assert torch.equal(kept["stage_1"], states[2].x_t_1)
    assert torch.equal(kept["stage_2"], states[5].x_t_1)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("thresholding", ["dynamic", "none"])
@pytest.mark.parametrize("names", [["identity", "rotate_cw"], ["low_pass", "high_pass"]])
def test_what_is_no_number_ends_a_picture(names: list[str], thresholding: str, bad: float) -> None:
    """One pixel is enough, and thresholding, which clips, does not hide it."""

    def answer(x_t: torch.Tensor, *_: object) -> torch.Tensor:
        eps = torch.zeros_like(x_t[:, :3])
        eps[:, 0, 1, 2] = bad
        return eps

    stages = pixel_stages(answers=[nonlinear_answer(3, 6), answer])
    options = {"num_inference_steps": 2, "guidance_scale": 1.0, "views_names": names, "thresholding": thresholding}
    model = ambiguous_model(stages, **options)
    state = last_state(model.generate(asking("a", "b"), 5))
    for show in (lambda: model.render(state, FILES), state.preview):
        with pytest.raises(ValueError, match="NaN or infinite"):
            show()

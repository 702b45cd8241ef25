"""The wide-image app as a whole: against the assignment's formulas written slowly, and what becomes of its canvas."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel

from guidance.base_model import StepState
from guidance.networks.denoisers import Conditioning, Denoiser
from guidance.networks.spaces import LatentSpace
from guidance.networks.stable_diffusion import LatentModel
from guidance.wide_image_app import crop_strip
from guidance.wide_image_model import WideImageModel
from tests.analytic import (
    CPU,
    EMBEDDINGS,
    FakeUNet,
    FakeVAE,
    asking,
    enlarge,
    nonlinear_answer,
    open_stage,
    text_of,
    wide_model,
    wide_options,
)
from utils.images import to_pil

F64 = torch.float64
GUIDANCE = 3.0


def last_state(states: Iterator[StepState]) -> StepState:
    *_, last = states
    return last


# ---------------------------------------------------------------------------------------------- the slow twin


class SlowWide:
    """The assignment's Task 1 in loops: windows, counts, and two network calls for every window."""

    def __init__(self, unet, abars, height: int, width: int, window: int, stride: int, circular: bool):
        self.unet, self.abars, self.size, self.window = unet, abars, (height, width), window
        lefts = list(range(0, width, stride)) if circular else self.starts(width, stride)
        self.places = [(top, left) for top in self.starts(height, stride) for left in lefts]

    def starts(self, length: int, stride: int) -> list[int]:
        found = [0]
        while found[-1] + self.window < length:
            found.append(min(found[-1] + stride, length - self.window))
        return found

    def columns(self, left: int) -> list[int]:
        return [(left + j) % self.size[1] for j in range(self.window)]

    def crops(self, canvas: torch.Tensor) -> torch.Tensor:
        return torch.stack([canvas[:, top : top + self.window, self.columns(left)] for top, left in self.places])

    def average(self, windows: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(windows.shape[1], *self.size, dtype=F64)
        count = torch.zeros(self.size, dtype=F64)
        for (top, left), values in zip(self.places, windows, strict=True):
            total[:, top : top + self.window, self.columns(left)] += values
            count[top : top + self.window, self.columns(left)] += 1
        return (total / count).to(windows.dtype)

    def noise(self, x_t: torch.Tensor, t: int, text: torch.Tensor, null: torch.Tensor) -> torch.Tensor:
        x_in = x_t[None].double()
        unconditional = self.unet(x_in, torch.tensor(t), null.double(), return_dict=False)[0][0].float()
        prompted = self.unet(x_in, torch.tensor(t), text.double(), return_dict=False)[0][0].float()
        return unconditional + GUIDANCE * (prompted - unconditional)

    def step(self, x_ts, t: int, abar_prev: float, text, null, sync: str) -> tuple[torch.Tensor, torch.Tensor]:
        abar = self.abars[t].item()
        eps = torch.stack([self.noise(x_t, t, text, null) for x_t in x_ts])
        if sync == "eps":
            eps = self.crops(self.average(eps))
        x0s = (x_ts - math.sqrt(1 - abar) * eps) / math.sqrt(abar)
        if sync == "x0":
            x0s = self.crops(self.average(x0s))
        stepped = math.sqrt(abar_prev) * x0s
        stepped = stepped + math.sqrt((1 - abar_prev) / (1 - abar)) * (x_ts - math.sqrt(abar) * x0s)
        return x0s, self.crops(self.average(stepped)) if sync == "xt" else stepped


def hub_model(
    folder: Path, cells: tuple[int, int], dtype: torch.dtype = torch.float32, **given
) -> tuple[WideImageModel, DDIMScheduler]:
    """The app on the random Stable Diffusion of a folder, and the scheduler that diffusers makes of it."""
    unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet").eval().requires_grad_(False).to(dtype)
    config = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    space = LatentSpace(FakeVAE(enlarge, scale=8), 0.5, CPU)
    latent_model = LatentModel(Denoiser(unet, config, CPU), space, None, window=8)
    options = wide_options(cells[0] * 8, cells[1] * 8, **{"guidance_scale": GUIDANCE, **given})
    model = WideImageModel(options, latent_model)
    generator = torch.Generator().manual_seed(3)
    model.embeddings = {name: torch.randn(1, 7, 32, generator=generator) for name in ("", "a")}
    return model, DDIMScheduler.from_pretrained(folder, subfolder="scheduler")


@pytest.mark.parametrize(
    ("cells", "given"),
    [
        ((8, 21), {"window_stride": 3}),
        ((11, 13), {"window_stride": 4}),
        ((8, 14), {"window_stride": 3, "circular": True}),
        ((8, 13), {"window_stride": 4, "sync": "eps"}),
        ((8, 13), {"window_stride": 4, "sync": "xt"}),
        ((8, 13), {"window_stride": 4, "sync": "none"}),
        ((8, 13), {"window_stride": 4, "initialize_xt_from_zt": False}),
    ],
)
def test_every_step_equals_the_assignment(sd_folder: Path, cells: tuple[int, int], given: dict) -> None:
    """The float32 weights are evaluated in float64, so that what differs is the state, kept in float32."""
    model, scheduler = hub_model(sd_folder, cells, F64, num_inference_steps=4, **given)
    abars = scheduler.alphas_cumprod
    unet = model.latent_model.denoiser.unet
    twin = SlowWide(unet, abars, *cells, 8, given["window_stride"], given.get("circular", False))
    generator, count = torch.Generator().manual_seed(9), len(twin.places)
    if given.get("initialize_xt_from_zt", True):
        x_ts = twin.crops(torch.randn(1, 4, *cells, generator=generator)[0])
    else:
        x_ts = torch.randn(count, 4, 8, 8, generator=generator)
    times, states = [751, 501, 251, 1], list(model.generate(asking("a"), 9))
    assert len(states) == 4
    for t, following, state in zip(times, [501, 251, 1, 0], states, strict=True):
        text, null = model.embeddings["a"], model.embeddings[""]
        x0s, x_t_1 = twin.step(x_ts, t, abars[following].item(), text, null, given.get("sync", "x0"))
        assert (state.x0s - x0s).abs().max() < 1e-5
        assert (state.x_t_1 - x_t_1).abs().max() < 1e-5
        assert (state.z0s[0] - twin.average(x0s)).abs().max() < 1e-5
        assert (state.z_t_1[0] - twin.average(x_t_1)).abs().max() < 1e-5
        x_ts = state.x_t_1


# ---------------------------------------------------------------------------------------------- where views start


def first_input(model: WideImageModel, seed: int) -> torch.Tensor:
    next(model.generate(asking("a"), seed))
    return torch.cat([call.x_t for call in model.stage.denoiser.unet.calls])


@pytest.mark.parametrize("circular", [False, True])
def test_windows_start_as_crops_of_one_noise(circular: bool) -> None:
    model = wide_model(FakeUNet(nonlinear_answer(4)), (8, 20), window_stride=6, circular=circular, guidance_scale=1.0)
    canvas = torch.randn(1, 4, 8, 20, generator=torch.Generator().manual_seed(31), dtype=torch.float32)
    wrapped = torch.cat([canvas, canvas], dim=-1)
    lefts = [0, 6, 12, 18] if circular else [0, 6, 12]
    expected = torch.cat([wrapped[..., left : left + 8] for left in lefts])
    assert torch.equal(first_input(model, 31), expected)


def test_windows_may_start_from_noise_of_their_own() -> None:
    options = {"window_stride": 6, "initialize_xt_from_zt": False, "guidance_scale": 1.0}
    model = wide_model(FakeUNet(nonlinear_answer(4)), (8, 20), **options)
    expected = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(31), dtype=torch.float32)
    assert torch.equal(first_input(model, 31), expected)


def test_a_shared_start_is_the_default() -> None:
    assert wide_options(16, 32).initialize_xt_from_zt is True


# ---------------------------------------------------------------------------------------------- ways to synchronise


def finish(sync: str, circular: bool = False, steps: int = 10) -> torch.Tensor:
    """The final canvas in float64, from one shared float64 noise."""
    options = {"window_stride": 3, "num_inference_steps": steps, "sync": sync, "circular": circular}
    model = wide_model(FakeUNet(nonlinear_answer(4), F64), (9, 20), guidance_scale=2.0, **options)
    open_stage(
        model, model.latent_model.denoiser, Conditioning(text_of(1).expand(len(model.mapper), -1, -1), text_of(0))
    )
    canvas = torch.randn(1, 4, 9, 20, generator=torch.Generator().manual_seed(4), dtype=F64)
    state = last_state(model.denoise({"xts": model.forward_mapping(canvas)}, torch.Generator()))
    assert state.z_t_1.dtype == F64
    return state.z_t_1


@pytest.mark.parametrize("circular", [False, True])
def test_from_a_shared_start_the_cases_agree(circular: bool) -> None:
    pictures = {sync: finish(sync, circular) for sync in ("x0", "eps", "xt", "none")}
    assert (pictures["eps"] - pictures["x0"]).abs().max() < 1e-9
    assert (pictures["xt"] - pictures["x0"]).abs().max() < 1e-9
    assert (pictures["none"] - pictures["x0"]).abs().max() > 0.1


def test_turning_the_ring_commutes_with_the_whole_run() -> None:
    options = {"window_stride": 4, "num_inference_steps": 5, "circular": True, "guidance_scale": 2.0}
    model = wide_model(FakeUNet(nonlinear_answer(4), F64), (8, 24), **options)
    open_stage(model, model.latent_model.denoiser, Conditioning(text_of(1).expand(6, -1, -1), text_of(0)))
    canvas = torch.randn(1, 4, 8, 24, generator=torch.Generator().manual_seed(4), dtype=F64)
    still, turned = (
        last_state(model.denoise({"xts": model.forward_mapping(z)}, torch.Generator())).z_t_1
        for z in (canvas, canvas.roll(8, dims=-1))
    )
    assert (turned - still.roll(8, dims=-1)).abs().max() < 1e-9


# ---------------------------------------------------------------------------------------------- the same picture again


def generate(seed: int = 1, prompt: str = "a", model: WideImageModel | None = None, **given) -> torch.Tensor:
    options = {"window_stride": 3, "num_inference_steps": 4, **given}
    model = model or wide_model(FakeUNet(nonlinear_answer(4)), (8, 20), **options)
    return last_state(model.generate(asking(prompt), seed)).z_t_1


def test_a_picture_is_the_same_alone_and_as_the_last_of_many() -> None:
    alone = generate(7, "b", eta=0.3)
    model = wide_model(FakeUNet(nonlinear_answer(4)), (8, 20), window_stride=3, num_inference_steps=4, eta=0.3)
    for prompt, seed in (("a", 7), ("c", 2)):
        generate(seed, prompt, model)
    torch.randn(3)  # the global generator plays no part
    assert torch.equal(generate(7, "b", model), alone)
    assert not torch.equal(generate(8, "b", model), alone)
    assert not torch.equal(generate(7, "a", model), alone)


@pytest.mark.parametrize("scale", [1.0, 7.5])
def test_the_view_batch_size_changes_no_picture(sd_folder: Path, scale: float) -> None:
    """Beyond rounding: random weights make latents of up to 20, so the bound is in units of the largest."""
    canvases = []
    for size in (1, 3, 100):
        options = {"num_inference_steps": 3, "guidance_scale": scale, "view_batch_size": size}
        model, _ = hub_model(sd_folder, (8, 20), window_stride=3, **options)
        canvases.append(generate(1, "a", model))
    largest = canvases[0].abs().max()
    assert (canvases[1] - canvases[0]).abs().max() < 1e-5 * largest
    assert (canvases[2] - canvases[0]).abs().max() < 1e-5 * largest


def test_a_network_in_half_precision_keeps_a_float32_state() -> None:
    rough = generate(model=wide_model(FakeUNet(nonlinear_answer(4), torch.bfloat16), (8, 20), num_inference_steps=4))
    exact = generate(model=wide_model(FakeUNet(nonlinear_answer(4)), (8, 20), num_inference_steps=4))
    assert rough.dtype == torch.float32
    assert torch.isfinite(rough).all()
    assert 0 < (rough - exact).abs().mean() < 0.05 * exact.abs().mean()


# ---------------------------------------------------------------------------------------------- decoding


def whole(model: WideImageModel, z: torch.Tensor) -> torch.Tensor:
    """The canvas decoded at once, in [0, 1]."""
    return ((model.latent_model.space.vae.decoding(z / 0.5)[0] + 1) / 2).clamp(0, 1)


def latents(height: int, width: int) -> torch.Tensor:
    return torch.randn(1, 4, height, width, generator=torch.Generator().manual_seed(6))


def looks_around(z: torch.Tensor) -> torch.Tensor:
    """Decode with a view of the neighbours, as a real VAE does: tiles differ where they overlap."""
    return enlarge(torch.nn.functional.avg_pool2d(z, 5, stride=1, padding=2) * 3)


@pytest.mark.parametrize("circular", [False, True])
@pytest.mark.parametrize("cells", [(8, 8), (8, 20), (11, 29), (17, 24), (9, 9)])
def test_a_local_vae_is_decoded_as_one_canvas(cells: tuple[int, int], circular: bool) -> None:
    model = wide_model(FakeUNet(nonlinear_answer(4)), cells, circular=circular)
    z = latents(*cells)
    picture = model.decode_canvas(z)
    assert picture.shape == (3, cells[0] * 2, cells[1] * 2) and picture.dtype == torch.float32
    assert (picture - whole(model, z)).abs().max() < 1e-6


def test_each_tile_is_decoded_once_and_not_each_window() -> None:
    model = wide_model(FakeUNet(nonlinear_answer(4)), (8, 80), window_stride=1, num_inference_steps=1)
    model.decode_canvas(latents(8, 80))
    calls = model.latent_model.space.vae.calls
    assert len(model.mapper) == 73
    assert len(calls) == 13  # tiles of 8 cells every 6
    assert all(call.shape == (1, 4, 8, 8) for call in calls)
    model.latent_model.space.vae.calls.clear()
    model.preview(last_state(model.generate(asking("a"), 1)))
    assert len(calls) == 13


def test_latents_are_divided_by_the_scaling_factor_of_the_weights() -> None:
    vae = FakeVAE(enlarge, scaling_factor=0.18215)
    model = wide_model(FakeUNet(nonlinear_answer(4)), (8, 8), vae=vae)
    z = latents(8, 8) * 0.1
    model.decode_canvas(z)
    torch.testing.assert_close(vae.calls[0], z / 0.18215)


def test_tiles_are_clamped_before_they_are_blended() -> None:
    """One tile decodes to 3, far over white, the next to -1, black: the seam runs from 1 to 0 and never over."""
    answers = iter([3.0, -1.0])
    model = wide_model(FakeUNet(nonlinear_answer(4)), (8, 14), vae=FakeVAE(lambda z: enlarge(z) * 0 + next(answers)))
    picture = model.decode_canvas(latents(8, 14))
    row = picture[0, 8]
    assert row[:12].tolist() == [1.0] * 12 and row[16:].tolist() == [0.0] * 12
    torch.testing.assert_close(row[12:16], torch.tensor([0.8, 0.6, 0.4, 0.2]))


def test_tiles_fade_into_each_other() -> None:
    """Where tiles disagree as much as they can, no neighbouring pixels differ by more than the fade's slope."""
    numbers = iter(range(100))
    vae = FakeVAE(lambda z: enlarge(z) * 0 + (1.0 if next(numbers) % 2 else -1.0))
    model = wide_model(FakeUNet(nonlinear_answer(4)), (8, 38), vae=vae)
    picture = model.decode_canvas(latents(8, 38))
    assert picture.min() == 0 and picture.max() == 1
    assert (picture[..., 1:] - picture[..., :-1]).abs().max() < 0.21


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_turning_the_ring_turns_the_decoded_picture(turns: int) -> None:
    """So its left and right border are a place like any other, also for a VAE that looks around."""
    model = wide_model(FakeUNet(nonlinear_answer(4)), (8, 24), vae=FakeVAE(looks_around), circular=True)
    z = latents(8, 24)
    turned = model.decode_canvas(z.roll(6 * turns, dims=-1))
    assert (turned - model.decode_canvas(z).roll(12 * turns, dims=-1)).abs().max() < 1e-5


def test_the_border_of_a_ring_continues_and_that_of_a_strip_does_not() -> None:
    """Each tile decodes to a ramp from black to white: on a strip the right border is white, the left one black."""
    ramp, steps = torch.linspace(-1, 1, 16).expand(1, 3, 16, 16), {}
    for circular in (False, True):
        model = wide_model(FakeUNet(nonlinear_answer(4)), (8, 24), vae=FakeVAE(lambda z: ramp), circular=circular)
        picture = model.decode_canvas(latents(8, 24))
        inner = (picture[..., 1:] - picture[..., :-1]).abs().max().item()
        steps[circular] = (picture[..., 0] - picture[..., -1]).abs().max().item() / inner
    assert steps[True] <= 1.001
    assert steps[False] > 3


# ---------------------------------------------------------------------------------------------- what is saved

FILES = [
    {"file": "a.png", "role": "strip"},
    {"file": "a_0.png", "role": "crop", "position": 0},
    {"file": "a_192.png", "role": "crop", "position": 192},
    {"file": "a.safetensors", "role": "latents"},
]


def test_the_stepped_canvas_is_rendered_and_not_x0() -> None:
    """Stable Diffusion ends at abar_0, where the two differ."""
    model = wide_model(FakeUNet(nonlinear_answer(4)), (8, 20), window_stride=6, num_inference_steps=3)
    state = last_state(model.generate(asking("a"), 1))
    assert not torch.equal(state.z_t_1, state.z0s)
    pictures = model.render(state, FILES)
    assert list(pictures) == ["a.png", "a_0.png", "a_192.png"]
    expected = to_pil(model.decode_canvas(state.z_t_1))
    assert np.array_equal(np.asarray(pictures["a.png"]), np.asarray(expected))
    assert pictures["a.png"].size == (40, 16)
    assert np.array_equal(np.asarray(pictures["a_0.png"]), np.asarray(expected)[:, :16])
    assert np.array_equal(np.asarray(pictures["a_192.png"]), np.asarray(expected)[:, 6:22])
    assert torch.equal(model.latents()["canvas"], state.z_t_1)


@pytest.mark.parametrize("sync", ["x0", "none"])
def test_a_preview_shows_x0_and_not_the_stepped_state(sync: str) -> None:
    options = {"window_stride": 6, "num_inference_steps": 3, "sync": sync, "guidance_scale": 1.0}
    model = wide_model(FakeUNet(nonlinear_answer(4)), (8, 20), **options)
    state = next(model.generate(asking("a"), 1))
    shown = [
        model.decode_canvas(canvas) if sync == "x0" else model.decode_views(views)
        for canvas, views in ((state.z0s, state.x0s), (state.z_t_1, state.x_t_1))
    ]
    preview, (x0, stepped) = np.asarray(state.preview()), (np.asarray(to_pil(one)) for one in shown)
    assert np.array_equal(preview, x0) and np.abs(x0.astype(int) - stepped).max() > 20


def test_positions_count_pixels_of_a_strip_512_high() -> None:
    columns = np.broadcast_to(np.arange(192, dtype=np.uint8)[None, :, None], (64, 192, 3))
    strip = to_pil(torch.from_numpy(columns.copy()).permute(2, 0, 1).float() / 255)
    for position, left in ((0, 0), (8, 1), (512, 64), (1000, 125), (1024, 128)):
        crop = np.asarray(crop_strip(strip, position))
        assert crop.shape == (64, 64, 3)
        assert crop[0, 0, 0] == left


@pytest.mark.parametrize("circular", [False, True])
def test_windows_that_were_not_averaged_are_shown_as_they_are(circular: bool) -> None:
    """Every pixel comes from exactly one window, the one whose centre is nearest: nothing is blended."""
    options = {"window_stride": 4, "sync": "none", "circular": circular}
    model = wide_model(FakeUNet(nonlinear_answer(4)), (10, 20), **options)
    levels = torch.linspace(-0.45, 0.45, len(model.mapper))
    x_ts = levels.reshape(-1, 1, 1, 1).expand(-1, 4, 8, 8)
    picture = model.decode_views(x_ts)
    assert len(model.latent_model.space.vae.calls) == len(model.mapper)
    centres = [((top + bottom) / 2, (left + right) / 2) for top, bottom, left, right in model.mapper]
    for row in range(20):
        for column in range(40):
            y, x = row // 2 + 0.5, column // 2 + 0.5
            far = []
            for (centre_y, centre_x), (_, _, left, _) in zip(centres, model.mapper, strict=True):
                inside = (x - left) % 20 < 8 if circular else left <= x < left + 8
                across = abs(x - centre_x) if not circular else min(abs(x - centre_x), 20 - abs(x - centre_x) % 20)
                across = min(across, abs(x + 20 - centre_x)) if circular else across
                far.append((y - centre_y) ** 2 + across**2 if inside else math.inf)
            nearest = [value for value, distance in zip(levels, far, strict=True) if distance <= min(far) + 1e-9]
            shown = picture[0, row, column]
            assert min(abs(shown - (value + 0.5)) for value in nearest) < 1e-6, (row, column)


def test_sync_none_renders_the_windows_and_not_their_mean() -> None:
    options = {"window_stride": 6, "num_inference_steps": 3, "sync": "none"}
    model = wide_model(FakeUNet(nonlinear_answer(4)), (8, 20), **options)
    state = last_state(model.generate(asking("a"), 1))
    strip = np.asarray(model.render(state, FILES)["a.png"])
    assert np.array_equal(strip, np.asarray(to_pil(model.decode_views(state.x_t_1))))
    averaged = np.asarray(to_pil(model.decode_canvas(state.z_t_1)))
    assert not np.array_equal(strip, averaged)
    for left, window in zip((0, 12), (0, 2), strict=True):  # the outer parts, where one window alone is nearest
        shown = slice(left * 2, left * 2 + 10) if left == 0 else slice(left * 2 + 6, 40)
        own = np.asarray(to_pil(((enlarge(state.x_t_1[window : window + 1] / 0.5)[0] + 1) / 2).clamp(0, 1)))
        own = own[:, :10] if left == 0 else own[:, 6:]
        assert np.array_equal(strip[:, shown], own)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("sync", ["x0", "none"])
@pytest.mark.parametrize("culprit", ["network", "VAE"])
def test_what_is_no_number_ends_a_picture(culprit: str, sync: str, bad: float) -> None:
    answer = nonlinear_answer(4) if culprit == "VAE" else lambda x_t, *_: torch.full_like(x_t, bad)
    vae = FakeVAE(lambda z: enlarge(z) * 0 + bad if culprit == "VAE" else enlarge(z))
    model = wide_model(FakeUNet(answer), (8, 20), num_inference_steps=2, guidance_scale=1.0, sync=sync, vae=vae)
    state = last_state(model.generate(asking("a"), 1))
    for show in (lambda: model.render(state, FILES), state.preview):
        with pytest.raises(ValueError, match="NaN or infinite"):
            show()


def test_a_negative_prompt_takes_the_place_of_the_empty_one() -> None:
    model = wide_model(FakeUNet(nonlinear_answer(4)), (8, 20), window_stride=6, num_inference_steps=1)
    last_state(model.generate(asking("b", negative_prompt="c"), 1))
    (call,) = model.stage.denoiser.unet.calls
    assert torch.equal(call.text, torch.cat([EMBEDDINGS["c"]] * 3 + [EMBEDDINGS["b"]] * 3))


def test_prompts_decide_what_networks_are_told() -> None:
    model = wide_model(FakeUNet(nonlinear_answer(4)), (8, 20), window_stride=6, num_inference_steps=1)
    generate(1, "b", model)
    (call,) = model.stage.denoiser.unet.calls
    assert torch.equal(call.text, torch.cat([EMBEDDINGS[""]] * 3 + [EMBEDDINGS["b"]] * 3))

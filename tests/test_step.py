"""One step and the loop: against the formulas, against diffusers, and against closed-form answers."""

import math
from itertools import pairwise, product

import pytest
import torch
from diffusers import DDIMScheduler

from guidance.base_model import BaseModel, StepState
from guidance.networks.denoisers import Conditioning
from guidance.schedule import Schedule
from tests.analytic import (
    IF_SCHEDULER,
    SD_SCHEDULER,
    FakeUNet,
    ambiguous_model,
    asking,
    gaussian_answer,
    nonlinear_answer,
    one_view_model,
    open_stage,
    pixel_stages,
    text_of,
)

F64 = torch.float64
CONFIGS = {"sd": SD_SCHEDULER, "if": IF_SCHEDULER}


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = F64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def run(model: BaseModel, x_t: torch.Tensor, seed: int = 5) -> torch.Tensor:
    """The final state of the stage at hand."""
    *_, last = model.denoise({"xts": x_t}, torch.Generator().manual_seed(seed))
    return last.x_t_1


# ---------------------------------------------------------------------------------------------- formulas


@pytest.fixture(scope="module")
def model() -> BaseModel:
    return one_view_model(FakeUNet(nonlinear_answer(4), F64), num_inference_steps=7)


def tables(model: BaseModel) -> tuple[torch.Tensor, torch.Tensor]:
    return model.stage.schedule.alphas_cumprod.sqrt(), (1 - model.stage.schedule.alphas_cumprod).sqrt()


@pytest.mark.parametrize("timestep", [1, 427, 853, 999])
def test_tweedie(model: BaseModel, timestep: int) -> None:
    x_t, eps = noise(2, 4, 3, 3), noise(2, 4, 3, 3, seed=1)
    abar = model.stage.schedule.alphas_cumprod[timestep].item()
    expected = (x_t - math.sqrt(1 - abar) * eps) / math.sqrt(abar)
    alphas, sigmas = tables(model)
    for given in (timestep, torch.tensor(timestep)):
        assert (model.compute_tweedie(x_t, eps, given, alphas, sigmas) - expected).abs().max() < 1e-12
    numbers = model.compute_tweedie(x_t, eps, timestep, alphas[timestep], sigmas[timestep].item())
    assert (numbers - expected).abs().max() < 1e-12


def test_tweedie_finds_the_picture_in_its_own_noise(model: BaseModel) -> None:
    x0, eps, (alphas, sigmas) = noise(2, 4, 3, 3), noise(2, 4, 3, 3, seed=1), tables(model)
    x_t = alphas[500] * x0 + sigmas[500] * eps
    assert (model.compute_tweedie(x_t, eps, 500, alphas, sigmas) - x0).abs().max() < 1e-12


def test_every_picture_may_have_its_own_timestep(model: BaseModel) -> None:
    x_t, eps, times = noise(3, 4, 3, 3), noise(3, 4, 3, 3, seed=1), torch.tensor([1, 285, 853])
    together = model.compute_tweedie(x_t, eps, times, *tables(model))
    stepped = model.compute_prev_state(x_t, eps, times)
    for i, t in enumerate(times):
        one = slice(i, i + 1)
        assert torch.equal(together[one], model.compute_tweedie(x_t[one], eps[one], t, *tables(model)))
        assert torch.equal(stepped[one], model.compute_prev_state(x_t[one], eps[one], t))


@pytest.mark.parametrize("method", ["ddim", "ddpm"])
@pytest.mark.parametrize("steps", [7, 50])
def test_prev_state(method: str, steps: int) -> None:
    model = one_view_model(FakeUNet(nonlinear_answer(4)), num_inference_steps=steps, sampling_method=method)
    x_t, x0, times = noise(2, 4, 3, 3), noise(2, 4, 3, 3, seed=1), model.stage.schedule.timesteps
    for index, t in enumerate(times):
        abar = model.stage.schedule.alphas_cumprod[t].item()
        following = times[index + 1] if index + 1 < steps else 0  # Stable Diffusion ends at abar_0
        prev = model.stage.schedule.alphas_cumprod[following].item()
        expected = math.sqrt(prev) * x0 + math.sqrt((1 - prev) / (1 - abar)) * (x_t - math.sqrt(abar) * x0)
        if method == "ddpm":
            alpha, beta = abar / prev, 1 - abar / prev
            expected = math.sqrt(alpha) * (1 - prev) / (1 - abar) * x_t + math.sqrt(prev) * beta / (1 - abar) * x0
        assert (model.compute_prev_state(x_t, x0, t) - expected).abs().max() < 1e-12


@pytest.mark.parametrize("method", ["ddim", "ddpm"])
@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_the_noise_of_a_step_has_the_posterior_variance(method: str, eta: float) -> None:
    model = one_view_model(FakeUNet(nonlinear_answer(4)), num_inference_steps=7, sampling_method=method, eta=eta)
    x_t, x0 = noise(2, 4, 3, 3), noise(2, 4, 3, 3, seed=1)
    for t, following in pairwise(model.stage.schedule.timesteps):
        abar, prev = (
            model.stage.schedule.alphas_cumprod[t].item(),
            model.stage.schedule.alphas_cumprod[following].item(),
        )
        silent = model.compute_prev_state(x_t, x0, t)
        noisy = model.compute_prev_state(x_t, x0, t, torch.ones_like(x_t))
        expected = eta * math.sqrt((1 - prev) / (1 - abar) * (1 - abar / prev))
        assert (noisy - silent - expected).abs().max() < 1e-12


def test_one_step_equals_that_of_diffusers_for_every_eta() -> None:
    x_t, eps, step_noise = noise(1, 4, 4, 4), noise(1, 4, 4, 4, seed=1), noise(1, 4, 4, 4, seed=2)
    scheduler = double_scheduler(SD_SCHEDULER, 50, "leading")
    for eta in (0.0, 0.4, 1.0):
        model = one_view_model(FakeUNet(lambda *_: eps, F64), eta=eta)
        out = model.one_step_process({"xts": x_t}, 501, *tables(model), noise=step_noise)
        theirs = scheduler.step(eps, 501, x_t, eta=eta, variance_noise=step_noise)
        assert (out["x_t_1"] - theirs.prev_sample).abs().max() < 1e-6
        assert (out["x0s"] - theirs.pred_original_sample).abs().max() < 1e-6


# ---------------------------------------------------------------------------------------------- whole loops


def double_scheduler(config: dict, steps: int, spacing: str) -> DDIMScheduler:
    """diffusers' scheduler, without what the assignment's formulas do not have, with a schedule in float64."""
    without = {"clip_sample": False, "thresholding": False, "timestep_spacing": spacing}
    plain = {name: value for name, value in config.items() if name != "variance_type"} | without
    scheduler = DDIMScheduler.from_config(plain)
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.double()
    scheduler.final_alpha_cumprod = scheduler.final_alpha_cumprod.double()
    scheduler.set_timesteps(steps)
    return scheduler


def diffusers_loop(scheduler: DDIMScheduler, answer, x_t: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    for t in scheduler.timesteps:
        x_t = scheduler.step(answer(x_t, t, text, None), t, x_t, eta=0.0).prev_sample
    return x_t


def listed_loop(scheduler: DDIMScheduler, answer, x_t: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
    """The same on the scheduler's own list of timesteps: each step ends at the next one listed."""
    abars, times = scheduler.alphas_cumprod, scheduler.timesteps.tolist()
    ends = [abars[t] for t in times[1:]] + [scheduler.final_alpha_cumprod]
    for t, prev in zip(times, ends, strict=True):
        eps = answer(x_t, torch.tensor(t), text, None)
        x0 = (x_t - (1 - abars[t]) ** 0.5 * eps) / abars[t] ** 0.5
        x_t = prev**0.5 * x0 + (1 - prev) ** 0.5 * eps
    return x_t


@pytest.mark.parametrize("steps", [7, 20, 50])
@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize("name", CONFIGS)
def test_loop_equals_that_of_diffusers(name: str, spacing: str, steps: int) -> None:
    answer, x_t, text = nonlinear_answer(4), noise(1, 4, 4, 4), text_of(1).double()
    options = {"scheduler": CONFIGS[name], "num_inference_steps": steps, "timestep_spacing": spacing, "sync": "none"}
    ours = run(one_view_model(FakeUNet(answer, F64), **options), x_t)
    # diffusers' step() ends at t - 1000 // steps, which is not the next timestep of its own trailing list of 7 steps
    loop = listed_loop if (spacing, steps) == ("trailing", 7) else diffusers_loop
    scheduler = double_scheduler(CONFIGS[name], steps, spacing)
    theirs = loop(scheduler, answer, x_t, text)
    assert (ours - theirs).abs().max() < 1e-9 * theirs.abs().max()


@pytest.mark.parametrize(
    ("name", "spacing", "steps"),
    [*product(CONFIGS, ("leading", "trailing"), (1, 2, 3, 7, 20, 30, 50)),
     ("sd", "leading", 999), ("sd", "trailing", 1000), ("if", "leading", 1000), ("if", "trailing", 999)],
)  # fmt: skip
def test_gaussian_data_end_on_the_closed_form_answer(name: str, spacing: str, steps: int) -> None:
    """eps is affine in x_t, so DDIM is a product of known factors around the mean: exact for any number of steps."""
    mean, deviation, x_t = 0.7, 0.3, noise(1, 4, 4, 4)
    abars = Schedule.from_config(CONFIGS[name], 1).alphas_cumprod
    unet = FakeUNet(gaussian_answer(mean, deviation, abars), F64)
    options = {"scheduler": CONFIGS[name], "num_inference_steps": steps, "timestep_spacing": spacing}
    model = one_view_model(unet, **options)
    ours = run(model, x_t)
    visited = [abars[t].item() for t in model.stage.schedule.timesteps] + [{"sd": abars[0].item(), "if": 1.0}[name]]
    factor = 1.0
    for abar, prev in pairwise(visited):
        signal, blur = math.sqrt(abar * prev) * deviation**2, math.sqrt((1 - abar) * (1 - prev))
        factor *= (signal + blur) / (abar * deviation**2 + 1 - abar)
    expected = math.sqrt(visited[-1]) * mean + factor * (x_t - math.sqrt(visited[0]) * mean)
    assert (ours - expected).abs().max() < 1e-9


@pytest.mark.parametrize("name", CONFIGS)
def test_many_steps_map_the_quantiles_of_noise_to_those_of_the_data(name: str) -> None:
    mean, deviation, x_t = 0.7, 0.3, noise(1, 4, 4, 4)
    abars = Schedule.from_config(CONFIGS[name], 1).alphas_cumprod
    unet = FakeUNet(gaussian_answer(mean, deviation, abars), F64)
    ours = run(one_view_model(unet, scheduler=CONFIGS[name], num_inference_steps=1000), x_t)
    first, final = abars[999].item(), {"sd": abars[0].item(), "if": 1.0}[name]
    spread_first = math.sqrt(first * deviation**2 + 1 - first)
    spread_final = math.sqrt(final * deviation**2 + 1 - final)
    expected = math.sqrt(final) * mean + spread_final / spread_first * (x_t - math.sqrt(first) * mean)
    assert (ours - expected).abs().max() < 0.02


@pytest.mark.parametrize(("method", "eta"), [("ddim", 1.0), ("ddpm", 1.0), ("ddpm", 0.0)])
def test_noise_of_the_loop_spreads_gaussian_data_as_it_should(method: str, eta: float) -> None:
    """The spread follows a recursion; DDIM with eta 1 is DDPM, and without its noise the posterior mean shrinks."""
    mean, deviation, steps = 0.7, 0.3, 50
    abars = Schedule.from_config(SD_SCHEDULER, 1).alphas_cumprod
    unet = FakeUNet(gaussian_answer(mean, deviation, abars), F64)
    model = one_view_model(unet, 40, num_inference_steps=steps, sampling_method=method, eta=eta)
    visited = [abars[t].item() for t in model.stage.schedule.timesteps] + [abars[0].item()]
    spread = 1.0
    for abar, prev in pairwise(visited):
        of_x0 = math.sqrt(prev) * (1 - abar / prev) / (1 - abar)
        of_xt = math.sqrt(abar / prev) * (1 - prev) / (1 - abar)
        shrunk = of_xt + of_x0 * math.sqrt(abar) * deviation**2 / (abar * deviation**2 + 1 - abar)
        spread = math.sqrt((shrunk * spread) ** 2 + eta**2 * (1 - prev) / (1 - abar) * (1 - abar / prev))
    assert run(model, noise(1, 4, 40, 40)).std().item() == pytest.approx(spread, rel=0.04)
    assert (spread < 0.5 * deviation) == (eta == 0)


def test_noise_of_the_loop_continues_the_generator_of_the_picture() -> None:
    answer, steps = nonlinear_answer(4), 3
    model = one_view_model(FakeUNet(answer), num_inference_steps=steps, eta=0.5, guidance_scale=1.0)
    *_, last = model.generate(asking("a"), 11)
    generator = torch.Generator().manual_seed(11)
    x_t = torch.randn(1, 4, 4, 4, generator=generator)
    for t in model.stage.schedule.timesteps:
        x0 = model.compute_tweedie(x_t, answer(x_t, torch.tensor(t), text_of(1), None), t, *tables(model))
        x_t = model.compute_prev_state(x_t, x0, t, torch.randn(1, 4, 4, 4, generator=generator))
    torch.testing.assert_close(last.x_t_1, x_t, rtol=0, atol=1e-5)


def test_the_loop_tells_its_progress() -> None:
    model = one_view_model(FakeUNet(nonlinear_answer(4)), num_inference_steps=4)
    states = list(model.generate(asking("a"), 1))
    assert [(state.stage, state.step, state.steps) for state in states] == [(1, i, 4) for i in (1, 2, 3, 4)]
    assert [call.timestep for call in model.stage.denoiser.unet.calls] == list(model.stage.schedule.timesteps)


# ---------------------------------------------------------------------------------------------- averaging


def two_views(threshold: tuple[float, float] | None = None, **given) -> BaseModel:
    """The picture and the picture turned, without guidance, in float64."""
    model = ambiguous_model(pixel_stages(F64), **{"guidance_scale": 1.0, "num_inference_steps": 10, **given})
    open_stage(model, model.stages[0].denoiser, Conditioning(text_of(1, 2), text_of(0)), threshold)
    return model


def mean_of_two(values: torch.Tensor) -> torch.Tensor:
    """The average of a picture and a picture that is turned clockwise, as both see it."""
    canonical = (values[0] + values[1].transpose(-2, -1).flip(-2)) / 2
    return torch.stack([canonical, canonical.flip(-2).transpose(-2, -1)])


@pytest.mark.parametrize("sync", ["x0", "eps", "xt", "none"])
def test_a_step_averages_one_variable_and_no_other(sync: str) -> None:
    model, x_t, t = two_views(sync=sync), noise(2, 3, 8, 8), 400
    abar, prev = model.stage.schedule.alphas_cumprod[400].item(), model.stage.schedule.alphas_cumprod[300].item()
    average = {name: mean_of_two if name == sync else lambda values: values for name in ("x0", "eps", "xt")}
    eps = average["eps"](model.compute_noise_preds(x_t, t))
    x0 = average["x0"]((x_t - math.sqrt(1 - abar) * eps) / math.sqrt(abar))
    x_t_1 = math.sqrt(prev) * x0 + math.sqrt((1 - prev) / (1 - abar)) * (x_t - math.sqrt(abar) * x0)
    x_t_1 = average["xt"](x_t_1)
    out = model.one_step_process({"xts": x_t}, t, *tables(model))
    assert (out["x0s"] - x0).abs().max() < 1e-9
    assert (out["x_t_1"] - x_t_1).abs().max() < 1e-9
    state = StepState(1, 1, 1, out, model)
    assert (state.z0s - mean_of_two(x0)[:1]).abs().max() < 1e-9
    assert (state.z_t_1 - mean_of_two(x_t_1)[:1]).abs().max() < 1e-9


def test_thresholding_acts_before_averaging() -> None:
    model, x_t, t = two_views((0.95, 1.0)), 3 * noise(2, 3, 8, 8), 400
    abar = model.stage.schedule.alphas_cumprod[t].item()
    x0 = (x_t - math.sqrt(1 - abar) * model.compute_noise_preds(x_t, t)) / math.sqrt(abar)
    scheduler = DDIMScheduler(thresholding=True, dynamic_thresholding_ratio=0.95, sample_max_value=1.0)
    expected = mean_of_two(scheduler._threshold_sample(x0))
    out = model.one_step_process({"xts": x_t}, t, *tables(model))["x0s"]
    assert (out - expected).abs().max() < 1e-9
    assert (out - scheduler._threshold_sample(mean_of_two(x0))).abs().max() > 0.01


@pytest.mark.parametrize(("share", "averaged"), [(1.0, 10), (0.58, 6), (0.5, 5), (0.3, 3), (0.12, 1), (0.0, 0)])
@pytest.mark.parametrize("sync", ["x0", "eps", "xt"])
def test_averaging_ends_after_a_share_of_the_steps(sync: str, share: float, averaged: int) -> None:
    """Views that share their state stay one picture as long as they are averaged, and part afterwards."""
    model = two_views(sync=sync, mvd_end=share)
    states = model.denoise({"xts": mean_of_two(noise(2, 3, 8, 8))}, torch.Generator())
    apart = [(state.x_t_1[0] - state.x_t_1[1].transpose(-2, -1).flip(-2)).abs().max().item() for state in states]
    assert max(apart[:averaged], default=0.0) < 1e-9
    assert min(apart[averaged:], default=1.0) > 1e-3


def test_mvd_end_matches_none_from_there_on() -> None:
    x_t = noise(2, 3, 8, 8)
    states = list(two_views(mvd_end=0.4).denoise({"xts": x_t}, torch.Generator()))
    alone = two_views(sync="none")
    t = alone.stage.schedule.timesteps[4]
    out = alone.one_step_process({"xts": states[3].x_t_1}, t, *tables(alone))
    assert torch.equal(states[4].x_t_1, out["x_t_1"])

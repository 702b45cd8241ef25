"""Timesteps, the signal left at each, and the numbers of one step, against plain formulas and against diffusers."""

import math
from itertools import pairwise

import pytest
import torch
from diffusers import DDIMScheduler, PNDMScheduler

from guidance.schedule import (
    Schedule,
    at_timestep,
    check_schedule,
    ddim_coefficients,
    ddpm_coefficients,
    dynamic_threshold,
    posterior_variance,
)
from tests.analytic import IF_SCHEDULER, SD_SCHEDULER
from utils.errors import UserError

CONFIGS = {"sd": SD_SCHEDULER, "if": IF_SCHEDULER}


def plain_alphas_cumprod(name: str) -> list[float]:
    """abar of the trained 1000 steps, in Python's own numbers."""
    if name == "sd":
        low, high = math.sqrt(0.00085), math.sqrt(0.012)
        betas = [(low + (high - low) * i / 999) ** 2 for i in range(1000)]
    else:
        left = [math.cos((i / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 for i in range(1001)]
        betas = [min(1 - left[i + 1] / left[i], 0.999) for i in range(1000)]
    abars, product = [], 1.0
    for beta in betas:
        product *= 1 - beta
        abars.append(product)
    return abars


@pytest.mark.parametrize("name", CONFIGS)
def test_signal_left_follows_the_config(name: str) -> None:
    schedule = Schedule.from_config(CONFIGS[name], 10)
    expected = torch.tensor(plain_alphas_cumprod(name), dtype=torch.float64)
    assert schedule.alphas_cumprod.dtype == torch.float64
    torch.testing.assert_close(schedule.alphas_cumprod, expected, rtol=1e-4, atol=1e-7)


def test_timesteps_that_are_known() -> None:
    assert Schedule.from_config(SD_SCHEDULER, 50).timesteps == tuple(range(981, 0, -20))
    thirty = Schedule.from_config(SD_SCHEDULER, 30).timesteps
    assert (len(thirty), thirty[0], thirty[-2:]) == (30, 958, (34, 1))
    thirty = Schedule.from_config(IF_SCHEDULER, 30).timesteps
    assert (len(thirty), thirty[:2], thirty[-2:]) == (30, (957, 924), (33, 0))


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 20, 30, 50, 333, 600, 999])
def test_leading_timesteps(steps: int) -> None:
    for config, offset in ((SD_SCHEDULER, 1), (IF_SCHEDULER, 0)):
        expected = tuple(i * (1000 // steps) + offset for i in reversed(range(steps)))
        assert Schedule.from_config(config, steps, "leading").timesteps == expected


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 20, 30, 50, 333, 600, 999, 1000])
def test_trailing_timesteps(steps: int) -> None:
    timesteps = Schedule.from_config(SD_SCHEDULER, steps, "trailing").timesteps
    assert len(timesteps) == steps and timesteps[0] == 999
    assert all(abs(t - (1000 - i * 1000 / steps - 1)) <= 0.5 + 1e-9 for i, t in enumerate(timesteps))


@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize("name", CONFIGS)
def test_a_thousand_steps_visit_every_timestep_once(name: str, spacing: str) -> None:
    schedule = Schedule.from_config(CONFIGS[name], 1000, spacing)
    assert schedule.timesteps == tuple(range(999, -1, -1))
    assert torch.isfinite(schedule.alphas_cumprod_prev).all()


def test_the_config_says_the_spacing_unless_the_user_does() -> None:
    config = {**SD_SCHEDULER, "timestep_spacing": "trailing"}
    assert Schedule.from_config(config, 50).timesteps[0] == 999
    assert Schedule.from_config(config, 50, "leading").timesteps[0] == 981
    assert Schedule.from_config(SD_SCHEDULER, 50).timesteps[0] == 981


@pytest.mark.parametrize("steps", [1, 7, 20, 50, 999, 1000])
@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize("name", CONFIGS)
def test_each_step_ends_where_the_next_begins(name: str, spacing: str, steps: int) -> None:
    schedule = Schedule.from_config(CONFIGS[name], steps, spacing)
    for t, following in pairwise(schedule.timesteps):
        assert t > following
        assert schedule.alphas_cumprod_prev[t] == schedule.alphas_cumprod[following]
    final = {"sd": schedule.alphas_cumprod[0], "if": torch.tensor(1.0)}[name]
    assert schedule.alphas_cumprod_prev[schedule.timesteps[-1]] == final
    unvisited = sorted(set(range(1000)) - set(schedule.timesteps))
    assert schedule.alphas_cumprod_prev[unvisited].isnan().all()


def test_stable_diffusion_ends_at_the_first_abar() -> None:
    schedule = Schedule.from_config(SD_SCHEDULER, 50)
    assert schedule.alphas_cumprod_prev[1].item() == pytest.approx(0.99915, abs=1e-7)


# ---------------------------------------------------------------------------------------------- the numbers of a step


def neighbours() -> tuple[torch.Tensor, torch.Tensor]:
    schedule = Schedule.from_config(SD_SCHEDULER, 1000)
    return schedule.alphas_cumprod, schedule.alphas_cumprod_prev


def test_ddpm_coefficients_are_the_posterior_mean() -> None:
    abars, abars_prev = neighbours()
    of_xt, of_x0 = ddpm_coefficients(abars, abars_prev, posterior_variance(abars, abars_prev))
    for t in (1, 2, 40, 500, 998, 999):
        abar, prev = abars[t].item(), abars_prev[t].item()
        alpha = abar / prev
        beta = 1 - alpha
        assert of_xt[t].item() == pytest.approx(math.sqrt(alpha) * (1 - prev) / (1 - abar), rel=1e-12)
        assert of_x0[t].item() == pytest.approx(math.sqrt(prev) * beta / (1 - abar), rel=1e-12)


def test_ddpm_coefficients_keep_the_mean_and_shrink_the_variance() -> None:
    abars, abars_prev = (values[1:] for values in neighbours())
    variance = posterior_variance(abars, abars_prev)
    of_xt, of_x0 = ddpm_coefficients(abars, abars_prev, variance)
    torch.testing.assert_close(of_xt * abars.sqrt() + of_x0, abars_prev.sqrt())
    torch.testing.assert_close(of_xt**2 * (1 - abars) + variance, 1 - abars_prev)


def test_ddim_coefficients_keep_mean_and_variance_for_every_noise() -> None:
    abars, abars_prev = (values[1:] for values in neighbours())
    for eta in (0.0, 0.3, 1.0):
        variance = eta**2 * posterior_variance(abars, abars_prev)
        of_xt, of_x0 = ddim_coefficients(abars, abars_prev, variance)
        torch.testing.assert_close(of_xt * abars.sqrt() + of_x0, abars_prev.sqrt())
        torch.testing.assert_close(of_xt**2 * (1 - abars) + variance, 1 - abars_prev)


@pytest.mark.parametrize("steps", [7, 20, 50])
def test_posterior_variance_is_that_of_diffusers(steps: int) -> None:
    schedule = Schedule.from_config(SD_SCHEDULER, steps)
    scheduler = DDIMScheduler.from_config(SD_SCHEDULER)
    for t, following in pairwise(schedule.timesteps):
        ours = posterior_variance(schedule.alphas_cumprod[t], schedule.alphas_cumprod_prev[t])
        assert ours.item() == pytest.approx(scheduler._get_variance(t, following).item(), rel=1e-4)


def test_no_variance_is_left_where_the_final_alpha_is_one() -> None:
    schedule = Schedule.from_config(IF_SCHEDULER, 30)
    assert posterior_variance(schedule.alphas_cumprod[0], schedule.alphas_cumprod_prev[0]) == 0


def test_at_timestep_reads_tables_and_takes_numbers() -> None:
    table, like = torch.arange(1000, dtype=torch.float64), torch.zeros(2, 3, 4, 4)
    assert at_timestep(table, 7, like).tolist() == 7.0
    assert at_timestep(table, torch.tensor([7, 9]), like).tolist() == [[[[7.0]]], [[[9.0]]]]
    assert at_timestep(0.25, 7, like).tolist() == 0.25
    assert at_timestep(table, 7, like).dtype == torch.float32
    assert at_timestep(table, 7, like.double()).dtype == torch.float64


# ---------------------------------------------------------------------------------------------- dynamic thresholding


@pytest.mark.parametrize("max_value", [1.0, 1.5])
@pytest.mark.parametrize("scale", [0.2, 0.6, 1.0, 5.0])
def test_dynamic_threshold_is_that_of_diffusers(scale: float, max_value: float) -> None:
    scheduler = DDIMScheduler(thresholding=True, dynamic_thresholding_ratio=0.95, sample_max_value=max_value)
    spread = torch.tensor([0.3, 1.0, 3.0]).reshape(3, 1, 1, 1)  # every picture has a limit of its own
    x0s = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * scale * spread
    ours = dynamic_threshold(x0s, 0.95, max_value)
    torch.testing.assert_close(ours, scheduler._threshold_sample(x0s), rtol=0, atol=1e-6)
    assert ours.abs().max() <= 1


def test_dynamic_threshold_leaves_what_is_in_range() -> None:
    x0s = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert torch.equal(dynamic_threshold(x0s, 0.95, 1.5), x0s)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bad", [float("inf"), -float("inf"), float("nan")])
@pytest.mark.parametrize("count", [1, 100, 192])
def test_dynamic_threshold_makes_no_picture_of_infinities(bad: float, count: int, dtype: torch.dtype) -> None:
    """However few they are: the quantile may not see them."""
    x0s = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=dtype)
    x0s[1].view(-1)[:count] = bad
    out = dynamic_threshold(x0s, 0.95, 1.5)
    assert out.dtype == dtype and torch.equal(out[0], x0s[0])
    assert out[1].view(-1)[:count].isnan().all()


# ---------------------------------------------------------------------------------------------- what cannot be stepped

ZERO_SNR = {**SD_SCHEDULER, "prediction_type": "v_prediction", "rescale_betas_zero_snr": True}


@pytest.mark.parametrize(
    ("config", "steps", "spacing", "remedy"),
    [
        (ZERO_SNR, 20, "trailing", "take --timestep_spacing leading"),
        ({**ZERO_SNR, "timestep_spacing": "trailing"}, 20, None, "take --timestep_spacing leading"),
        ({**ZERO_SNR, "timestep_spacing": "linspace"}, 20, None, "take --timestep_spacing leading"),
        (ZERO_SNR, 1000, None, "take fewer steps"),
        (SD_SCHEDULER, 1001, None, "take fewer"),
        ({**SD_SCHEDULER, "num_train_timesteps": 100}, 101, "leading", "100 that the weights"),
    ],
)
def test_steps_that_cannot_be_taken_are_refused(config: dict, steps: int, spacing: str | None, remedy: str) -> None:
    with pytest.raises(UserError, match=remedy):
        check_schedule(config, steps, spacing)


@pytest.mark.parametrize("steps", [1, 3, 20, 250])
@pytest.mark.parametrize("spacing", [None, "leading", "trailing"])
def test_steps_that_can_be_taken_pass(steps: int, spacing: str | None) -> None:
    for config in (SD_SCHEDULER, IF_SCHEDULER, *([] if spacing == "trailing" else [ZERO_SNR])):
        check_schedule(config, steps, spacing)
        schedule = Schedule.from_config(config, steps, spacing)
        assert (schedule.alphas_cumprod[list(schedule.timesteps)] > 0).all()


def test_a_schedulers_own_config_serves_as_well_as_its_file() -> None:
    """A scheduler marks what its file left open; an asked for spacing counts there, too."""
    plain = {name: value for name, value in SD_SCHEDULER.items() if name != "timestep_spacing"}
    marked = PNDMScheduler.from_config(plain).config
    assert Schedule.from_config(marked, 4, "trailing").timesteps == (999, 749, 499, 249)

"""The noise schedule of a run, as arrays, and the coefficients of one step."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from diffusers import DDIMScheduler

from utils.errors import UserError

FEW_STEPS = 15  # with fewer, a multistep solver's last step is of first order
NOT_ASKED = ("variance_type", "_use_default_values")  # of a scheduler's config: of no use here, or in the way


@dataclass(frozen=True)
class Schedule:
    """Which timesteps a run visits and how much signal is left at each.

    Attributes:
        timesteps: descending, of the trained 1000.
        alphas_cumprod: abar, float64 ``[1000]``.
        alphas_cumprod_prev: abar at the timestep visited after this one, float64 ``[1000]``; at the last one the
            scheduler's ``final_alpha_cumprod`` (abar_0 for Stable Diffusion, 1 for IF); NaN where no step starts.
    """

    timesteps: tuple[int, ...]
    alphas_cumprod: torch.Tensor
    alphas_cumprod_prev: torch.Tensor

    @classmethod
    def from_config(cls, config: Mapping[str, Any], num_steps: int, spacing: str | None = None) -> "Schedule":
        """Build the schedule that a pipeline's own scheduler config describes.

        The neighbours come from the list of timesteps itself: ``t - 1000 // num_steps``, the usual shortcut, is off by
        one for "trailing" spacing where the steps do not divide 1000.

        Args:
            config: of any diffusers scheduler (DDIM, PNDM, DDPM, ...).
            num_steps: 1 to ``num_train_timesteps``.
            spacing: "leading" or "trailing"; None takes the config's own.
        """
        scheduler = ddim_scheduler({**config, "timestep_spacing": spacing} if spacing else config)
        scheduler.set_timesteps(num_steps)
        overshoot = max(0, int(scheduler.timesteps.max()) - (len(scheduler.alphas_cumprod) - 1))
        timesteps = scheduler.timesteps - overshoot  # 1000 steps and steps_offset 1 would start at 1000
        alphas_cumprod = scheduler.alphas_cumprod.double()
        alphas_cumprod_prev = torch.full_like(alphas_cumprod, float("nan"))
        alphas_cumprod_prev[timesteps[:-1]] = alphas_cumprod[timesteps[1:]]
        alphas_cumprod_prev[timesteps[-1]] = scheduler.final_alpha_cumprod.double()
        return cls(tuple(timesteps.tolist()), alphas_cumprod, alphas_cumprod_prev)

    def look_ahead(self, before: int, timestep: int) -> float:
        """Return h / (2 h_before), how far DPM-Solver++(2M) looks ahead along the last change of x0.

        h is the width of the step from ``timestep`` on in lambda = log(alpha / sigma), h_before that of the one to it.
        The last step looks nowhere (0) if it ends without noise, where h is infinite, or if there are fewer than 15
        steps, as diffusers' scheduler has it.

        Args:
            before, timestep: neighbours in ``timesteps``.
        """
        after = self.alphas_cumprod_prev[timestep]
        if timestep == self.timesteps[-1] and (after >= 1 or len(self.timesteps) < FEW_STEPS):
            return 0.0
        here = half_log_snr(self.alphas_cumprod[timestep])
        return (half_log_snr(after) - here) / (here - half_log_snr(self.alphas_cumprod[before])) / 2


def half_log_snr(abar: torch.Tensor) -> float:
    """Return lambda = log(alpha / sigma) of an abar, infinite at 0 and 1."""
    return (torch.logit(abar) / 2).item()


def ddim_scheduler(config: Mapping[str, Any]) -> DDIMScheduler:
    """Return diffusers' DDIM scheduler with the betas and the final alpha of any pipeline's own scheduler config."""
    settings: Any = {name: value for name, value in config.items() if name not in NOT_ASKED}
    return cast(DDIMScheduler, DDIMScheduler.from_config(settings))


def alphas_cumprod(config: Mapping[str, Any]) -> torch.Tensor:
    """Return abar of every trained timestep, float64 ``[1000]``, by any scheduler config."""
    return ddim_scheduler(config).alphas_cumprod.double()


def check_schedule(config: Mapping[str, Any], num_steps: int, spacing: str | None = None) -> None:
    """Check that a run can take its steps with these weights.

    Zero terminal SNR leaves no signal at the last trained timestep: abar = 0. A step from there would divide by it.

    Args:
        config, num_steps, spacing: as :meth:`Schedule.from_config` takes them.

    Raises:
        UserError: more steps than the weights know, or a visited timestep without signal.
    """
    if num_steps > config["num_train_timesteps"]:
        raise UserError(
            f"{num_steps} steps are more than the {config['num_train_timesteps']} that the weights were trained with: "
            "take fewer."
        )
    schedule = Schedule.from_config(config, num_steps, spacing)
    if (schedule.alphas_cumprod[list(schedule.timesteps)] <= 0).any():
        used = spacing or config.get("timestep_spacing", "leading")
        remedy = "fewer steps" if used == "leading" else "--timestep_spacing leading"
        raise UserError(
            f"timestep spacing {used} starts {num_steps} steps at timestep {schedule.timesteps[0]}, where these "
            f"weights leave no signal to step from (zero terminal SNR): take {remedy}."
        )


def ddim_coefficients(abar: torch.Tensor, abar_prev: torch.Tensor, variance: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return (a, b) of x_prev = a x_t + b x0 by DDIM (Song et al., 2021, eq. 12); ``variance`` 0 is deterministic."""
    direction = torch.sqrt((1 - abar_prev - variance).clamp(min=0) / (1 - abar))
    return direction, torch.sqrt(abar_prev) - direction * torch.sqrt(abar)


def ddpm_coefficients(abar: torch.Tensor, abar_prev: torch.Tensor, variance: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return (a, b) of the DDPM posterior mean (Ho et al., 2020, eq. 7), which no variance moves."""
    alpha = abar / abar_prev
    return torch.sqrt(alpha) * (1 - abar_prev) / (1 - abar), torch.sqrt(abar_prev) * (1 - alpha) / (1 - abar)


STEP_COEFFICIENTS = {"ddim": ddim_coefficients, "ddpm": ddpm_coefficients, "dpmpp_2m": ddim_coefficients}


def posterior_variance(abar: torch.Tensor, abar_prev: torch.Tensor) -> torch.Tensor:
    """Return the variance of the DDPM posterior, (1 - abar_prev) / (1 - abar) (1 - abar / abar_prev)."""
    return (1 - abar_prev) / (1 - abar) * (1 - abar / abar_prev)


def at_timestep(values: torch.Tensor | float, timestep: torch.Tensor | int, like: torch.Tensor) -> torch.Tensor:
    """Look a table up so that the result multiplies a batch of pictures.

    Args:
        values: table ``[1000]`` indexed by timestep, or one number that already is the value.
        timestep: one for all, or ``[B]``.
        like: pictures ``[B, C, h, w]``; gives device and dtype.

    Returns:
        ``[B, 1, 1, 1]``, or the one number for all.
    """
    table = values if isinstance(values, torch.Tensor) else torch.tensor(values, dtype=torch.float64)
    if table.ndim:
        table = table[timestep if isinstance(timestep, int) else timestep.to(table.device).long()]
    return per_picture(table, like)


def per_picture(coefficient: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Shape ``[B]`` numbers so that they multiply pictures ``like`` ``[B, C, h, w]``.

    One number for all stays on the CPU: it goes along with the call, and nothing waits for the device.
    """
    coefficient = coefficient.to(like.dtype)
    return coefficient.to(like.device).reshape(-1, 1, 1, 1) if coefficient.ndim else coefficient


def dynamic_threshold(x0s: torch.Tensor, ratio: float, max_value: float) -> torch.Tensor:
    """Clip each picture to its own quantile and rescale it (Saharia et al., 2022, section 2.3).

    Infinities become NaN: clipped they would look like a picture.

    Args:
        x0s: ``[N, C, h, w]``, meant to lie in [-1, 1].
        ratio: quantile of the absolute values, IF: 0.95.
        max_value: largest quantile that is honoured, IF: 1.5 in stage 1, 1.0 in stage 2.
    """
    limits = torch.quantile(x0s.abs().flatten(1), ratio, dim=1).clamp(1.0, max_value).reshape(-1, 1, 1, 1)
    return torch.where(x0s.isinf(), torch.nan, x0s.clamp(-limits, limits) / limits)

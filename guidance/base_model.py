"""What every app shares: Tweedie's formula, the step, and the loop that synchronises the views.

Shapes: N views, canonical tensors ``[1, C, H, W]``, instance tensors ``[N, C, h, w]``.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from guidance.denoisers import Conditioning, Denoiser
from guidance.schedule import (
    STEP_COEFFICIENTS,
    Schedule,
    at_timestep,
    dynamic_threshold,
    per_picture,
    posterior_variance,
)
from guidance.synchronization import SYNCS
from utils.options import Options

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class StepState:
    """What the loop yields after a step.

    Attributes:
        stage: 1, or 2 in the second stage of a cascade.
        step: number of finished steps of this stage.
        steps: all steps of this stage.
        x0s, z0s: this step's clean estimates, instance and canonical.
        x_t_1, z_t_1: the stepped states, instance and canonical.
    """

    stage: int
    step: int
    steps: int
    x0s: torch.Tensor
    z0s: torch.Tensor
    x_t_1: torch.Tensor
    z_t_1: torch.Tensor


class BaseModel(ABC):
    """A diffusion synchronisation app.

    A subclass says how canonical and instance space map onto each other (:meth:`init_mapper`, :meth:`forward_mapping`,
    :meth:`inverse_mapping`), how a picture is made of one or more stages (:meth:`generate`) and how it is shown.

    Attributes set by :meth:`begin_stage` for the stage at hand: ``denoiser``, ``conditioning``, ``schedule``,
    ``threshold`` (ratio and maximum of dynamic thresholding, or None).
    """

    denoiser: Denoiser
    conditioning: Conditioning
    schedule: Schedule
    threshold: tuple[float, float] | None

    def __init__(self, options: Options):
        self.options = options
        self.synchronized = SYNCS[options.sync]
        self.mapper: list[Any] = []
        self.init_mapper()

    # ------------------------------------------------------------------------------ what an app defines

    @classmethod
    @abstractmethod
    def load(cls, options: Options, sources: dict[str, Any], runtime: Any) -> "BaseModel":
        """Load the weights named by ``options.PATHS`` and return the model.

        Args:
            options: complete, see :meth:`utils.options.Options.with_defaults`.
            sources: path option -> :class:`utils.model_source.ModelSource`.
            runtime: device, dtype and offloading, :class:`utils.runtime.Runtime`.
        """

    @abstractmethod
    def encode(self, prompts: list[str]) -> None:
        """Encode all prompts of the run, once, before the first picture; frees what only encoding needs."""

    @abstractmethod
    def init_mapper(self) -> None:
        """Set ``self.mapper``, one entry per view."""

    @abstractmethod
    def forward_mapping(self, z_t: torch.Tensor, bg: torch.Tensor | None = None) -> torch.Tensor:
        """Project f: ``[1, C, H, W]`` -> ``[N, C, h, w]``; ``bg`` keeps its values where the canvas covers nothing."""

    @abstractmethod
    def inverse_mapping(self, x_ts: torch.Tensor) -> torch.Tensor:
        """Unproject and average g: ``[N, C, h, w]`` -> ``[1, C, H, W]``, the mean weighted by coverage."""

    @abstractmethod
    def generate(self, prompts: tuple[str, ...], seed: int) -> Iterator[StepState]:
        """Make one picture; the last state yielded is the finished one."""

    @abstractmethod
    def render(self, state: StepState, files: list[dict[str, Any]]) -> dict[str, Image.Image]:
        """Return the pictures of a finished state by file name, for the ``files`` planned in ``run.json``."""

    @abstractmethod
    def preview(self, state: StepState) -> Image.Image:
        """Return one picture of what x0 looks like at this step."""

    @abstractmethod
    def latents(self) -> Tensors:
        """Return the float32 tensors that ``--save_latents`` keeps of the picture made last."""

    # ------------------------------------------------------------------------------ one step

    def compute_noise_preds(self, xts: torch.Tensor, timestep: torch.Tensor | int) -> torch.Tensor:
        """Predict eps ``[N, C, h, w]`` of every view with guidance, ``options.view_batch_size`` views at a time."""
        return self.denoiser.predict_eps(
            xts, int(timestep), self.conditioning, self.options.guidance_scale, self.options.view_batch_size
        )

    def compute_tweedie(
        self,
        xts: torch.Tensor,
        eps: torch.Tensor,
        timestep: torch.Tensor | int,
        alphas: torch.Tensor | float,
        sigmas: torch.Tensor | float,
    ) -> torch.Tensor:
        """Return x0 = (x_t - sigma_t eps) / alpha_t, Tweedie's formula.

        Args:
            xts, eps: ``[N, C, h, w]``.
            timestep: one for all views, or ``[N]``.
            alphas, sigmas: sqrt(abar) and sqrt(1 - abar), tables ``[1000]`` or the numbers at ``timestep``.
        """
        return (xts - at_timestep(sigmas, timestep, xts) * eps) / at_timestep(alphas, timestep, xts)

    def compute_prev_state(
        self,
        xts: torch.Tensor,
        pred_x0s: torch.Tensor,
        timestep: torch.Tensor | int,
        noise: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return x_prev by ``options.sampling_method``.

        Deterministic DDIM: sqrt(abar_prev) x0 + sqrt((1 - abar_prev) / (1 - abar_t)) (x_t - sqrt(abar_t) x0).

        Args:
            xts, pred_x0s: ``[N, C, h, w]``.
            timestep: of the schedule; one for all views, or ``[N]``.
            noise: standard normal ``[N, C, h, w]``, scaled here by ``options.eta``; needed where eta is above 0.
        """
        index = torch.as_tensor(timestep).long().cpu()
        abar, abar_prev = self.schedule.alphas_cumprod[index], self.schedule.alphas_cumprod_prev[index]
        variance = self.options.eta**2 * posterior_variance(abar, abar_prev)
        of_xt, of_x0 = STEP_COEFFICIENTS[self.options.sampling_method](abar, abar_prev, variance)
        x_prev = per_picture(of_xt, xts) * xts + per_picture(of_x0, xts) * pred_x0s
        return x_prev if noise is None else x_prev + per_picture(variance.sqrt(), xts) * noise

    def one_step_process(
        self,
        input_params: Tensors,
        timestep: torch.Tensor | int,
        alphas: torch.Tensor,
        sigmas: torch.Tensor,
        synchronize: bool = True,
        noise: torch.Tensor | None = None,
    ) -> Tensors:
        """Take one step of all views.

        Args:
            input_params: ``{"xts": [N, C, h, w]}``.
            timestep, alphas, sigmas: as in :meth:`compute_tweedie`.
            synchronize: average the variable that ``options.sync`` names; False leaves every view to itself.
            noise: as in :meth:`compute_prev_state`.

        Returns:
            ``x0s`` and ``x_t_1`` ``[N, C, h, w]``, ``z0s`` and ``z_t_1`` ``[1, C, H, W]``.
        """
        averaged = self.synchronized if synchronize else frozenset()
        xts = input_params["xts"]
        eps = self._average("eps", self.compute_noise_preds(xts, timestep), averaged)
        x0s = self.compute_tweedie(xts, eps, timestep, alphas, sigmas)
        if self.threshold is not None:
            x0s = dynamic_threshold(x0s, *self.threshold)
        x0s = self._average("x0", x0s, averaged)
        x_t_1 = self._average("xt", self.compute_prev_state(xts, x0s, timestep, noise), averaged)
        return {"x0s": x0s, "z0s": self.inverse_mapping(x0s), "x_t_1": x_t_1, "z_t_1": self.inverse_mapping(x_t_1)}

    def _average(self, variable: str, values: torch.Tensor, averaged: frozenset[str]) -> torch.Tensor:
        if variable not in averaged:
            return values
        return self.forward_mapping(self.inverse_mapping(values), bg=values)

    # ------------------------------------------------------------------------------ the loop

    def begin_stage(
        self, denoiser: Denoiser, conditioning: Conditioning, threshold: tuple[float, float] | None = None
    ) -> None:
        """Set the network, what it is told, and the schedule for the steps that follow."""
        self.denoiser, self.conditioning, self.threshold = denoiser, conditioning, threshold
        self.schedule = Schedule.from_config(
            denoiser.scheduler_config, self.options.num_inference_steps, self.options.timestep_spacing
        )

    def start(
        self, canonical_shape: tuple[int, ...], instance_shape: tuple[int, ...], generator: torch.Generator
    ) -> torch.Tensor:
        """Draw x_T ``[N, C, h, w]``: f of one canonical noise, or one independent draw for all views.

        Args:
            canonical_shape: ``(1, C, H, W)``.
            instance_shape: ``(N, C, h, w)``.
            generator: the picture's own, on the CPU.
        """
        if self.options.initialize_xt_from_zt:
            return self.forward_mapping(self._randn(canonical_shape, generator))
        return self._randn(instance_shape, generator)

    @torch.no_grad()
    def denoise(self, xts: torch.Tensor, stage: int, generator: torch.Generator) -> Iterator[StepState]:
        """Run all steps of the stage begun last, from x_T ``[N, C, h, w]``; neither prints nor saves."""
        steps = len(self.schedule.timesteps)
        alphas, sigmas = self.schedule.alphas_cumprod.sqrt(), (1 - self.schedule.alphas_cumprod).sqrt()
        last_synchronized = round(self.options.mvd_end * steps)
        canonical_shape = tuple(self.inverse_mapping(xts).shape)
        for index, timestep in enumerate(self.schedule.timesteps):
            noise = None
            if self.options.eta > 0:
                noise = self.forward_mapping(self._randn(canonical_shape, generator))
            out = self.one_step_process(
                {"xts": xts}, timestep, alphas, sigmas, synchronize=index < last_synchronized, noise=noise
            )
            xts = out["x_t_1"]
            yield StepState(stage, index + 1, steps, **out)

    def _randn(self, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        """Draw on the CPU in float32, whatever the device, so that a seed means the same picture everywhere."""
        return torch.randn(shape, generator=generator, dtype=torch.float32).to(self.denoiser.device)


def mean_dtype(values: torch.Tensor) -> torch.dtype:
    """Return the dtype for sums over views: float64, in which the mean of equal float32 values is exact (no MPS)."""
    return torch.float32 if values.device.type == "mps" else torch.float64

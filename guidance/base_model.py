"""What every app shares: Tweedie's formula, the step, and the loop that synchronises the views.

Shapes: N views, canonical tensors ``[1, C, H, W]``, instance tensors ``[N, C, h, w]``.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image

from guidance.networks.denoisers import Conditioning, NoisePredictor
from guidance.schedule import (
    STEP_COEFFICIENTS,
    Schedule,
    at_timestep,
    dynamic_threshold,
    per_picture,
    posterior_variance,
)
from guidance.shared_options import SharedOptions, is_guided
from guidance.synchronization import ALONE, Case, Evaluation, Tensors, Term
from utils.images import to_pil, to_unit_range

logger = logging.getLogger(__name__)
CARRIED = {"x_t_1": "xts", "z_t_1": "zts"}  # a step's result -> the next step's input


@dataclass
class Stage:
    """What the steps at hand need to know; a picture is made in one stage or in several.

    Attributes:
        denoiser: the network.
        conditioning: what it is told.
        schedule: the timesteps, one step for each.
        case: how the views are synchronised.
        guidance_scale: of the steps inside ``guidance_interval``; 1 is no guidance.
        guidance_interval: share of the steps that has guidance, None for all.
        noise_space: whether noise of a step is drawn on the canvas or for each view.
        threshold: ratio and maximum of dynamic thresholding of x0, None for none.
        number: 1, or higher in the later stages of a cascade.
        history: what a multistep solver remembers of the step before: case and term -> its timestep and x0.
    """

    denoiser: NoisePredictor
    conditioning: Conditioning
    schedule: Schedule
    case: Case
    guidance_scale: float
    guidance_interval: list[float] | None = None
    noise_space: str = "canonical"
    threshold: tuple[float, float] | None = None
    number: int = 1
    history: dict[tuple[int, Term], tuple[int, torch.Tensor]] = field(default_factory=dict)

    @classmethod
    def from_options(cls, options: SharedOptions, denoiser: NoisePredictor, conditioning: Conditioning) -> "Stage":
        """Return the one stage of a picture whose options say everything about it."""
        config, steps = denoiser.scheduler_config, options.num_inference_steps
        return cls(
            denoiser,
            conditioning,
            Schedule.from_config(config, steps, options.timestep_spacing),
            options.case,
            options.guidance_scale,
            options.guidance_interval,
            options.noise_space,
        )

    def guidance_at(self, step_index: int) -> float:
        """Return the guidance scale of a step, counted from 0: 1 outside of the interval."""
        guided = is_guided(self.guidance_interval, step_index, len(self.schedule.timesteps))
        return self.guidance_scale if guided else 1.0


@dataclass(frozen=True)
class StepState:
    """What the loop yields after a step; read it before the next one.

    Attributes:
        stage: 1, or higher in the later stages of a cascade.
        step: number of finished steps of this stage.
        steps: all steps of this stage.
        values: what :meth:`BaseModel.one_step_process` returned.
        model: maps values into the space in which they are asked for.
    """

    stage: int
    step: int
    steps: int
    values: Tensors
    model: "BaseModel"

    @property
    def x0s(self) -> torch.Tensor:
        """This step's clean estimates, instance ``[N, C, h, w]``."""
        return self._instance("x0s", "z0s")

    @property
    def z0s(self) -> torch.Tensor:
        """This step's clean estimate, canonical ``[1, C, H, W]``."""
        return self._canonical("x0s", "z0s")

    @property
    def x_t_1(self) -> torch.Tensor:
        """The stepped state, instance ``[N, C, h, w]``."""
        return self._instance("x_t_1", "z_t_1")

    @property
    def z_t_1(self) -> torch.Tensor:
        """The stepped state, canonical ``[1, C, H, W]``."""
        return self._canonical("x_t_1", "z_t_1")

    def preview(self) -> Image.Image:
        """Return one RGB picture of what x0 looks like at this step."""
        return self.model.preview(self)

    def _instance(self, x: str, z: str) -> torch.Tensor:
        return self.values[x] if x in self.values else self.model.forward_mapping(self.values[z])

    def _canonical(self, x: str, z: str) -> torch.Tensor:
        return self.values[z] if z in self.values else self.model.inverse_mapping(self.values[x])


class BaseModel(ABC):
    """A diffusion synchronisation app.

    A subclass says how canonical and instance space map onto each other (:meth:`init_mapper`, :meth:`forward_mapping`,
    :meth:`inverse_mapping`); with that it can take steps. To serve the command line it also offers what
    :class:`guidance.app.Model` lists.

    Attributes:
        options: complete.
        stage: what the steps at hand need to know, set by :meth:`open_stage`.
        step_index: of the step at hand, counted from 0 in its stage.
        mapper: one entry per view.
        view_batch_size: views per network call; that of the options until a GPU's memory is full.
    """

    stage: Stage

    def __init__(self, options: SharedOptions):
        self.options = options
        self.step_index, self.view_batch_size = 0, options.view_batch_size
        self.mapper: list[Any] = []
        self.init_mapper()

    # ------------------------------------------------------------------------------ what an app defines

    @abstractmethod
    def init_mapper(self) -> None:
        """Set ``self.mapper``, one entry per view."""

    @abstractmethod
    def forward_mapping(self, z_t: torch.Tensor, bg: torch.Tensor | None = None) -> torch.Tensor:
        """Project f: ``[1, C, H, W]`` -> ``[N, C, h, w]``; ``bg`` keeps its values where the canvas covers nothing."""

    @abstractmethod
    def inverse_mapping(self, x_ts: torch.Tensor) -> torch.Tensor:
        """Unproject and average g: ``[N, C, h, w]`` -> ``[1, C, H, W]``, the mean weighted by coverage."""

    def project_noise(self, noise: torch.Tensor) -> torch.Tensor:
        """Look at white noise through the views: ``[1, C, H, W]`` -> ``[N, C, h, w]``, white again in every view.

        This serves for x_T and for the noise of each step. A projection that interpolates takes variance away, so it
        needs another way than :meth:`forward_mapping`.
        """
        return self.forward_mapping(noise)

    def noise_shape(self, states: Tensors) -> tuple[int, ...]:
        """Return the shape of the white noise that :meth:`project_noise` takes: of the canvas.

        Args:
            states: as ``input_params`` of :meth:`one_step_process`.
        """
        return tuple((states["zts"] if "zts" in states else self.inverse_mapping(states["xts"])).shape)

    def set_step(self, step_index: int) -> None:
        """Go to a step of the stage, counted from 0; a mapping that changes does so here."""
        self.step_index = step_index

    def preview(self, state: StepState) -> Image.Image:
        """Return one RGB picture of what x0 looks like at this step: the canvas, if it is one of pixels."""
        return to_pil(to_unit_range(state.z0s[0]))

    def figures(self) -> dict[str, float]:
        """Return what ``render`` measured of the picture rendered last, by name: nothing by default."""
        return {}

    # ------------------------------------------------------------------------------ one step

    def compute_noise_preds(self, xts: torch.Tensor, timestep: torch.Tensor | int) -> torch.Tensor:
        """Predict eps ``[N, C, h, w]`` of every view with guidance, ``view_batch_size`` views at a time.

        Where they do not fit into a GPU's memory, half as many are tried, then and from then on; eps stays the same.
        """
        stage = self.stage
        guidance_scale = stage.guidance_at(self.step_index)
        while True:
            try:
                return stage.denoiser.predict_eps(
                    xts, int(timestep), stage.conditioning, guidance_scale, self.view_batch_size
                )
            except torch.OutOfMemoryError:
                if self.view_batch_size == 1:
                    raise
            self.view_batch_size = min(self.view_batch_size, len(xts)) // 2 or 1
            logger.warning("the GPU's memory is full: from now on --view_batch_size %d", self.view_batch_size)
            torch.cuda.empty_cache()

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
        """Return x_prev by ``options.sampling_method``; "dpmpp_2m" is DDIM's step from an x0 of :meth:`extrapolate`.

        Deterministic DDIM: sqrt(abar_prev) x0 + sqrt((1 - abar_prev) / (1 - abar_t)) (x_t - sqrt(abar_t) x0).

        Args:
            xts, pred_x0s: ``[N, C, h, w]``.
            timestep: of the schedule; one for all views, or ``[N]``.
            noise: standard normal ``[N, C, h, w]``, scaled here by ``options.eta``; needed where eta is above 0.
        """
        index, schedule = timestep if isinstance(timestep, int) else timestep.long().cpu(), self.stage.schedule
        abar, abar_prev = schedule.alphas_cumprod[index], schedule.alphas_cumprod_prev[index]
        variance = self.options.eta**2 * posterior_variance(abar, abar_prev)
        of_xt, of_x0 = STEP_COEFFICIENTS[self.options.sampling_method](abar, abar_prev, variance)
        x_prev = per_picture(of_xt, xts) * xts + per_picture(of_x0, xts) * pred_x0s
        return x_prev if noise is None else x_prev + per_picture(variance.sqrt(), xts) * noise.to(xts.dtype)

    def extrapolate(self, x0s: torch.Tensor, timestep: torch.Tensor | int, step: tuple[int, Term]) -> torch.Tensor:
        """Return the x0 to step with: x0 itself, or with "dpmpp_2m" one that looks ahead by the x0 of the step before.

        DPM-Solver++(2M) (Lu et al., 2022, algorithm 2): D = x0 + h / (2 h_before) (x0 - x0_before), h in log-SNR / 2.
        The first step of a stage has none before it, and the last one does without (:meth:`Schedule.look_ahead`).

        Args:
            x0s: ``[N, C, h, w]`` or canonical, averaged where the case averages.
            timestep: one for all views.
            step: number of the case and the term of this step: each remembers its own x0.
        """
        if self.options.sampling_method != "dpmpp_2m":
            return x0s
        before = self.stage.history.get(step)
        self.stage.history[step] = int(timestep), x0s
        if before is None:
            return x0s
        weight = self.stage.schedule.look_ahead(before[0], int(timestep))
        return x0s + weight * (x0s - before[1])

    def one_step_process(
        self,
        input_params: Tensors,
        timestep: torch.Tensor | int,
        alphas: torch.Tensor,
        sigmas: torch.Tensor,
        case: Case | None = None,
        noise: torch.Tensor | None = None,
    ) -> Tensors:
        """Take one step of all views: predict, Tweedie, average on the canvas, look again through the views, step.

        The five happen in the order that the case's formula says (:mod:`guidance.synchronization`); in the
        assignment's, ``S(x, A(T(x, e(x))))`` with A = f(g(.)), in the one above.

        Args:
            input_params: the carried states, ``xts`` ``[N, C, h, w]``, ``zts`` ``[1, C, H, W]``, or both.
            timestep, alphas, sigmas: as in :meth:`compute_tweedie`.
            case: how to synchronise; by default as the stage says.
            noise: standard normal, of the views or of the canvas as the stage says; scaled by ``options.eta``.

        Returns:
            The clean estimates in the space in which the step took them, ``x0s`` or ``z0s``, where the views see an
            average also that, ``z0s``; and the carried states after the step, ``x_t_1``, ``z_t_1``, or both.
        """
        case = case or self.stage.case

        def predict(x_t: torch.Tensor) -> torch.Tensor:
            return self.compute_noise_preds(x_t, timestep)

        def tweedie(x_t: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
            x0 = self.compute_tweedie(x_t, eps, timestep, alphas, sigmas)
            return x0 if self.stage.threshold is None else dynamic_threshold(x0, *self.stage.threshold)

        def step(x_t: torch.Tensor, x0: torch.Tensor, term: Term) -> torch.Tensor:
            target = self.extrapolate(x0, timestep, (case.number, term))
            return self.compute_prev_state(x_t, target, timestep, self._noise_of(term, noise))

        return Evaluation(predict, tweedie, self.inverse_mapping, self.forward_mapping, step).run(case, input_params)

    def _noise_of(self, step: Term, noise: torch.Tensor | None) -> torch.Tensor | None:
        """Return a step's noise in the space in which it steps."""
        if noise is None or step.canonical or self.stage.noise_space == "instance":
            return noise
        return self.project_noise(noise)

    # ------------------------------------------------------------------------------ the loop

    def open_stage(self, stage: Stage) -> None:
        """Set what the steps that follow need to know."""
        self.stage, self.step_index = stage, 0

    def initial_states(
        self, canonical_shape: tuple[int, ...], instance_shape: tuple[int, ...], generator: torch.Generator
    ) -> Tensors:
        """Draw the carried states at T: one canonical noise seen through the views, or one draw for all views.

        Args:
            canonical_shape: ``(1, C, H, W)``.
            instance_shape: ``(N, C, h, w)``.
            generator: the picture's own, on the CPU.

        Returns:
            As ``input_params`` of :meth:`one_step_process`.
        """
        states, carried = {}, self.stage.case.carried
        if not self.options.initialize_xt_from_zt:
            states["xts"] = self._randn(instance_shape, generator)
        if self.options.initialize_xt_from_zt or "zts" in carried:
            states["zts"] = self._randn(canonical_shape, generator)
        if "xts" in carried and "xts" not in states:
            states["xts"] = self.project_noise(states["zts"])
        return {name: states[name] for name in carried}

    @torch.inference_mode()
    def denoise(self, states: Tensors, generator: torch.Generator) -> Iterator[StepState]:
        """Go all steps of the stage at hand, from the states at T; neither prints nor saves."""
        stage, schedule = self.stage, self.stage.schedule
        steps = len(schedule.timesteps)
        alphas, sigmas = schedule.alphas_cumprod.sqrt(), (1 - schedule.alphas_cumprod).sqrt()
        last_synchronized = round(self.options.mvd_end * steps)
        noise_shape = self._step_noise_shape(states) if self.options.eta > 0 else None
        for index, timestep in enumerate(schedule.timesteps):
            self.set_step(index)
            case = stage.case if index < last_synchronized else ALONE
            noise = None if noise_shape is None else self._randn(noise_shape, generator)
            if case is ALONE and index == last_synchronized and stage.case.canonical:
                states = {"xts": self.forward_mapping(states["zts"])}  # the views part from what they share
            values = self.one_step_process(states, timestep, alphas, sigmas, case, noise)
            states = {CARRIED[name]: value for name, value in values.items() if name in CARRIED}
            yield StepState(stage.number, index + 1, steps, values, self)

    def _step_noise_shape(self, states: Tensors) -> tuple[int, ...]:
        """Return the shape of a step's noise: of all views, or of what they see noise through."""
        return tuple(states["xts"].shape) if self.stage.noise_space == "instance" else self.noise_shape(states)

    def _randn(self, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        """Draw on the CPU in float32, whatever the device, so that a seed means the same picture everywhere."""
        return torch.randn(shape, generator=generator, dtype=torch.float32).to(self.stage.denoiser.device)


def mean_dtype(device: torch.device) -> torch.dtype:
    """Return the dtype for sums over views: float64, in which the mean of equal float32 values is exact (no MPS)."""
    return torch.float32 if device.type == "mps" else torch.float64

"""What every app shares: Tweedie's formula, the step, and the loop that synchronises the views.

Shapes: N views, canonical tensors ``[1, C, H, W]``, instance tensors ``[N, C, h, w]``.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from guidance.networks.denoisers import Conditioning, Denoiser
from guidance.schedule import (
    STEP_COEFFICIENTS,
    Schedule,
    at_timestep,
    dynamic_threshold,
    per_picture,
    posterior_variance,
)
from guidance.synchronization import ALONE, Case
from utils.options import Options

Tensors = dict[str, torch.Tensor]
logger = logging.getLogger(__name__)
CARRIED = {"x_t_1": "xts", "z_t_1": "zts"}  # a step's result -> the next step's input


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

    def _instance(self, x: str, z: str) -> torch.Tensor:
        return self.values[x] if x in self.values else self.model.forward_mapping(self.values[z])

    def _canonical(self, x: str, z: str) -> torch.Tensor:
        return self.values[z] if z in self.values else self.model.inverse_mapping(self.values[x])


class BaseModel(ABC):
    """A diffusion synchronisation app.

    A subclass says how canonical and instance space map onto each other (:meth:`init_mapper`, :meth:`forward_mapping`,
    :meth:`inverse_mapping`), how a picture is made of one or more stages (:meth:`generate`) and how it is shown.

    Attributes set by :meth:`begin_stage` for the stage at hand: ``denoiser``, ``conditioning``, ``schedule``,
    ``guidance_scale``, ``threshold`` (ratio and maximum of dynamic thresholding, or None), ``history`` (what a
    multistep solver remembers). ``turn`` counts the steps of the stage from 0. ``case`` and ``noise_space`` are the
    options' unless an app's stage needs others, ``view_batch_size`` until memory is full.
    """

    denoiser: Denoiser
    conditioning: Conditioning
    schedule: Schedule
    threshold: tuple[float, float] | None
    history: dict[int, tuple[int, torch.Tensor]]  # case -> timestep and x0 of its step before

    def __init__(self, options: Options):
        self.options = options
        self.case, self.noise_space = options.case, options.noise_space
        self.turn, self.view_batch_size = 0, options.view_batch_size
        self.mapper: list[Any] = []
        self.init_mapper()

    # ------------------------------------------------------------------------------ what an app defines

    @classmethod
    @abstractmethod
    def load(cls, options: Options, sources: dict[str, Any], runtime: Any) -> "BaseModel":
        """Load the weights named by ``options.PATHS`` and return the model.

        Args:
            options: complete, see :meth:`utils.options.Options.with_defaults`.
            sources: path option -> :class:`utils.models.model_source.ModelSource`.
            runtime: device, dtype and offloading, :class:`utils.models.runtime.Runtime`.
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

    def begin_step(self, turn: int) -> None:
        """Prepare step ``turn`` of a stage, counted from 0; a mapping that changes does so here."""
        self.turn = turn

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
        """Predict eps ``[N, C, h, w]`` of every view with guidance, ``view_batch_size`` views at a time.

        Where they do not fit into a GPU's memory, half as many are tried, then and from then on; eps stays the same.
        """
        guidance_scale = self._guidance_scale()
        while True:
            try:
                return self.denoiser.predict_eps(
                    xts, int(timestep), self.conditioning, guidance_scale, self.view_batch_size
                )
            except torch.OutOfMemoryError:
                if self.view_batch_size == 1:
                    raise
            self.view_batch_size = min(self.view_batch_size, len(xts)) // 2 or 1
            logger.warning("the GPU's memory is full: from now on --view_batch_size %d", self.view_batch_size)
            torch.cuda.empty_cache()

    def _guidance_scale(self) -> float:
        """Return the guidance scale of the step at hand: 1, no guidance, outside of ``options.guidance_interval``."""
        guided = self.options.guided(self.turn, len(self.schedule.timesteps))
        return self.guidance_scale if guided else 1.0

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
        index = torch.as_tensor(timestep).long().cpu()
        abar, abar_prev = self.schedule.alphas_cumprod[index], self.schedule.alphas_cumprod_prev[index]
        variance = self.options.eta**2 * posterior_variance(abar, abar_prev)
        of_xt, of_x0 = STEP_COEFFICIENTS[self.options.sampling_method](abar, abar_prev, variance)
        x_prev = per_picture(of_xt, xts) * xts + per_picture(of_x0, xts) * pred_x0s
        return x_prev if noise is None else x_prev + per_picture(variance.sqrt(), xts) * noise.to(xts.dtype)

    def extrapolate(self, case: Case, x0s: torch.Tensor, timestep: torch.Tensor | int) -> torch.Tensor:
        """Return the x0 to step with: x0 itself, or with "dpmpp_2m" one that looks ahead by the x0 of the step before.

        DPM-Solver++(2M) (Lu et al., 2022, algorithm 2): D = x0 + h / (2 h_before) (x0 - x0_before), h in log-SNR / 2.
        The first step of a stage has none before it, and the last one does without (:meth:`Schedule.look_ahead`).

        Args:
            case: whose x0 of the step before it is; each remembers its own, in the space in which it steps.
            x0s: ``[N, C, h, w]`` or canonical, averaged where the case averages.
            timestep: one for all views.
        """
        if self.options.sampling_method != "dpmpp_2m":
            return x0s
        before = self.history.get(case.number)
        self.history[case.number] = int(timestep), x0s
        if before is None:
            return x0s
        weight = self.schedule.look_ahead(before[0], int(timestep))
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
        """Take one step of all views.

        Args:
            input_params: the carried states, ``xts`` ``[N, C, h, w]``, ``zts`` ``[1, C, H, W]``, or both.
            timestep, alphas, sigmas: as in :meth:`compute_tweedie`.
            case: how to synchronise; by default as the options say.
            noise: standard normal, instance or canonical as ``options.noise_space`` says; scaled by ``options.eta``.

        Returns:
            The clean estimates in the space in which the step took them, ``x0s`` or ``z0s``, where views averaged
            them also the average ``z0s`` itself; and the carried states after the step, ``x_t_1``, ``z_t_1``, or both.
        """
        case = case or self.case
        at = (timestep, alphas, sigmas, noise)
        if case.partner is None:
            return self._process(case, input_params, *at)[0]
        beside, values = self._process(case.partner, input_params, *at)
        out, _ = self._process(case, input_params, *at, blend={case.level: self._to_canvas(values[case.level])})
        state = "z_t_1" if case.partner.canonical else "x_t_1"
        return {**out, state: beside[state]}

    def _process(
        self,
        case: Case,
        states: Tensors,
        timestep: torch.Tensor | int,
        alphas: torch.Tensor,
        sigmas: torch.Tensor,
        noise: torch.Tensor | None,
        blend: Tensors | None = None,
    ) -> tuple[Tensors, dict[str, tuple[torch.Tensor, bool]]]:
        """Run one case; returns its result, and eps, x0 and x_t' before averaging with "is canonical" for each."""
        blend = blend or {}
        seen = self._states(case, states)
        tweedie_canonical, step_canonical = case.tweedie == "c", case.step == "c"
        eps = self.compute_noise_preds(seen[case.network], timestep)
        settled, _ = self._settle(eps, False, tweedie_canonical, case.average_eps, blend.get("eps"))
        x0 = self.compute_tweedie(seen[case.tweedie], settled, timestep, alphas, sigmas)
        if self.threshold is not None:
            x0 = dynamic_threshold(x0, *self.threshold)
        clean, z0 = self._settle(x0, tweedie_canonical, step_canonical, case.average_x0, blend.get("x0"))
        target = self.extrapolate(case, clean, timestep)
        stepped = self.compute_prev_state(seen[case.step], target, timestep, self._noise_of(step_canonical, noise))
        state, _ = self._settle(stepped, step_canonical, case.canonical, case.average_xt, blend.get("xt"))
        out = {"z0s" if step_canonical else "x0s": clean, "z_t_1" if case.canonical else "x_t_1": state}
        if z0 is not None:
            out["z0s"] = z0
        return out, {"eps": (eps, False), "x0": (x0, tweedie_canonical), "xt": (stepped, step_canonical)}

    def _states(self, case: Case, states: Tensors) -> Tensors:
        """Return the carried state as the case's letters want it: ``r`` = x, ``h`` = f(g(x)), ``c`` = g(x)."""
        letters = {case.network, case.tweedie, case.step}
        if case.canonical:
            return {"c": states["zts"], "h": self.forward_mapping(states["zts"])}
        x = states["xts"]
        if letters == {"r"}:
            return {"r": x}
        mean = self.inverse_mapping(x)
        seen = {"r": x, "c": mean}
        return {**seen, "h": self.forward_mapping(mean, bg=x)} if "h" in letters else seen

    def _settle(
        self,
        values: torch.Tensor,
        canonical: bool,
        to_canonical: bool,
        average: bool,
        blend: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Bring values to the space where they go on; the mean on the way is shared with ``blend``, if there is one.

        Returns:
            The values there, and what they are on the canvas, None where they never were on it.
        """
        if canonical:
            return (values if to_canonical else self.forward_mapping(values)), values
        if not (to_canonical or average):
            return values, None
        mean = self.inverse_mapping(values)
        mean = mean if blend is None else (mean + blend) / 2
        return (mean if to_canonical else self.forward_mapping(mean, bg=values)), mean

    def _to_canvas(self, value: tuple[torch.Tensor, bool]) -> torch.Tensor:
        values, canonical = value
        return values if canonical else self.inverse_mapping(values)

    def _noise_of(self, canonical: bool, noise: torch.Tensor | None) -> torch.Tensor | None:
        """Return a step's noise in the space in which it steps."""
        if noise is None or canonical or self.noise_space == "instance":
            return noise
        return self.forward_mapping(noise)

    # ------------------------------------------------------------------------------ the loop

    def begin_stage(
        self,
        denoiser: Denoiser,
        conditioning: Conditioning,
        threshold: tuple[float, float] | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
    ) -> None:
        """Set the network, what it is told, and the schedule for the steps that follow.

        Args:
            threshold: see the attribute.
            num_inference_steps, guidance_scale: of this stage, where they are not the options'.
        """
        self.guidance_scale = self.options.guidance_scale if guidance_scale is None else guidance_scale
        self.denoiser, self.conditioning, self.threshold = denoiser, conditioning, threshold
        self.turn, self.history = 0, {}
        self.schedule = Schedule.from_config(
            denoiser.scheduler_config,
            num_inference_steps or self.options.num_inference_steps,
            self.options.timestep_spacing,
        )

    def start(
        self, canonical_shape: tuple[int, ...], instance_shape: tuple[int, ...], generator: torch.Generator
    ) -> Tensors:
        """Draw the carried states at T: f of one canonical noise, or one independent draw for all views.

        Args:
            canonical_shape: ``(1, C, H, W)``.
            instance_shape: ``(N, C, h, w)``.
            generator: the picture's own, on the CPU.

        Returns:
            As ``input_params`` of :meth:`one_step_process`.
        """
        states = {}
        if not self.options.initialize_xt_from_zt:
            states["xts"] = self._randn(instance_shape, generator)
        if self.options.initialize_xt_from_zt or "zts" in self.case.carried:
            states["zts"] = self._randn(canonical_shape, generator)
        if "xts" in self.case.carried and "xts" not in states:
            states["xts"] = self.forward_mapping(states["zts"])
        return {name: states[name] for name in self.case.carried}

    @torch.inference_mode()
    def denoise(self, states: Tensors, stage: int, generator: torch.Generator) -> Iterator[StepState]:
        """Run all steps of the stage begun last, from the states at T; neither prints nor saves."""
        steps = len(self.schedule.timesteps)
        alphas, sigmas = self.schedule.alphas_cumprod.sqrt(), (1 - self.schedule.alphas_cumprod).sqrt()
        last_synchronized = round(self.options.mvd_end * steps)
        noise_shape = self._noise_shape(states) if self.options.eta > 0 else None
        for index, timestep in enumerate(self.schedule.timesteps):
            self.begin_step(index)
            case = self.case if index < last_synchronized else ALONE
            noise = None if noise_shape is None else self._randn(noise_shape, generator)
            if "xts" not in states and not case.canonical:
                states = {"xts": self.forward_mapping(states["zts"])}
            values = self.one_step_process(states, timestep, alphas, sigmas, case, noise)
            states = {CARRIED[name]: value for name, value in values.items() if name in CARRIED}
            yield StepState(stage, index + 1, steps, values, self)

    def _noise_shape(self, states: Tensors) -> tuple[int, ...]:
        """Return the shape of a step's noise: of all views, or of the canvas."""
        if self.noise_space == "instance":
            return tuple(states["xts"].shape)
        return tuple((states["zts"] if "zts" in states else self.inverse_mapping(states["xts"])).shape)

    def _randn(self, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
        """Draw on the CPU in float32, whatever the device, so that a seed means the same picture everywhere."""
        return torch.randn(shape, generator=generator, dtype=torch.float32).to(self.denoiser.device)


def mean_dtype(device: torch.device) -> torch.dtype:
    """Return the dtype for sums over views: float64, in which the mean of equal float32 values is exact (no MPS)."""
    return torch.float32 if device.type == "mps" else torch.float64

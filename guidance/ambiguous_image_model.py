"""Ambiguous images: one square picture that reads differently from each view, in DeepFloyd IF's two pixel stages.

A third stage may enlarge it, in latents.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from guidance.base_model import BaseModel, StepState, Tensors, mean_dtype
from guidance.networks.deepfloyd import PixelStage, load_deepfloyd_stage, load_t5_embeddings
from guidance.networks.denoisers import Conditioning
from guidance.networks.spaces import PixelSpace
from guidance.networks.upscaler import LatentUpscaler, load_clip_embeddings, load_upscaler
from guidance.synchronization import ALONE, WORDS, get_case
from utils.images import crop_square, decode, side_by_side, to_pil, to_unit_range
from utils.models.model_source import ModelSource
from utils.models.runtime import Runtime
from utils.options import AmbiguousImageOptions
from utils.views import get_views
from utils.views.weights import read_weight_map

Stage = PixelStage | LatentUpscaler
X0 = get_case(WORDS["x0", "instance"])  # how views agree in latents, where they do not act on eps or x_t


class AmbiguousImageModel(BaseModel):
    """One prompt per view; every stage of the cascade is synchronised by the same code.

    Args:
        options: ``views_names`` name the views.
        sources: path option -> source of its weights, loaded by :meth:`encode`.
        runtime: device, dtype and offloading.
        stages: the networks, smallest first; given by tests, loaded by :meth:`encode` otherwise.
    """

    options: AmbiguousImageOptions

    def __init__(
        self,
        options: AmbiguousImageOptions,
        sources: dict[str, ModelSource],
        runtime: Runtime,
        stages: list[Stage] | None = None,
    ):
        self.sources, self.runtime, self.stages = sources, runtime, stages or []
        self.space = PixelSpace()
        self.embeddings: dict[str, torch.Tensor] = {}
        self.results: Tensors = {}
        self.photograph = (
            None if options.ref_image is None else crop_square(decode(Path(options.ref_image), upright=True))
        )
        self.held: dict[tuple[PixelSpace, int, torch.dtype], torch.Tensor] = {}
        super().__init__(options)

    @classmethod
    def load(
        cls, options: AmbiguousImageOptions, sources: dict[str, ModelSource], runtime: Runtime
    ) -> "AmbiguousImageModel":
        return cls(options, sources, runtime)

    def encode(self, prompts: list[str]) -> None:
        """Encode with one text encoder after the other alone in memory, then load the networks."""
        known = ["", *prompts]
        self.embeddings = load_t5_embeddings(self.sources["stage_1_path"], known, self.runtime)
        if not self.stages:
            self.stages = self._load_stages(known)
            self.runtime.offload_in_turn([network for stage in self.stages for network in stage.networks])

    def _load_stages(self, prompts: list[str]) -> list[Stage]:
        upscaler = self.sources.get("stage_3_path")
        embeddings = load_clip_embeddings(upscaler, prompts, self.runtime) if upscaler else {}
        paths = ("stage_1_path", "stage_2_path")
        stages: list[Stage] = [load_deepfloyd_stage(self.sources[path], self.runtime) for path in paths]
        return [*stages, load_upscaler(upscaler, embeddings, self.runtime)] if upscaler else stages

    # ------------------------------------------------------------------------------ mapping

    def init_mapper(self) -> None:
        """Build the views; each shows all of the canvas. Read their weights, ``[N, 1, h, h]``, if they have any."""
        self.mapper = get_views(self.options.views_names, self.options.rotate_angle)
        if self.options.weight_map is not None:
            weights = read_weight_map(Path(self.options.weight_map), len(self.mapper))
            self.weights = torch.from_numpy(weights)[:, None]
        elif self.options.view_weights is not None:
            self.weights = torch.tensor(self.options.view_weights, dtype=torch.float64)[:, None, None, None]

    def forward_mapping(self, z_t: torch.Tensor, bg: torch.Tensor | None = None) -> torch.Tensor:
        """Look through every view: ``[1, 3, H, H]`` -> ``[N, C, h, h]``. All is covered: ``bg`` never shows.

        The canvas is a picture in every stage. Of an upscaler's views the result is latents, four pixels per cell.
        """
        return self.space.encode(self._look(z_t))

    def inverse_mapping(self, x_ts: torch.Tensor) -> torch.Tensor:
        """Turn every view back and reduce them as ``--reduction`` says: ``[N, C, h, h]`` -> ``[1, 3, H, H]``."""
        return self._turn_back(self.space.decode(x_ts))

    def _look(self, picture: torch.Tensor) -> torch.Tensor:
        """Look at a picture through every view: ``[1, 3, H, H]`` -> ``[N, 3, H, H]``."""
        return torch.stack([view.view(picture[0]) for view in self.mapper])

    def _turn_back(self, pictures: torch.Tensor) -> torch.Tensor:
        """Make one picture of what the views show: ``[N, 3, H, H]`` -> ``[1, 3, H, H]``."""
        turned = torch.stack([view.inverse_view(one) for view, one in zip(self.mapper, pictures, strict=True)])
        return self._reduce(turned.to(mean_dtype(pictures.device))).to(pictures.dtype)

    def _reduce(self, turned: torch.Tensor) -> torch.Tensor:
        """Make one canvas of the views' parts of it: ``[N, C, H, W]`` -> ``[1, C, H, W]``."""
        match self.options.reduction:
            case "sum":
                return turned.sum(dim=0, keepdim=True)
            case "alternate":  # one view a step, in turn (Geng et al., Visual Anagrams, 2024)
                return turned[self.turn % len(turned)][None]
            case "weighted":
                weights = F.interpolate(self.weights, turned.shape[-2:], mode="bilinear").to(turned)
                return (turned * weights).sum(dim=0, keepdim=True) / weights.sum(dim=0, keepdim=True)
            case _:
                return turned.mean(dim=0, keepdim=True)

    # ------------------------------------------------------------------------------ making a picture

    def generate(self, prompts: tuple[str, ...], seed: int) -> Iterator[StepState]:
        """Run all stages. The generator draws of each stage its x_T, then the noise on the pictures it enlarges."""
        generator = torch.Generator("cpu").manual_seed(seed)
        self.results = {}
        pictures: torch.Tensor | None = None
        for number, stage in enumerate(self.stages, start=1):
            start = self._begin(stage, prompts, pictures, generator)
            for state in self.denoise(start, number, generator):
                if state.step == state.steps:
                    pictures = self.results[f"stage_{number}"] = self._seen(state, "x_t_1")
                yield state

    def _begin(
        self, stage: Stage, prompts: tuple[str, ...], pictures: torch.Tensor | None, generator: torch.Generator
    ) -> Tensors:
        """Set everything for the steps of a stage; return the states that it starts from.

        Latents know two ways only: views agree on x0, or stay apart. A step's noise is the views' own there.
        """
        self.space = stage.space
        self.case, self.noise_space = self.options.case, self.options.noise_space
        if self.space.latent:
            self.case, self.noise_space = self.case if self.case == ALONE else X0, "instance"
        embeddings = self.embeddings if stage.embeddings is None else stage.embeddings
        conditioning = Conditioning(torch.cat([embeddings[prompt] for prompt in prompts]), embeddings[""])
        options, is_second = self.options, pictures is not None and not self.space.latent
        own = (options.stage2_num_inference_steps, options.stage2_guidance_scale) if is_second else ()
        self.begin_stage(stage.denoiser, conditioning, self._threshold(stage), *own)
        shape = stage.shape(pictures)
        start = self.start((1, *shape), (len(self.mapper), *shape), generator)
        if pictures is not None:
            self.conditioning = self._enlarging(stage, conditioning, pictures, generator)
        return start

    def start(
        self, canonical_shape: tuple[int, ...], instance_shape: tuple[int, ...], generator: torch.Generator
    ) -> Tensors:
        """Draw the states at T. Noise on the canvas, once encoded, would be none: views in latents have their own.

        Components, which all see one picture, share theirs also there.
        """
        if not self.space.latent:
            return super().start(canonical_shape, instance_shape, generator)
        shape = canonical_shape if self.mapper[0].kind == "component" else instance_shape
        return {"xts": self._randn(shape, generator).expand(instance_shape)}

    def compute_noise_preds(self, xts: torch.Tensor, timestep: torch.Tensor | int) -> torch.Tensor:
        """Predict eps ``[N, C, h, w]``; a view held by ``--ref_image`` gets the eps whose x0 is the photograph."""
        if self.photograph is None:
            return super().compute_noise_preds(xts, timestep)
        abar = self.schedule.alphas_cumprod[int(timestep)].item()
        eps = (xts[:1] - abar**0.5 * self._held(xts)) / (1 - abar) ** 0.5
        return torch.cat([eps, super().compute_noise_preds(xts[1:], timestep)])

    def _held(self, xts: torch.Tensor) -> torch.Tensor:
        """Return the photograph as a clean state ``[1, C, h, w]`` of the stage at hand, encoded once."""
        size = xts.shape[-1] * self.space.scale
        key = self.space, size, xts.dtype
        if key not in self.held:
            picture = self.photograph.resize((size, size), Image.Resampling.LANCZOS)
            pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].to(xts) / 127.5 - 1
            self.held[key] = self.space.encode(pixels)
        return self.held[key]

    def _threshold(self, stage: Stage) -> tuple[float, float] | None:
        """Return what IF's scheduler asks of x0; a bound of pixels says nothing of latents."""
        config = stage.denoiser.scheduler_config
        if self.options.thresholding == "none" or stage.space.latent:
            return None
        return config.get("dynamic_thresholding_ratio", 0.995), config.get("sample_max_value", 1.0)

    def _enlarging(
        self, stage: Stage, conditioning: Conditioning, pictures: torch.Tensor, generator: torch.Generator
    ) -> Conditioning:
        """Condition a stage on each view's own result of the stage before, in float and unclipped.

        The noise is one canonical draw seen through the views, so that the views of a synchronised picture stay alike.
        """
        latent = stage.space.latent
        level = self.options.stage3_noise_level if latent else self.options.stage2_noise_level
        low_res = stage.resize(pictures)
        if latent or self.options.stage2_conditioning == "noised":
            abar = stage.noising_alphas_cumprod[level].item()
            noise = self._look(self._randn((1, *low_res.shape[1:]), generator))
            low_res = abar**0.5 * low_res + (1 - abar) ** 0.5 * noise
        return Conditioning(conditioning.text, conditioning.null_text, low_res[-len(conditioning.text) :], level)

    # ------------------------------------------------------------------------------ showing it

    def _seen(self, state: StepState, name: str) -> torch.Tensor:
        """Return the pictures that the views show of a state, ``[N, 3, H, H]``.

        Of latents that agreed in this step they are views of the canvas itself: encoded and decoded it would blur, and
        the views would agree no more.

        Args:
            name: ``x0s``, or ``x_t_1`` of the last step.
        """
        if self.space.latent and "z0s" in state.values:
            return self._look(state.z0s)
        return self.space.decode(getattr(state, name))

    def render(self, state: StepState, files: list[dict[str, Any]]) -> dict[str, Image.Image]:
        """Return every view as it is, averaged or not, and all of them side by side; of components also their sum."""
        views, whole = self._show(self.results[f"stage_{state.stage}"])
        pictures = {"side_by_side": side_by_side([*whole, *views]), "whole": whole[0] if whole else None}
        return {
            entry["file"]: views[entry["view"]] if entry["role"] == "view" else pictures[entry["role"]]
            for entry in files
            if entry["role"] in ("view", *pictures)
        }

    def preview(self, state: StepState) -> Image.Image:
        views, whole = self._show(self._seen(state, "x0s"))
        return side_by_side([*whole, *views])

    def _show(self, pictures: torch.Tensor) -> tuple[list[Image.Image], list[Image.Image]]:
        """Return what a person sees through every view, and the whole picture if the views are its components."""
        if self.mapper[0].kind != "component":
            return [to_pil(to_unit_range(picture)) for picture in pictures], []
        whole = self._turn_back(pictures)[0]
        return [to_pil(to_unit_range(view.show(whole))) for view in self.mapper], [to_pil(to_unit_range(whole))]

    def latents(self) -> Tensors:
        """Return every stage's result, ``stage_1`` and on: the views' pictures ``[N, 3, H, H]`` before rounding."""
        return {name: result.float().cpu() for name, result in self.results.items()}

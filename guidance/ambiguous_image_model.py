"""Ambiguous images: one square picture that reads differently from each view, in DeepFloyd IF's two pixel stages."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from guidance.base_model import BaseModel, StepState, Tensors, mean_dtype
from guidance.denoisers import Conditioning
from guidance.pretrained import PixelStage, load_deepfloyd_stage, load_t5_embeddings
from utils.image_files import decode
from utils.image_utils import crop_square, side_by_side, to_pil, to_unit_range
from utils.model_source import ModelSource
from utils.options import AmbiguousImageOptions
from utils.runtime import Runtime
from utils.views import get_views
from utils.weights import read_weight_map


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
        stages: list[PixelStage] | None = None,
    ):
        self.sources, self.runtime, self.stages = sources, runtime, stages or []
        self.embeddings: dict[str, torch.Tensor] = {}
        self.results: Tensors = {}
        self.photograph = None if options.ref_image is None else crop_square(decode(Path(options.ref_image)))
        super().__init__(options)

    @classmethod
    def load(
        cls, options: AmbiguousImageOptions, sources: dict[str, ModelSource], runtime: Runtime
    ) -> "AmbiguousImageModel":
        return cls(options, sources, runtime)

    def encode(self, prompts: list[str]) -> None:
        """Encode with the T5 encoder alone in memory, then load the two networks."""
        self.embeddings = load_t5_embeddings(self.sources["stage_1_path"], ["", *prompts], self.runtime)
        if not self.stages:
            paths = ("stage_1_path", "stage_2_path")
            self.stages = [load_deepfloyd_stage(self.sources[path], self.runtime) for path in paths]
            self.runtime.offload_in_turn([stage.denoiser.unet for stage in self.stages])

    # ------------------------------------------------------------------------------ mapping

    def init_mapper(self) -> None:
        """Build the views; each shows all of the canvas."""
        self.mapper = get_views(self.options.views_names, self.options.rotate_angle)

    def forward_mapping(self, z_t: torch.Tensor, bg: torch.Tensor | None = None) -> torch.Tensor:
        """Look through every view: ``[1, C, H, W]`` -> ``[N, C, H, W]``. All is covered: ``bg`` never shows."""
        return torch.stack([view.view(z_t[0]) for view in self.mapper])

    def inverse_mapping(self, x_ts: torch.Tensor) -> torch.Tensor:
        """Turn every view back and reduce them as ``--reduction`` says: ``[N, C, H, W]`` -> ``[1, C, H, W]``."""
        turned = torch.stack([view.inverse_view(x_t) for view, x_t in zip(self.mapper, x_ts, strict=True)])
        return self._reduce(turned.to(mean_dtype(x_ts))).to(x_ts.dtype)

    def _reduce(self, turned: torch.Tensor) -> torch.Tensor:
        """Make one canvas of the views' parts of it: ``[N, C, H, W]`` -> ``[1, C, H, W]``."""
        match self.options.reduction:
            case "sum":
                return turned.sum(dim=0, keepdim=True)
            case "alternate":  # one view a step, in turn (Geng et al., Visual Anagrams, 2024)
                return turned[self.turn % len(turned)][None]
            case "weighted":
                weights = self._weights(turned)
                return (turned * weights).sum(dim=0, keepdim=True) / weights.sum(dim=0, keepdim=True)
            case _:
                return turned.mean(dim=0, keepdim=True)

    def _weights(self, like: torch.Tensor) -> torch.Tensor:
        """Return the weights of the views on the canvas, ``[N, 1, 1, 1]`` or ``[N, 1, H, W]``."""
        if self.options.weight_map is None:
            return like.new_tensor(self.options.view_weights)[:, None, None, None]
        weights = torch.from_numpy(read_weight_map(Path(self.options.weight_map), len(self.mapper)))[:, None]
        return F.interpolate(weights, like.shape[-2:], mode="bilinear").to(like)

    # ------------------------------------------------------------------------------ making a picture

    def generate(self, prompts: tuple[str, ...], seed: int) -> Iterator[StepState]:
        """Run both stages. The generator draws stage 1's x_T, stage 2's x_T, then the noise of stage 2's input."""
        generator = torch.Generator("cpu").manual_seed(seed)
        text = torch.cat([self.embeddings[prompt] for prompt in prompts])
        self.results = {}
        xts: torch.Tensor | None = None
        for number, stage in enumerate(self.stages, start=1):
            conditioning = Conditioning(text, self.embeddings[""])
            self.begin_stage(stage.denoiser, conditioning, self._threshold(stage))
            start = self.start((1, 3, stage.size, stage.size), (len(self.mapper), 3, stage.size, stage.size), generator)
            if xts is not None:
                self.conditioning = self._enlarging(stage, conditioning, xts, generator)
            for state in self.denoise(start, number, generator):
                xts = self.results[f"stage_{number}"] = state.x_t_1
                yield state

    def compute_noise_preds(self, xts: torch.Tensor, timestep: torch.Tensor | int) -> torch.Tensor:
        """Predict eps ``[N, C, h, w]``; a view held by ``--ref_image`` gets the eps whose x0 is the photograph."""
        if self.photograph is None:
            return super().compute_noise_preds(xts, timestep)
        size = xts.shape[-1]
        x0 = self.photograph.resize((size, size), Image.Resampling.LANCZOS)
        x0 = torch.from_numpy(np.array(x0)).permute(2, 0, 1).to(xts) / 127.5 - 1
        abar = self.schedule.alphas_cumprod[int(timestep)].item()
        eps = (xts[:1] - abar**0.5 * x0) / (1 - abar) ** 0.5
        return torch.cat([eps, super().compute_noise_preds(xts[1:], timestep)])

    def _threshold(self, stage: PixelStage) -> tuple[float, float] | None:
        config = stage.denoiser.scheduler_config
        if self.options.thresholding == "none":
            return None
        return config.get("dynamic_thresholding_ratio", 0.995), config.get("sample_max_value", 1.0)

    def _enlarging(
        self, stage: PixelStage, conditioning: Conditioning, xts: torch.Tensor, generator: torch.Generator
    ) -> Conditioning:
        """Condition a stage on each view's own result of the stage before, in float and unclipped.

        The noise is one canonical draw seen through the views, so that the views of a synchronised picture stay alike.
        """
        level = self.options.stage2_noise_level
        low_res = F.interpolate(xts, (stage.size, stage.size), mode="bilinear", align_corners=True)
        if self.options.stage2_conditioning == "noised":
            abar = stage.noising_alphas_cumprod[level].item()
            noise = self.forward_mapping(self._randn((1, *low_res.shape[1:]), generator))
            low_res = abar**0.5 * low_res + (1 - abar) ** 0.5 * noise
        return Conditioning(conditioning.text, conditioning.null_text, low_res[-len(conditioning.text) :], level)

    def render(self, state: StepState, files: list[dict[str, Any]]) -> dict[str, Image.Image]:
        """Return every view as it is, averaged or not, and all of them side by side; of components also their sum."""
        views, whole = self._show(state.x_t_1)
        pictures = {"side_by_side": side_by_side([*whole, *views]), "whole": whole[0] if whole else None}
        return {
            entry["file"]: views[entry["view"]] if entry["role"] == "view" else pictures[entry["role"]]
            for entry in files
            if entry["role"] in ("view", *pictures)
        }

    def preview(self, state: StepState) -> Image.Image:
        views, whole = self._show(state.x0s)
        return side_by_side([*whole, *views])

    def _show(self, x_ts: torch.Tensor) -> tuple[list[Image.Image], list[Image.Image]]:
        """Return what a person sees through every view, and the whole picture if the views are its components."""
        if self.mapper[0].kind != "component":
            return [to_pil(to_unit_range(x_t)) for x_t in x_ts], []
        whole = self.inverse_mapping(x_ts)[0]
        return [to_pil(to_unit_range(view.show(whole))) for view in self.mapper], [to_pil(to_unit_range(whole))]

    def latents(self) -> Tensors:
        return {name: result.float().cpu() for name, result in self.results.items()}

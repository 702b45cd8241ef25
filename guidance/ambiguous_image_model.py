"""Ambiguous images: one square picture that reads differently from each view, in DeepFloyd IF's two pixel stages."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image

from guidance.base_model import BaseModel, StepState, Tensors, mean_dtype
from guidance.denoisers import Conditioning
from guidance.pretrained import PixelStage, load_deepfloyd_stage, load_t5_embeddings
from utils.image_utils import side_by_side, to_pil, to_unit_range
from utils.model_source import ModelSource
from utils.options import AmbiguousImageOptions
from utils.runtime import Runtime
from utils.views import get_views


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
        """Build the views; each is a permutation of pixels or close to one, so the canvas covers every view."""
        self.mapper = get_views(self.options.views_names, self.options.rotate_angle)

    def forward_mapping(self, z_t: torch.Tensor, bg: torch.Tensor | None = None) -> torch.Tensor:
        """Look through every view: ``[1, C, H, W]`` -> ``[N, C, H, W]``. All is covered: ``bg`` never shows."""
        return torch.stack([view.view(z_t[0]) for view in self.mapper])

    def inverse_mapping(self, x_ts: torch.Tensor) -> torch.Tensor:
        """Turn every view back and take the mean: ``[N, C, H, W]`` -> ``[1, C, H, W]``."""
        turned = [view.inverse_view(x_t) for view, x_t in zip(self.mapper, x_ts, strict=True)]
        return torch.stack(turned).to(mean_dtype(x_ts)).mean(dim=0, keepdim=True).to(x_ts.dtype)

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
        return Conditioning(conditioning.text, conditioning.null_text, low_res, level)

    def render(self, state: StepState, files: list[dict[str, Any]]) -> dict[str, Image.Image]:
        """Return every view as it is, averaged or not, and all of them side by side."""
        views = [to_pil(to_unit_range(x_t)) for x_t in state.x_t_1]
        return {
            entry["file"]: views[entry["view"]] if entry["role"] == "view" else side_by_side(views)
            for entry in files
            if entry["role"] in ("view", "side_by_side")
        }

    def preview(self, state: StepState) -> Image.Image:
        return side_by_side([to_pil(to_unit_range(x0)) for x0 in state.x0s])

    def latents(self) -> Tensors:
        return {name: result.float().cpu() for name, result in self.results.items()}

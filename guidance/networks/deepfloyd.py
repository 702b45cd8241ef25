"""DeepFloyd IF: its two pixel stages."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel

from guidance.networks.denoisers import Denoiser
from guidance.networks.loading import load_network
from guidance.networks.spaces import PixelSpace
from guidance.schedule import alphas_cumprod
from utils.models.model_source import ModelSource
from utils.models.runtime import Runtime


@dataclass
class PixelStage:
    """One stage of DeepFloyd IF.

    Attributes:
        denoiser: on pictures ``[N, 3, size, size]`` in [-1, 1].
        size: side in pixels.
        noising_alphas_cumprod: abar of the noise on the picture to enlarge, ``[1000]``; None in stage 1.
    """

    denoiser: Denoiser
    size: int
    noising_alphas_cumprod: torch.Tensor | None = None

    space: ClassVar[PixelSpace] = PixelSpace()
    embeddings: ClassVar[None] = None  # it reads T5's, which all of its cascade share

    @property
    def threshold(self) -> tuple[float, float] | None:
        """Ratio and maximum of the dynamic thresholding of x0, where the scheduler's configuration asks for it."""
        config = self.denoiser.scheduler_config
        if not config.get("thresholding", False):
            return None
        return config.get("dynamic_thresholding_ratio", 0.995), config.get("sample_max_value", 1.0)

    @property
    def networks(self) -> list[torch.nn.Module]:
        """What is in memory while it runs, in the order of its turns."""
        return [self.denoiser.unet]

    def shape(self, pictures: torch.Tensor | None) -> tuple[int, int, int]:
        """Return ``(C, h, w)`` of one view's state, whatever ``pictures`` ``[N, 3, h', w']`` are enlarged."""
        return 3, self.size, self.size

    def resize(self, pictures: torch.Tensor) -> torch.Tensor:
        """Bring the pictures to enlarge to the size in which the network is shown them, unclipped."""
        return F.interpolate(pictures, (self.size, self.size), mode="bilinear", align_corners=True)


def load_deepfloyd_stage(source: ModelSource, runtime: Runtime) -> PixelStage:
    """Load the network and the schedulers of one stage; neither T5 nor safety checker nor watermarker.

    Raises:
        UserError: weight files are missing, damaged or incomplete.
    """
    unet = runtime.place(load_network(UNet2DConditionModel, source, "unet", runtime))
    noising = None
    if "image_noising_scheduler" in source.components:
        noising = alphas_cumprod(source.config("image_noising_scheduler"))
    denoiser = Denoiser(unet, source.config("scheduler"), runtime.device, runtime.compile)
    return PixelStage(denoiser, unet.config.sample_size, noising)

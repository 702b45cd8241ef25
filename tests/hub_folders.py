"""Small pipelines with random weights, on disk in the layout of the Hub's folders."""

from pathlib import Path
from typing import Any

import torch

from guidance import APPS, get_app
from utils.models import hub_layout
from utils.models.hub_layout import Config, Saving
from utils.models.model_source import ModelSource, open_source
from utils.options import options_of

TEXT_WIDTH = 32
CLIP_SIZES: Config = {
    "hidden_size": TEXT_WIDTH, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "projection_dim": TEXT_WIDTH,
}  # fmt: skip
T5_SIZES: Config = {
    "vocab_size": 288, "d_model": TEXT_WIDTH, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4,
}  # fmt: skip
SD_UNET_SIZES: Config = {
    "sample_size": 8, "layers_per_block": 1, "block_out_channels": (16, 32), "attention_head_dim": (2, 4),
    "cross_attention_dim": TEXT_WIDTH, "norm_num_groups": 8,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
}  # fmt: skip
SD_VAE_SIZES: Config = {
    "sample_size": 64, "layers_per_block": 1, "block_out_channels": (8, 8, 16, 16), "norm_num_groups": 8,
}  # fmt: skip
IF_UNET_SIZES: Config = {
    "layers_per_block": 1, "block_out_channels": (16, 32), "attention_head_dim": 8, "cross_attention_dim": TEXT_WIDTH,
    "norm_num_groups": 8, "encoder_hid_dim": TEXT_WIDTH, "addition_embed_type_num_heads": 2,
    "down_block_types": ("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
    "up_block_types": ("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
}  # fmt: skip
X4_UNET_SIZES: Config = SD_UNET_SIZES | {"only_cross_attention": (True, False)}
X4_VAE_SIZES: Config = {
    "sample_size": 32, "layers_per_block": 1, "block_out_channels": (8, 8, 16), "norm_num_groups": 8,
}  # fmt: skip


LOW_RES_BETA_END = 0.03

# option -> components that a run needs of the weights it names
PARTS = {name: said.weights for app in APPS for name, said in options_of(get_app(app).options).items() if said.weights}


def source_of(folder: Path | str, option: str, revision: str | None = None) -> ModelSource:
    """The weights that an option such as ``sd_path`` names."""
    return open_source(str(folder), PARTS[option], revision, option)


def make_stable_diffusion(
    folder: Path,
    *,
    seed: int = 0,
    prediction_type: str = "epsilon",
    variant: str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Path:
    """Write a StableDiffusionPipeline: latents 8x8, pictures 64x64, CLIP's own tokenizer. Returns `folder`."""
    hub_layout.write_stable_diffusion(
        folder,
        unet=_random_unet(hub_layout.SD_UNET | SD_UNET_SIZES, seed),
        vae=_random("vae", hub_layout.SD_VAE | SD_VAE_SIZES, seed + 1),
        text_encoder=_random("clip", hub_layout.CLIP_TEXT | CLIP_SIZES, seed + 2),
        saving=Saving(variant, dtype),
        prediction_type=prediction_type,
    )
    return folder


def make_controlnet(folder: Path, *, seed: int = 0, **config: Any) -> Path:
    """Write a ControlNetModel that fits :func:`make_stable_diffusion`, and that counts. Returns `folder`."""
    sizes = {name: size for name, size in SD_UNET_SIZES.items() if name not in ("sample_size", "up_block_types")}
    sizes["conditioning_embedding_out_channels"] = (8, 8, 8, 8)
    control = _random("controlnet", sizes | config, seed + 300)
    generator = torch.Generator().manual_seed(seed)
    for weight in control.parameters():
        if not weight.any():  # as training begins: what it adds is 0
            weight.data.normal_(std=0.1, generator=generator)
    hub_layout.write_model(control, folder, Saving())
    return folder


def make_if_stage_1(
    folder: Path, *, seed: int = 0, variant: str | None = None, dtype: torch.dtype = torch.float32
) -> Path:
    """Write an IFPipeline of 16x16 pixels, with `spiece.model` only and a safety checker. Returns `folder`."""
    unet = _random_unet(hub_layout.IF_UNET_STAGE_1 | IF_UNET_SIZES | {"sample_size": 16}, seed)
    hub_layout.write_if_stage(folder, 1, unet=unet, text_encoder=_text_encoder(seed), saving=Saving(variant, dtype))
    return folder


def make_if_stage_2(
    folder: Path, *, seed: int = 0, variant: str | None = None, dtype: torch.dtype = torch.float32
) -> Path:
    """Write an IFSuperResolutionPipeline of 64x64 pixels with stage 1's text encoder. Returns `folder`.

    Unlike in real ones, the noise on the picture to enlarge is not that of the stage itself: tests tell them apart.
    """
    unet = _random_unet(hub_layout.IF_UNET_STAGE_2 | IF_UNET_SIZES | {"sample_size": 64}, seed + 100)
    hub_layout.write_if_stage(folder, 2, unet=unet, text_encoder=_text_encoder(seed), saving=Saving(variant, dtype))
    noising = hub_layout.IF_NOISING_SCHEDULER | {"beta_schedule": "linear"}
    hub_layout.write_scheduler("DDPMScheduler", noising, folder / "image_noising_scheduler")
    return folder


def make_upscaler(
    folder: Path, *, seed: int = 0, variant: str | None = None, dtype: torch.dtype = torch.float32
) -> Path:
    """Write a StableDiffusionUpscalePipeline: of pictures of any size, with CLIP's own tokenizer. Returns `folder`.

    Its two kinds of noise differ, see :func:`make_if_stage_2`.
    """
    hub_layout.write_upscaler(
        folder,
        unet=_random_unet(hub_layout.X4_UNET | X4_UNET_SIZES, seed + 200),
        vae=_random("vae", hub_layout.X4_VAE | X4_VAE_SIZES, seed + 201),
        text_encoder=_random("clip", hub_layout.CLIP_TEXT | CLIP_SIZES, seed + 202),
        saving=Saving(variant, dtype),
    )
    low_res = hub_layout.X4_LOW_RES_SCHEDULER | {"beta_end": LOW_RES_BETA_END}
    hub_layout.write_scheduler("DDPMScheduler", low_res, folder / "low_res_scheduler")
    return folder


def _text_encoder(seed: int) -> torch.nn.Module:
    return _random("t5", hub_layout.T5_TEXT | T5_SIZES, seed + 1)


def _random(kind: str, config: Config, seed: int) -> torch.nn.Module:
    """A network whose weights depend on `seed` alone; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return hub_layout.build_model(kind, config)


@torch.no_grad()
def _random_unet(config: Config, seed: int) -> torch.nn.Module:
    """A UNet whose output has mean 0 and deviation 1 in the first step, and that listens to text and time."""
    unet = _random("unet", config, seed)
    for name, weight in unet.named_parameters():
        if name.endswith(("to_v.weight", "add_v_proj.weight")):
            weight.mul_(4.0)
    x_t, embeds = _probe(config, seed)
    output = unet(x_t, 500, embeds, class_labels=torch.zeros(2, dtype=torch.long)).sample
    unet.conv_out.bias.sub_(output.mean(dim=(0, 2, 3)))
    for part in (unet.conv_out.weight, unet.conv_out.bias):
        part.div_(output.std())
    return unet


def _probe(config: Config, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (2, config["in_channels"], config["sample_size"], config["sample_size"])
    return torch.randn(shape, generator=generator), torch.randn((2, 77, TEXT_WIDTH), generator=generator)

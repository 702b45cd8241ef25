"""Train the landscapes model on the latents of drawn strips: ``python training/train_landscapes.py``.

Needs the autoencoder that ``train_landscapes_vae.py`` wrote, and completes ``<output_dir>/landscapes`` to a folder
for diffusers' ``StableDiffusionPipeline``. Text encoder and UNet are trained together, to predict v.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import nn
from torch.nn import functional as F
from transformers import CLIPTextModel, CLIPTokenizer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.common import Trainer, autocast, make_parser
from training.drawing.landscape_captions import WORDING, captions
from training.drawing.scenes import SCENES, draw_strip
from training.drawing.wording import Wording
from training.networks import clip_text
from training.train_landscapes_vae import STRIP_WIDTH, to_tensor
from utils.models.hub_layout import Saving, write_model, write_model_index, write_transformer

WINDOW = 32  # latents
CHANNELS = (48, 96, 144)
TEXT_WIDTH = 128
EMPTY_CAPTION_SHARE = 0.1
OWN_PROMPT_SHARE = 0.4


def build_unet(channels: Sequence[int] = CHANNELS) -> UNet2DConditionModel:
    """Return an untrained UNet for windows of 32x32 latents, with attention below the first level."""
    below = len(channels) - 1
    unet = UNet2DConditionModel(
        sample_size=WINDOW,
        down_block_types=("DownBlock2D",) + ("CrossAttnDownBlock2D",) * below,
        up_block_types=("CrossAttnUpBlock2D",) * below + ("UpBlock2D",),
        block_out_channels=tuple(channels),
        layers_per_block=1,
        attention_head_dim=4,
        cross_attention_dim=TEXT_WIDTH,
        norm_num_groups=16,
    )
    unet.set_attn_processor(AttnProcessor())
    return unet


def build_scheduler() -> DDIMScheduler:
    """Return the noise schedule: that of Stable Diffusion with a noisier end, since 32x32 latents drown later."""
    return DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.02,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="leading",
        prediction_type="v_prediction",
    )


@torch.no_grad()
def encode_scenes(vae: AutoencoderKL, strips: int, device: str) -> torch.Tensor:
    """Return scaled latents of ``strips`` strips of every scene, float16 [scenes, strips, 4, 32, W]."""
    rows = []
    for scene in SCENES:
        with autocast(device):
            images = [to_tensor(draw_strip(scene, seed, STRIP_WIDTH)[None]).to(device) for seed in range(strips)]
            rows.append(torch.cat([vae.encode(image).latent_dist.mode() for image in images]))
    return (torch.stack(rows).float() * vae.config.scaling_factor).half().cpu()


def cached_latents(vae: AutoencoderKL, options: argparse.Namespace) -> torch.Tensor:
    """Return :func:`encode_scenes`, kept in the checkpoint folder under the autoencoder's scaling factor."""
    path = options.checkpoint_dir / f"landscapes-latents-{options.strips}-{vae.config.scaling_factor}.npy"
    if path.exists():
        return torch.from_numpy(np.load(path))
    latents = encode_scenes(vae, options.strips, options.device)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, latents.numpy())
    return latents


def draw_batch(latents: torch.Tensor, count: int, rng: np.random.Generator) -> tuple[torch.Tensor, list[str]]:
    """Return random windows [count, 4, 32, 32] and a caption for each; one in ten is the empty caption."""
    scenes, strips = rng.integers(latents.shape[0], size=count), rng.integers(latents.shape[1], size=count)
    left = rng.integers(latents.shape[-1] - WINDOW + 1, size=count)
    windows = [latents[s, i, :, :, x : x + WINDOW].float() for s, i, x in zip(scenes, strips, left, strict=True)]
    return torch.stack(windows), [draw_caption(list(SCENES)[scene], rng) for scene in scenes]


def draw_caption(scene: str, rng: np.random.Generator) -> str:
    """Return the empty caption, the scene's own prompt or another of its captions."""
    return pick_caption(captions(scene), rng)


def pick_caption(choices: Sequence[str], rng: np.random.Generator) -> str:
    """Return the empty caption, the first of the choices or any of them."""
    luck = rng.uniform()
    if luck < EMPTY_CAPTION_SHARE:
        return ""
    if luck < EMPTY_CAPTION_SHARE + OWN_PROMPT_SHARE:
        return choices[0]
    return choices[rng.integers(len(choices))]


class Denoiser(nn.Module):
    """UNet and text encoder, trained together."""

    def __init__(self, tokenizer: CLIPTokenizer, channels: Sequence[int] = CHANNELS):
        super().__init__()
        self.unet = build_unet(channels)
        self.text_encoder = clip_text.make_text_encoder(tokenizer, TEXT_WIDTH)

    def forward(self, x_t: torch.Tensor, t: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Predict v [B, 4, 32, 32] for noisy windows, their timesteps [B] and token ids [B, 32]."""
        return self.unet(x_t, t, self.text_encoder(ids).last_hidden_state).sample


def denoising_loss(
    denoiser: nn.Module, scheduler: DDIMScheduler, x0: torch.Tensor, ids: torch.Tensor, rng: np.random.Generator
) -> torch.Tensor:
    """Return the mean squared error of v at random timesteps, spread evenly over the batch."""
    spread = (np.arange(len(x0)) + rng.uniform(size=len(x0))) / len(x0)
    t = torch.from_numpy((spread * scheduler.config.num_train_timesteps).astype(np.int64)).to(x0.device)
    noise = torch.randn_like(x0)
    x_t = scheduler.add_noise(x0, noise, t)
    return F.mse_loss(denoiser(x_t, t, ids).float(), scheduler.get_velocity(x0, noise, t))


def save_folder(denoiser: Denoiser, folder: Path, tokenizer_folder: Path, wording: Wording = WORDING) -> None:
    """Write the pipeline's folder next to the old one, with the old one's autoencoder, then swap the two."""
    new, old = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
    for leftover in (new, old):
        shutil.rmtree(leftover, ignore_errors=True)
    shutil.copytree(folder / "vae", new / "vae")
    shutil.copytree(tokenizer_folder, new / "tokenizer")
    copy = build_unet(denoiser.unet.config.block_out_channels)
    copy.load_state_dict(denoiser.unet.state_dict())
    write_model(copy, new / "unet", Saving(dtype=torch.float16))
    write_transformer(denoiser.text_encoder, new / "text_encoder", Saving(), prefix="text_model.")
    build_scheduler().save_pretrained(new / "scheduler")
    (new / "words.json").write_text(json.dumps(wording.vocabulary(), indent=1) + "\n", encoding="utf-8")
    write_model_index(new, "StableDiffusionPipeline", {
        "feature_extractor": (None, None), "safety_checker": (None, None), "scheduler": ("diffusers", "DDIMScheduler"),
        "text_encoder": ("transformers", "CLIPTextModel"), "tokenizer": ("transformers", "CLIPTokenizer"),
        "unet": ("diffusers", "UNet2DConditionModel"), "vae": ("diffusers", "AutoencoderKL"),
    })  # fmt: skip
    folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old)


def make_tokenizer(folder: Path, known: Path | None = None, wording: Wording = WORDING) -> CLIPTokenizer:
    """Return the tokenizer of a folder, written there at first: merges of equal rank change order from run to run.

    Args:
        folder: of the tokenizer.
        known: a folder to copy it from, in place of a new one.
        wording: whose words a new one knows.
    """
    if not folder.exists() and known:
        shutil.copytree(known, folder)
    elif not folder.exists():
        clip_text.write_tokenizer(folder, wording)
    return CLIPTokenizer.from_pretrained(folder)


def start_from(denoiser: Denoiser, folder: Path, tokenizer: CLIPTokenizer) -> None:
    """Take the weights of a model of the same channels; pieces of words that it does not know keep theirs."""
    denoiser.unet.load_state_dict(UNet2DConditionModel.from_pretrained(folder / "unet").state_dict())
    known = CLIPTextModel.from_pretrained(folder / "text_encoder").state_dict()
    old, new = CLIPTokenizer.from_pretrained(folder / "tokenizer").get_vocab(), tokenizer.get_vocab()
    both = [piece for piece in new if piece in old]
    for name, value in denoiser.text_encoder.state_dict().items():
        if name.endswith("token_embedding.weight"):
            value[[new[piece] for piece in both]] = known[name][[old[piece] for piece in both]].to(value)
        else:
            value.copy_(known[name])


def fit(
    trainer: Trainer, tokenizer: CLIPTokenizer, draw: Callable[[np.random.Generator], tuple[torch.Tensor, list[str]]]
) -> list[float]:
    """Train a :class:`Denoiser` on batches of latents and captions, and return the losses."""
    scheduler, options = build_scheduler(), trainer.options

    def loss_function(rng: np.random.Generator) -> torch.Tensor:
        latents, texts = draw(rng)
        ids = clip_text.tokenize(tokenizer, texts).to(options.device)
        return denoising_loss(trainer.module, scheduler, latents.to(options.device), ids, rng)

    return trainer.fit(loss_function, log_every=max(1, min(50, options.steps // 4)))


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the options."""
    parser = make_parser("Train the landscapes model.", steps=18000, batch_size=16, learning_rate=1e-3)
    parser.add_argument("--strips", type=int, default=40, help="strips drawn for every scene")
    parser.add_argument("--channels", type=int, nargs="+", default=CHANNELS, help="width of every level of the UNet")
    parser.add_argument("--start_from", type=Path, help="folder of a landscapes model whose weights to go on from")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> list[float]:
    """Train, save and return the losses."""
    options = parse(argv)
    folder = options.output_dir / "landscapes"
    vae = AutoencoderKL.from_pretrained(folder / "vae").to(options.device).eval()
    tokenizer_folder = options.checkpoint_dir / "landscapes-tokenizer"
    known = options.start_from / "tokenizer" if options.start_from else None
    latents, tokenizer = cached_latents(vae, options), make_tokenizer(tokenizer_folder, known)
    torch.manual_seed(options.seed)
    denoiser = Denoiser(tokenizer, options.channels).to(options.device)
    if options.start_from:
        start_from(denoiser, options.start_from, tokenizer)
    trainer = Trainer("landscapes", denoiser, options)
    losses = fit(trainer, tokenizer, lambda rng: draw_batch(latents, options.batch_size, rng))
    save_folder(trainer.ema, folder, tokenizer_folder)
    return losses


if __name__ == "__main__":
    main()

"""Train the decoder of the landscapes model further: ``python training/train_landscapes_decoder.py``.

Starts from the autoencoder in ``<output_dir>/landscapes/vae`` and writes it back. The encoder and the scaling factor
stay as they are, so that latents keep their meaning and a UNet that was trained on them stays right.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.common import Trainer, make_parser
from training.drawing.scenes import draw_pool
from training.train_landscapes import cached_latents
from training.train_landscapes_vae import EDGE_WEIGHT, STRIP_WIDTH, build_vae, draw_test_pool, edges, save, to_tensor

GRID_WEIGHT = 0.5
Pairs = tuple[torch.Tensor, torch.Tensor]
LATENT_NOISE = 0.1  # at most, of the latents' standard deviation


class LatentDecoder(nn.Module):
    """The half of an autoencoder that turns unscaled latents [B, 4, h, w] into pictures [B, 3, 4h, 4w]."""

    def __init__(self, vae: AutoencoderKL):
        super().__init__()
        self.post_quant_conv, self.decoder = vae.post_quant_conv, vae.decoder

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """Decode, in about [-1, 1]."""
        return self.decoder(self.post_quant_conv(latents))


def grid_profile(steps: torch.Tensor, dim: int, scale: int) -> torch.Tensor:
    """Return how steps between neighbours spread over the places within a latent cell, [B, scale], with a mean of one.

    Args:
        steps: absolute differences along ``dim``, [B, C, ...]; the first is that from pixel 0 to pixel 1.
        dim: 2 for y, 3 for x.
        scale: pixels per latent cell.
    """
    along = steps.mean(tuple({1, 2, 3} - {dim}))
    places = torch.stack([along[:, place::scale].mean(1) for place in range(scale)], dim=1)
    return places / places.mean(1, keepdim=True).clamp_min(1e-3)


def decoding_loss(decoded: torch.Tensor, images: torch.Tensor, scale: int) -> torch.Tensor:
    """Return L1 on pixels, on edges, and on how edges spread over the places within a latent cell."""
    loss = (decoded - images).abs().mean()
    for ours, theirs, dim in zip(edges(decoded), edges(images), (3, 2), strict=True):
        loss = loss + EDGE_WEIGHT * (ours - theirs).abs().mean()
        profiles = [grid_profile(steps.abs(), dim, scale) for steps in (ours, theirs)]
        loss = loss + GRID_WEIGHT * (profiles[0] - profiles[1]).abs().mean()
    return loss


def draw_pairs(latents: torch.Tensor, strips: np.ndarray, count: int, width: int, rng: np.random.Generator) -> Pairs:
    """Return random crops of full height of latents [scenes, strips, 4, h, W] and the pixels that they stand for.

    Args:
        latents: of ``strips``, uint8 [scenes, strips, H, scale W, 3].
        count: of crops.
        width: of a crop, in latent cells.
        rng: draws strips and places.

    Returns:
        float32 [count, 4, h, width] and [count, 3, H, scale width] in [-1, 1].
    """
    scale = strips.shape[3] // latents.shape[-1]
    scenes, numbers = rng.integers(latents.shape[0], size=count), rng.integers(latents.shape[1], size=count)
    left = rng.integers(latents.shape[-1] - width + 1, size=count)
    places = list(zip(scenes, numbers, left, strict=True))
    pictures = np.stack([strips[s, i, :, scale * x : scale * (x + width)] for s, i, x in places])
    crops = torch.stack([latents[s, i, :, :, x : x + width].float() for s, i, x in places])
    return crops, to_tensor(pictures)


def go_on(
    name: str, folder: Path, options: argparse.Namespace, draw: Callable[..., Pairs], test_pool: np.ndarray
) -> list[float]:
    """Train the decoder of an autoencoder on pairs, save it beside its encoder and return the losses.

    Args:
        name: of the checkpoint.
        folder: of the autoencoder.
        options: what :func:`training.common.make_parser` parsed.
        draw: takes a generator, and returns scaled latents [count, 4, h, w] and the pixels that they stand for.
        test_pool: pictures that nothing is trained on, as :func:`training.train_landscapes_vae.measure` takes them.
    """
    before = AutoencoderKL.from_pretrained(folder)
    vae = build_vae(before.config.block_out_channels).to(options.device)  # whose saved config names no folder
    vae.load_state_dict(before.state_dict())
    trainer = Trainer(name, LatentDecoder(vae), options, ema_decay=0.998)

    def loss_function(rng: np.random.Generator) -> torch.Tensor:
        crops, images = draw(rng)
        crops = crops + torch.rand(len(crops), 1, 1, 1) * LATENT_NOISE * torch.randn_like(crops)
        decoded = trainer.module((crops / before.config.scaling_factor).to(options.device)).float()
        return decoding_loss(decoded, images.to(options.device), images.shape[-1] // crops.shape[-1])

    losses = trainer.fit(loss_function, log_every=max(1, min(50, options.steps // 4)))
    LatentDecoder(vae).load_state_dict(trainer.ema.state_dict())
    save(vae, folder, test_pool, options.device, before.config.scaling_factor)
    return losses


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the options."""
    parser = make_parser(
        "Train the decoder of the landscapes model further.", steps=8000, batch_size=8, learning_rate=5e-4
    )
    parser.add_argument("--strips", type=int, default=40, help="strips drawn for every scene")
    parser.add_argument("--crop", type=int, default=16, help="width of the training crops, latent cells")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> list[float]:
    """Train, save and return the losses."""
    options = parse(argv)
    folder = options.output_dir / "landscapes" / "vae"
    vae = AutoencoderKL.from_pretrained(folder).to(options.device).eval()
    latents, strips = cached_latents(vae, options), draw_pool(options.strips, STRIP_WIDTH)

    def draw(rng: np.random.Generator) -> Pairs:
        return draw_pairs(latents, strips, options.batch_size, options.crop, rng)

    return go_on("landscapes-decoder", folder, options, draw, draw_test_pool())


if __name__ == "__main__":
    main()

"""Train the small autoencoder of the landscapes model: ``python training/train_landscapes_vae.py``.

Writes ``<output_dir>/landscapes/vae``: 128 px become 32 latents, scaled to a standard deviation of one.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.common import Trainer, make_parser
from training.drawing.scenes import draw_pool

CHANNELS = (32, 48, 128)
KL_WEIGHT = 3e-4
EDGE_WEIGHT = 0.7
STRIP_WIDTH = 1024
FIRST_TEST_STRIP = 100_000


def build_vae(channels: Sequence[int] = CHANNELS) -> AutoencoderKL:
    """Return an untrained autoencoder with four latent channels, one latent per ``2 ** (len(channels) - 1)`` pixels."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        block_out_channels=tuple(channels),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=16,
        sample_size=128,
        mid_block_add_attention=False,
    )


def to_tensor(pixels: np.ndarray) -> torch.Tensor:
    """Turn uint8 [B, h, w, 3] into float [B, 3, h, w] in [-1, 1]."""
    return torch.from_numpy(np.array(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1.0


def random_crops(pool: np.ndarray, count: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Return crops of full height from a pool [scenes, strips, h, W, 3], uint8 [count, h, width, 3]."""
    scenes, strips = rng.integers(pool.shape[0], size=count), rng.integers(pool.shape[1], size=count)
    left = rng.integers(pool.shape[3] - width + 1, size=count)
    return np.stack([pool[s, i, :, x : x + width] for s, i, x in zip(scenes, strips, left, strict=True)])


def edges(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return differences of neighbours along x and y."""
    return images.diff(dim=-1), images.diff(dim=-2)


def vae_loss(vae: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """Return L1 on pixels and on edges, plus a small pull of the latents towards a unit Gaussian."""
    posterior = vae.encode(images).latent_dist
    decoded = vae.decode(posterior.sample()).sample.float()
    loss = (decoded - images).abs().mean()
    for ours, theirs in zip(edges(decoded), edges(images), strict=True):
        loss = loss + EDGE_WEIGHT * (ours - theirs).abs().mean()
    return loss + KL_WEIGHT * posterior.kl().mean() / posterior.mean[0].numel()


@torch.no_grad()
def measure(vae: AutoencoderKL, pool: np.ndarray, device: str) -> tuple[float, np.ndarray]:
    """Return the standard deviation of the latents and the PSNR in dB of every scene of a pool."""
    latents, psnr = [], []
    for strips in pool:
        images = to_tensor(strips).to(device)
        latents.append(vae.encode(images).latent_dist.mode())
        decoded = vae.decode(latents[-1]).sample.clamp(-1, 1)
        psnr.append(-10 * torch.log10((decoded - images).square().mean() / 4).item())
    return torch.stack(latents).std().item(), np.asarray(psnr)


def draw_test_pool() -> np.ndarray:
    """Return strips that nothing is trained on."""
    return draw_pool(1, 256, FIRST_TEST_STRIP)


def save(vae: AutoencoderKL, folder: Path, pool: np.ndarray, device: str, scaling: float | None = None) -> float:
    """Save, and return the mean PSNR in dB on pictures that were never trained on.

    Args:
        vae: the autoencoder.
        folder: where to.
        pool: the pictures, as :func:`measure` takes them.
        device: of ``vae``.
        scaling: the scaling factor to save with it; if None, the one that gives these pictures' latents unit deviation.
    """
    std, psnr = measure(vae, pool, device)
    vae.register_to_config(scaling_factor=scaling or round(1.0 / std, 5))
    vae.save_pretrained(folder, safe_serialization=True)
    print(f"scaling {vae.config.scaling_factor}, PSNR {psnr.mean():.2f} dB, by scene {psnr.round(1)}", flush=True)
    return float(psnr.mean())


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the options."""
    parser = make_parser("Train the autoencoder of the landscapes model.", steps=1150, batch_size=8, learning_rate=1e-3)
    parser.add_argument("--strips", type=int, default=24, help="strips drawn for every scene")
    parser.add_argument("--crop", type=int, default=64, help="width of the training crops, pixels")
    parser.add_argument("--channels", type=int, nargs="+", default=CHANNELS, help="width of every level")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> list[float]:
    """Train, save and return the losses."""
    options = parse(argv)
    torch.manual_seed(options.seed)
    trainer = Trainer("landscapes-vae", build_vae(options.channels).to(options.device), options, ema_decay=0.995)
    pool = draw_pool(options.strips, STRIP_WIDTH)

    def loss_function(rng: np.random.Generator) -> torch.Tensor:
        crops = random_crops(pool, options.batch_size, options.crop, rng)
        return vae_loss(trainer.module, to_tensor(crops).to(options.device))

    losses = trainer.fit(loss_function, log_every=max(1, min(50, options.steps // 4)))
    save(trainer.ema, options.output_dir / "landscapes" / "vae", draw_test_pool(), options.device)
    return losses


if __name__ == "__main__":
    main()

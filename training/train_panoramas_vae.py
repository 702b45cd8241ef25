"""Train the autoencoder of the panoramas model: ``python training/train_panoramas_vae.py``.

Goes on from the landscapes' autoencoder, whose colours are those of strips, and writes ``<output_dir>/panoramas/vae``.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.common import Trainer, make_parser
from training.drawing.panorama_scenes import VIEW_SIZE, draw_views
from training.train_landscapes_vae import build_vae, random_crops, save, to_tensor, vae_loss

FIRST_PANORAMA, FIRST_TEST_PANORAMA = 200_000, 100_000


def draw_pool(panoramas: int, first_seed: int) -> np.ndarray:
    """Return the views of ``panoramas`` panoramas of every scene, uint8 [scenes, panoramas * poses, 128, 128, 3]."""
    return np.concatenate([draw_views(seed) for seed in range(first_seed, first_seed + panoramas)]).swapaxes(0, 1)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the options."""
    parser = make_parser("Train the autoencoder of the panoramas model.", steps=2000, batch_size=8, learning_rate=6e-4)
    parser.add_argument("--panoramas", type=int, default=12, help="panoramas drawn for every scene")
    parser.add_argument("--crop", type=int, default=64, help="side of the training crops, pixels")
    parser.add_argument("--start_from", type=Path, default=Path("data/models/landscapes"), help="landscapes model")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> list[float]:
    """Train, save and return the losses."""
    options = parse(argv)
    torch.manual_seed(options.seed)
    before = AutoencoderKL.from_pretrained(options.start_from / "vae")
    vae = build_vae(before.config.block_out_channels)  # whose saved config names no folder
    vae.load_state_dict(before.state_dict())
    trainer = Trainer("panoramas-vae", vae.to(options.device), options, ema_decay=0.995)
    pool = draw_pool(options.panoramas, FIRST_PANORAMA)

    def loss_function(rng: np.random.Generator) -> torch.Tensor:
        top = rng.integers(VIEW_SIZE - options.crop + 1)
        crops = random_crops(pool, options.batch_size, options.crop, rng)[:, top : top + options.crop]
        return vae_loss(trainer.module, to_tensor(crops).to(options.device))

    losses = trainer.fit(loss_function, log_every=max(1, min(50, options.steps // 4)))
    save(trainer.ema, options.output_dir / "panoramas" / "vae", draw_pool(1, FIRST_TEST_PANORAMA), options.device)
    return losses


if __name__ == "__main__":
    main()

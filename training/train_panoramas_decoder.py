"""Train the decoder of the panoramas model further: ``python training/train_panoramas_decoder.py``.

Starts from the autoencoder in ``<output_dir>/panoramas/vae`` and writes it back. The encoder stays as it is, so that
latents keep their meaning and a UNet that was trained on them stays right.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from diffusers import AutoencoderKL

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.common import make_parser
from training.train_landscapes_decoder import Pairs, draw_pairs, go_on
from training.train_panoramas import cached_latents
from training.train_panoramas_vae import FIRST_TEST_PANORAMA, draw_pool


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the options."""
    parser = make_parser(
        "Train the decoder of the panoramas model further.", steps=8000, batch_size=8, learning_rate=5e-4
    )
    parser.add_argument("--panoramas", type=int, default=24, help="panoramas drawn for every scene")
    parser.add_argument("--crop", type=int, default=16, help="width of the training crops, latent cells")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> list[float]:
    """Train, save and return the losses."""
    options = parse(argv)
    folder = options.output_dir / "panoramas" / "vae"
    vae = AutoencoderKL.from_pretrained(folder).to(options.device).eval()
    latents = cached_latents(vae, options).flatten(0, 1).swapaxes(0, 1)
    views = draw_pool(options.panoramas, 0)

    def draw(rng: np.random.Generator) -> Pairs:
        return draw_pairs(latents, views, options.batch_size, options.crop, rng)

    return go_on("panoramas-decoder", folder, options, draw, draw_pool(1, FIRST_TEST_PANORAMA))


if __name__ == "__main__":
    main()

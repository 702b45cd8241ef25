"""Train the panoramas model on the latents of drawn views: ``python training/train_panoramas.py``.

Needs the autoencoder that ``train_panoramas_vae.py`` wrote, starts from a landscapes model: its UNet and what its
text encoder knows of the words, and completes ``<output_dir>/panoramas`` to a folder for diffusers'
``StableDiffusionPipeline``. To end a run early, start it again with fewer ``--steps``: the learning rate falls to zero
there.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.common import Trainer, autocast, make_parser
from training.drawing.panorama_captions import WORDING, point
from training.drawing.panorama_scenes import SCENES, directions, draw_views
from training.train_landscapes import Denoiser, fit, make_tokenizer, pick_caption, save_folder, start_from
from training.train_landscapes_vae import to_tensor


@torch.no_grad()
def encode_views(vae: AutoencoderKL, seed: int, device: str) -> torch.Tensor:
    """Return scaled latents of the views of one panorama of every scene, float16 [poses, scenes, 4, 32, 32]."""
    views = draw_views(seed)
    with autocast(device):
        rows = [vae.encode(to_tensor(pose).to(device)).latent_dist.mode() for pose in views]
    return (torch.stack(rows).float() * vae.config.scaling_factor).half().cpu()


def cached_latents(vae: AutoencoderKL, options: argparse.Namespace) -> torch.Tensor:
    """Return :func:`encode_views` of every panorama, kept one by one in the checkpoint folder.

    Returns:
        float16 [panoramas, poses, scenes, 4, 32, 32].
    """
    folder = options.checkpoint_dir / f"panoramas-latents-{vae.config.scaling_factor}"
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{seed}.npy" for seed in range(options.panoramas)]
    for seed, path in enumerate(paths):
        if not path.exists():
            np.save(path.with_suffix(".new.npy"), encode_views(vae, seed, options.device).numpy())
            path.with_suffix(".new.npy").rename(path)
            print(f"encoded panorama {seed + 1}/{options.panoramas} of every scene", flush=True)
    return torch.stack([torch.from_numpy(np.load(path)) for path in paths])


def draw_batch(latents: torch.Tensor, count: int, rng: np.random.Generator) -> tuple[torch.Tensor, list[str]]:
    """Return random views [count, 4, 32, 32] and a caption for each, with its direction unless it is empty."""
    panoramas, poses, scenes = (rng.integers(size, size=count) for size in latents.shape[:3])
    names, looks = list(SCENES), directions()
    texts = [
        point(pick_caption(WORDING.captions(names[scene]), rng), looks[pose])
        for pose, scene in zip(poses, scenes, strict=True)
    ]
    return latents[panoramas, poses, scenes].float(), texts


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the options."""
    parser = make_parser("Train the panoramas model.", steps=18000, batch_size=16, learning_rate=8e-4)
    parser.add_argument("--panoramas", type=int, default=80, help="panoramas drawn for every scene")
    parser.add_argument("--start_from", type=Path, default=Path("data/models/landscapes"), help="landscapes model")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> list[float]:
    """Train, save and return the losses."""
    options = parse(argv)
    folder, tokenizer_folder = options.output_dir / "panoramas", options.checkpoint_dir / "panoramas-tokenizer"
    vae = AutoencoderKL.from_pretrained(folder / "vae").to(options.device).eval()
    latents, tokenizer = cached_latents(vae, options), make_tokenizer(tokenizer_folder, wording=WORDING)
    torch.manual_seed(options.seed)
    channels = UNet2DConditionModel.load_config(options.start_from / "unet")["block_out_channels"]
    denoiser = Denoiser(tokenizer, channels).to(options.device)
    start_from(denoiser, options.start_from, tokenizer)
    trainer = Trainer("panoramas", denoiser, options)
    losses = fit(trainer, tokenizer, lambda rng: draw_batch(latents, options.batch_size, rng))
    save_folder(trainer.ema, folder, tokenizer_folder, WORDING)
    return losses


if __name__ == "__main__":
    main()

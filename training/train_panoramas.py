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
from transformers import CLIPTextModel, CLIPTokenizer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.common import Trainer, autocast, make_parser
from training.drawing.panorama_captions import WORDING, point
from training.drawing.panorama_scenes import SCENES, directions, draw_views
from training.networks import clip_text
from training.train_landscapes import Denoiser, build_scheduler, denoising_loss, pick_caption, save_folder
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


def start_from(folder: Path, tokenizer: CLIPTokenizer) -> Denoiser:
    """Return a denoiser with the weights of a folder; words that are new to it get embeddings of their own."""
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    denoiser = Denoiser(tokenizer, unet.config.block_out_channels)
    denoiser.unet.load_state_dict(unet.state_dict())
    known = CLIPTextModel.from_pretrained(folder / "text_encoder").state_dict()
    old, new = CLIPTokenizer.from_pretrained(folder / "tokenizer").get_vocab(), tokenizer.get_vocab()
    for name, value in denoiser.text_encoder.state_dict().items():
        if not name.endswith("token_embedding.weight"):
            value.copy_(known[name])
            continue
        both = [piece for piece in new if piece in old]
        value[[new[piece] for piece in both]] = known[name][[old[piece] for piece in both]]
    return denoiser


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
    if not tokenizer_folder.exists():
        clip_text.write_tokenizer(tokenizer_folder, WORDING)
    vae = AutoencoderKL.from_pretrained(folder / "vae").to(options.device).eval()
    latents, scheduler = cached_latents(vae, options), build_scheduler()
    tokenizer = CLIPTokenizer.from_pretrained(tokenizer_folder)
    torch.manual_seed(options.seed)
    trainer = Trainer("panoramas", start_from(options.start_from, tokenizer).to(options.device), options)

    def loss_function(rng: np.random.Generator) -> torch.Tensor:
        views, texts = draw_batch(latents, options.batch_size, rng)
        ids = clip_text.tokenize(tokenizer, texts).to(options.device)
        return denoising_loss(trainer.module, scheduler, views.to(options.device), ids, rng)

    losses = trainer.fit(loss_function, log_every=max(1, min(50, options.steps // 4)))
    save_folder(trainer.ema, folder, tokenizer_folder, WORDING)
    return losses


if __name__ == "__main__":
    main()

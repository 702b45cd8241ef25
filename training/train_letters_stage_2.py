"""Train the small second stage: letters from 32 to 128 pixels in the layout of DeepFloyd IF's super-resolution.

It reads the text encoder of the first stage from ``<output_dir>/letters-stage-1`` and leaves it as it is.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from diffusers import IFSuperResolutionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnAddedKVProcessor
from torch import nn
from torch.nn import functional as F
from transformers import T5EncoderModel, T5Tokenizer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.common import LossFunction, Trainer, make_parser
from training.drawing import letters
from training.networks import if_layout, t5_text
from training.train_letters_stage_1 import NAME as STAGE_1
from training.train_letters_stage_1 import draw_labels

NAME = "letters-stage-2"
LOW, SIZE, CROP = 32, 128, 64
WHOLE_PICTURES = 0.25
MAX_LEVEL = 400
WIDTHS = (16, 32, 64, 96, 96)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = make_parser(__doc__, steps=3600, batch_size=8, learning_rate=1e-3)
    parser.add_argument("--widths", type=int, nargs="+", default=list(WIDTHS), help="channels of each level")
    return parser.parse_args(argv)


def make_unet(widths: list[int]) -> UNet2DConditionModel:
    """Return an untrained network: convolutions, with attention to the text at the lowest level only."""
    unet = UNet2DConditionModel(
        sample_size=SIZE,
        in_channels=6,
        out_channels=6,
        block_out_channels=widths,
        layers_per_block=1,
        down_block_types=["DownBlock2D"] * len(widths),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=["UpBlock2D"] * len(widths),
        attention_head_dim=32,
        norm_num_groups=8,
        resnet_time_scale_shift="scale_shift",
        cross_attention_dim=widths[-1],
        cross_attention_norm="group_norm",
        encoder_hid_dim=t5_text.WIDTH,
        encoder_hid_dim_type="text_proj",
        addition_embed_type="text",
        addition_embed_type_num_heads=8,
        class_embed_type="timestep",
    )
    unet.set_attn_processor(AttnAddedKVProcessor())
    return unet


@torch.no_grad()
def embed_captions(folder: Path) -> torch.Tensor:
    """Return the first stage's embeddings of every caption, float32 ``[captions, 77, width]``."""
    tokenizer = T5Tokenizer.from_pretrained(folder / "tokenizer")
    encoder = T5EncoderModel.from_pretrained(folder / "text_encoder").eval()
    ids, mask = t5_text.tokenize(tokenizer, letters.captions())
    return encoder(ids, attention_mask=mask)[0]


def degrade(low: torch.Tensor) -> torch.Tensor:
    """Blur and disturb low-resolution pictures ``[n, 3, h, w]`` a little, as generated ones are."""
    share = torch.rand(2, len(low), 1, 1, 1)
    blurred = F.avg_pool2d(F.pad(low, (1,) * 4, mode="replicate"), 3, stride=1)
    return low + 0.6 * share[0] * (blurred - low) + 0.08 * share[1] * torch.randn_like(low)


def draw_levels(count: int, rng: np.random.Generator) -> torch.Tensor:
    """Return noise levels ``[count]`` from 0 to below ``MAX_LEVEL``, low ones more often."""
    return torch.from_numpy((MAX_LEVEL * rng.random(count) ** 2).astype(np.int64))


def crop(pictures: torch.Tensor, side: int, rng: np.random.Generator) -> torch.Tensor:
    """Return a random square of ``side`` pixels of a batch."""
    top, left = rng.integers(SIZE - side + 1, size=2)
    return pictures[:, :, top : top + side, left : left + side]


def make_loss(unet: nn.Module, options: argparse.Namespace) -> LossFunction:
    """Return the function that draws a batch and returns its loss; most batches are crops, some whole pictures."""
    glyphs = letters.load_glyphs(options.checkpoint_dir / "glyphs.npz")
    embeds = embed_captions(options.output_dir / STAGE_1).to(options.device)
    scheduler, noising = if_layout.make_scheduler(1.0), if_layout.make_noising_scheduler()

    def loss(rng: np.random.Generator) -> torch.Tensor:
        whole = rng.random() < WHOLE_PICTURES
        drawn, told = draw_labels(max(1, options.batch_size // 4) if whole else options.batch_size, rng)
        pictures = letters.draw(glyphs, drawn, SIZE, rng)
        upscaled = F.interpolate(degrade(letters.shrink(pictures, LOW)), SIZE, mode="bilinear", align_corners=True)
        both = crop(torch.cat([pictures, upscaled], 1), SIZE if whole else CROP, rng).to(options.device)
        x0, condition = both.chunk(2, dim=1)
        level = draw_levels(len(x0), rng).to(options.device)
        condition = noising.add_noise(condition, torch.randn_like(condition), level)
        eps, t = torch.randn_like(x0), if_layout.spread_timesteps(len(x0), options.device)
        x_t = torch.cat([scheduler.add_noise(x0, eps, t), condition], 1).contiguous(memory_format=torch.channels_last)
        output = unet(x_t, t, encoder_hidden_states=embeds[told], class_labels=level).sample
        return if_layout.diffusion_loss(output, scheduler.get_velocity(x0, eps, t))

    return loss


def save(unet: nn.Module, folder: Path) -> None:
    """Save the pipeline without a text encoder: prompts are encoded by the first stage's."""
    pipeline = IFSuperResolutionPipeline(
        tokenizer=None,
        text_encoder=None,
        unet=unet,
        scheduler=if_layout.make_scheduler(1.0, "trailing"),
        image_noising_scheduler=if_layout.make_noising_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        watermarker=None,
        requires_safety_checker=False,
    )
    if_layout.save_folder(pipeline, folder, {})


def main(argv: list[str] | None = None) -> list[float]:
    """Train, save to ``<output_dir>/letters-stage-2`` and return the losses."""
    options = parse(argv)
    torch.manual_seed(options.seed)
    unet = make_unet(options.widths).to(options.device, memory_format=torch.channels_last)
    trainer = Trainer(NAME, unet, options)
    losses = trainer.fit(make_loss(unet, options))
    save(trainer.ema.to("cpu", memory_format=torch.contiguous_format), options.output_dir / NAME)
    return losses


if __name__ == "__main__":
    main()

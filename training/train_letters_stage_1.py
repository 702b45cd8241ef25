"""Train the small first stage: letters of 32 pixels in DeepFloyd IF's layout, text encoder included."""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from diffusers import IFPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnAddedKVProcessor
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from training.common import LossFunction, Trainer, make_parser
from training.drawing import letters
from training.networks import if_layout, t5_text

NAME = "letters-stage-1"
SIZE = 32
CAPTION_DROPOUT = 0.1
WIDTHS = (32, 64, 96, 96)
WITHOUT_ATTENTION = 2
HEAD = 32  # channels of a head; and groups of normalisation have half as many


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = make_parser(__doc__, steps=6500, batch_size=32, learning_rate=1e-3)
    parser.add_argument("--widths", type=int, nargs="+", default=list(WIDTHS), help="channels of each level")
    parser.add_argument("--start_from", type=Path, help="folder of a first stage whose weights to go on from")
    options = parser.parse_args(argv)
    units = [HEAD // 2] * WITHOUT_ATTENTION + [HEAD] * max(1, len(options.widths) - WITHOUT_ATTENTION)
    fits = [width > 0 and width % unit == 0 for width, unit in zip(options.widths, units, strict=False)]
    if len(fits) < len(units) or not all(fits):
        given = " ".join(map(str, options.widths))
        parser.error(
            f"--widths {given} makes no network: give {WITHOUT_ATTENTION} multiples of {HEAD // 2} and one or more of "
            f"{HEAD}, such as {' '.join(map(str, WIDTHS))}."
        )
    return options


def make_unet(widths: list[int]) -> UNet2DConditionModel:
    """Return an untrained network shaped like IF's first stage, with attention from the third level on.

    Its attention is the unfused one, whose backward pass is the faster one on CPUs; weights are the same.
    """
    attended = len(widths) - WITHOUT_ATTENTION
    unet = UNet2DConditionModel(
        sample_size=SIZE,
        in_channels=3,
        out_channels=6,
        block_out_channels=widths,
        layers_per_block=1,
        down_block_types=["DownBlock2D"] * WITHOUT_ATTENTION + ["SimpleCrossAttnDownBlock2D"] * attended,
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=["SimpleCrossAttnUpBlock2D"] * attended + ["UpBlock2D"] * WITHOUT_ATTENTION,
        attention_head_dim=HEAD,
        norm_num_groups=HEAD // 2,
        resnet_time_scale_shift="scale_shift",
        cross_attention_dim=widths[-1],
        cross_attention_norm="group_norm",
        encoder_hid_dim=t5_text.WIDTH,
        encoder_hid_dim_type="text_proj",
        addition_embed_type="text",
        addition_embed_type_num_heads=8,
    )
    unet.set_attn_processor(AttnAddedKVProcessor())
    return unet


def start_from(module: nn.ModuleDict, folder: Path) -> None:
    """Take the weights of a first stage that was trained before, of the same widths and words."""
    found = IFPipeline.from_pretrained(folder, safety_checker=None, feature_extractor=None, watermarker=None)
    module["unet"].load_state_dict(found.unet.state_dict())
    module["text_encoder"].load_state_dict(found.text_encoder.state_dict())


def draw_labels(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return what is drawn and what the caption says, ``[count]`` indices each; some captions are empty."""
    drawn = rng.integers(len(letters.captions()) - 1, size=count)
    told = np.where(rng.random(count) < CAPTION_DROPOUT, len(letters.captions()) - 1, drawn)
    return drawn, told


def make_loss(module: nn.ModuleDict, tokenizer: t5_text.T5Tokenizer, options: argparse.Namespace) -> LossFunction:
    """Return the function that draws a batch and returns its loss."""
    glyphs = letters.load_glyphs(options.checkpoint_dir / "glyphs.npz")
    ids, mask = (part.to(options.device) for part in t5_text.tokenize(tokenizer, letters.captions()))
    scheduler = if_layout.make_scheduler(1.5)

    def loss(rng: np.random.Generator) -> torch.Tensor:
        drawn, told = draw_labels(options.batch_size, rng)
        x0 = letters.shrink(letters.draw(glyphs, drawn, 2 * SIZE, rng), SIZE).to(options.device)
        embeds = module["text_encoder"](ids[told], attention_mask=mask[told])[0]
        eps, t = torch.randn_like(x0), if_layout.spread_timesteps(len(x0), options.device)
        x_t = scheduler.add_noise(x0, eps, t)
        output = module["unet"](x_t, t, encoder_hidden_states=embeds).sample
        return if_layout.diffusion_loss(output, scheduler.get_velocity(x0, eps, t))

    return loss


def save(module: nn.ModuleDict, tokenizer: t5_text.T5Tokenizer, folder: Path) -> None:
    """Save the whole pipeline and the words that its prompts may use."""
    pipeline = IFPipeline(
        tokenizer=tokenizer,
        text_encoder=module["text_encoder"],
        unet=module["unet"],
        scheduler=if_layout.make_scheduler(1.5),
        safety_checker=None,
        feature_extractor=None,
        watermarker=None,
        requires_safety_checker=False,
    )
    words = json.dumps(letters.vocabulary(), indent=2) + "\n"
    if_layout.save_folder(pipeline, folder, {"words.json": words})


def main(argv: list[str] | None = None) -> list[float]:
    """Train, save to ``<output_dir>/letters-stage-1`` and return the losses."""
    options = parse(argv)
    torch.manual_seed(options.seed)
    tokenizer = t5_text.make_tokenizer(letters.captions())
    module = nn.ModuleDict(
        {"unet": make_unet(options.widths), "text_encoder": t5_text.make_text_encoder(tokenizer)}
    ).to(options.device)
    if options.start_from:
        start_from(module, options.start_from)
    trainer = Trainer(NAME, module, options)
    losses = trainer.fit(make_loss(module, tokenizer, options))
    save(trainer.ema.to("cpu"), tokenizer, options.output_dir / NAME)
    return losses


if __name__ == "__main__":
    main()

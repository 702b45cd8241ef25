"""Write full-size pipelines with random weights in the Hub's layout, to measure time and memory without the Hub.

    python benchmarks/full_size_models.py --layout sd2                          # only counts the parameters
    python benchmarks/full_size_models.py --layout sd2 OUT_DIR --dtype float16  # writes the folder

The networks of DeepFloyd IF are stand-ins of the same resolution and parameter count. The T5 encoder has its full
width, and as many of its 24 layers as asked for.
"""

import argparse
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from utils.models import hub_layout
from utils.models.hub_layout import Config, Saving


def network_configs(layout: str, t5_layers: int) -> dict[str, tuple[str, Config]]:
    """The networks of a layout, as component name -> (kind, configuration)."""
    if layout == "sd2":
        return {
            "unet": ("unet", hub_layout.SD_UNET),
            "vae": ("vae", hub_layout.SD_VAE),
            "text_encoder": ("clip", hub_layout.CLIP_TEXT),
        }
    unet = {"if1": hub_layout.IF_UNET_STAGE_1, "if2": hub_layout.IF_UNET_STAGE_2}[layout]
    return {"unet": ("unet", unet), "text_encoder": ("t5", hub_layout.T5_TEXT | {"num_layers": t5_layers})}


def count_parameters(kind: str, config: Config) -> int:
    """Parameters of a network, counted without allocating them."""
    with torch.device("meta"):
        return sum(weight.numel() for weight in hub_layout.build_model(kind, config).parameters())


def write_folder(layout: str, folder: Path, networks: dict[str, tuple[str, Config]], saving: Saving) -> None:
    """Build the networks with random weights and save them."""
    models = {name: hub_layout.build_model(kind, config) for name, (kind, config) in networks.items()}
    if layout == "sd2":
        hub_layout.write_stable_diffusion(folder, **models, saving=saving)
    else:
        hub_layout.write_if_stage(folder, {"if1": 1, "if2": 2}[layout], **models, saving=saving)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out_dir", nargs="?", type=Path, help="folder to write; without it only the counts are printed")
    parser.add_argument("--layout", required=True, choices=("sd2", "if1", "if2"), help="which pipeline")
    parser.add_argument(
        "--dtype",
        default="float16",
        choices=("float16", "bfloat16", "float32"),
        help="type of the saved weights; float16 files carry the variant fp16 (default: %(default)s)",
    )
    parser.add_argument("--t5_layers", type=int, default=1, help="layers of IF's text encoder (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random weights (default: %(default)s)")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    networks = network_configs(args.layout, args.t5_layers)
    for name, (kind, config) in networks.items():
        print(f"{args.layout} {name}: {count_parameters(kind, config) / 1e6:.1f} M parameters")
    if args.out_dir is not None:
        torch.manual_seed(args.seed)
        variant = "fp16" if args.dtype == "float16" else None
        write_folder(args.layout, args.out_dir, networks, Saving(variant, getattr(torch, args.dtype)))
        print(f"written to {args.out_dir}")


if __name__ == "__main__":
    main()

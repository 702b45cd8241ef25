"""Show what views do: ``python benchmarks/show_views.py`` writes ``results/embedded/views.png``.

Each picture is shown as it is and then as seen through its views. Views and letters were chosen by hand: for the inner
circle, jigsaw, square_hinge, patch_permute and flip after a search of 14 pairs or more with other seeds; of two jigsaw
pairs the one that reads is here; low_pass with high_pass is not here, since one letter always wins both. The seed is
fixed; with ``--num_samples`` above 1 the shipped scorer keeps the best, as ``main.py --keep_best`` does. Pictures that
exist already are not made again. Other models than the embedded one draw the same letters; give them a ``--work_dir``
and an ``--output`` of their own.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import main
from benchmarks.ambiguous_runs import add_model_options, model_argv
from utils.animation.views import canonical_picture
from utils.files import write_atomic
from utils.images import png_bytes
from utils.views import get_views
from utils.views.view_base import from_tensor, to_tensor

ROOT = Path(__file__).resolve().parents[1]
PHOTOGRAPH = ROOT / "results" / "embedded" / "ambiguous" / "an_oil_painting_of_the_letter_N.png"
SIDE, GAP, LINE, COLUMNS = 128, 12, 18, 6
PAPER, INK = (255, 255, 255), (30, 30, 30)
COLOURS = 255  # of the sheet's palette, which keeps it small


@dataclass(frozen=True)
class Example:
    """One picture to make.

    Attributes:
        views: as ``--views_names`` takes them.
        style: of all letters.
        letters: one per view that has a prompt.
        photograph: the first view is held to ``PHOTOGRAPH``.
    """

    views: tuple[str, ...]
    style: str
    letters: str
    photograph: bool = False

    @property
    def tag(self) -> str:
        """Name of its folder."""
        return "_".join([*self.views, self.letters]).replace(":", "_").replace("=", "_").replace(",", "_")

    @property
    def argv(self) -> list[str]:
        """What ``main.py`` is told besides seeds and folders."""
        prompts = [f"the letter {letter}" for letter in self.letters]
        held = ["--ref_image", str(PHOTOGRAPH)] if self.photograph else []
        return ["--views_names", *self.views, "--style", self.style, "--prompts", *prompts, "--tag", self.tag, *held]


EXAMPLES = (
    Example(("identity", "rotate_cw"), "an oil painting of", "NZ"),
    Example(("identity", "flip"), "a photo of", "MW"),
    Example(("identity", "inner_circle"), "an oil painting of", "MW"),
    Example(("identity", "jigsaw"), "a lithograph of", "NZ"),
    Example(("identity", "square_hinge"), "a painting of", "KX"),
    Example(("identity", "patch_permute"), "a painting of", "SZ"),
    Example(("identity", "negate"), "a photo of", "HI"),
    Example(("identity", "rotate_cw", "rotate_180"), "a lithograph of", "WEM"),
    Example(("grayscale", "color"), "an oil painting of", "XO"),
    Example(("grayscale", "color"), "a photo of", "N", photograph=True),
)


def make(example: Example, options: argparse.Namespace) -> list[tuple[str, Image.Image]]:
    """Make a picture; return it as it is and as its views show it, each with its caption."""
    argv = ["--app", "ambiguous_image", *model_argv(options), "--save_top_dir", str(options.work_dir), *example.argv,
            "--seed", str(options.seed), "--num_samples", str(options.num_samples),
            "--num_inference_steps", str(options.num_inference_steps)]  # fmt: skip
    if main.main([*argv, *(["--keep_best"] if options.num_samples > 1 else [])]) != 0:
        sys.exit(f"show_views.py: error: the picture of {example.tag} failed.")
    folder = options.work_dir / example.tag
    files = json.loads((folder / "run.json").read_text(encoding="utf-8"))["pictures"][0]["files"]
    views = get_views(example.views)
    picture = canonical_picture(folder, files, views)
    seen = [from_tensor(view.show(to_tensor(picture))) for view in views]
    names = [view.partition(":")[0] for view in example.views]
    letters = ["photo", *example.letters] if example.photograph else list(example.letters)
    cells = [(f"{name}: {letter}", one) for name, letter, one in zip(names, letters, seen, strict=True)]
    return [("the whole", picture), *cells] if views[0].kind == "component" else cells


def sheet(groups: Sequence[Sequence[tuple[str, Image.Image]]]) -> Image.Image:
    """Return all pictures on one sheet, at most ``COLUMNS`` a row; those of one example are not parted."""
    rows: list[list[tuple[str, Image.Image]]] = [[]]
    for group in groups:
        if len(rows[-1]) + len(group) > COLUMNS:
            rows.append([])
        rows[-1] += group
    paper = Image.new("RGB", (COLUMNS * (SIDE + GAP) + GAP, len(rows) * (SIDE + LINE + GAP) + GAP), PAPER)
    draw, font = ImageDraw.Draw(paper), ImageFont.load_default(size=13)
    for row, cells in enumerate(rows):
        for column, (caption, picture) in enumerate(cells):
            left, top = GAP + column * (SIDE + GAP), GAP + row * (SIDE + LINE + GAP)
            paper.paste(picture.resize((SIDE, SIDE)), (left, top))
            draw.text((left, top + SIDE + 2), caption, fill=INK, font=font)
    return paper


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--work_dir", type=Path, default=ROOT / "results" / "show_views", help="where pictures go")
    parser.add_argument("--output", type=Path, default=ROOT / "results" / "embedded" / "views.png", help="the sheet")
    add_model_options(parser, dtype="bfloat16")
    parser.add_argument("--seed", type=int, default=1, help="first seed")
    parser.add_argument("--num_samples", type=int, default=1, help="seeds to choose from, by the shipped scorer")
    parser.add_argument("--num_inference_steps", type=int, default=30, help="denoising steps")
    return parser.parse_args(argv)


def show(argv: Sequence[str] | None = None) -> None:
    """Make everything and write the sheet."""
    options = parse(argv)
    paper = sheet([make(example, options) for example in EXAMPLES])
    palette = paper.quantize(COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(options.output, png_bytes(palette))
    print(f"{options.output}: {paper.width}x{paper.height}, {options.output.stat().st_size:,} bytes")


if __name__ == "__main__":
    show()

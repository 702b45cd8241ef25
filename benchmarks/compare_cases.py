"""Compare ways of synchronising, on the embedded letters unless told: ``python benchmarks/compare_cases.py``.

    python benchmarks/compare_cases.py --stage_1_path DeepFloyd/IF-I-M-v1.0 --stage_2_path DeepFloyd/IF-II-M-v1.0 \\
        --prompts_file data/ambiguous_image_prompts.json --output_dir results/compare_cases_if

The same prompts and seeds go through SyncTweedies' cases 1 to 6 with the inner disc turned by 90 and by 45 degrees.
Each row has the standard error of its score over the pictures, and how far the score is from that of averaging x0 with
the same angle and starts, picture by picture. Writes ``compare_cases.md``, ``.json`` and ``.png`` (a grid of pictures)
into ``benchmarks/results``; pictures that exist already are not made again.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import eval
import main
from benchmarks.ambiguous_runs import add_model_options, model_argv
from benchmarks.report import markdown, write_report
from utils.files import write_atomic, write_json
from utils.images import png_bytes
from utils.views import get_views

ROOT = Path(__file__).resolve().parents[1]
ANGLES = (90, 45)
# row of the table -> options besides the angle
ROWS = {
    "1: eps": ["--case_num", "1", "--initialize_xt_from_zt"],
    "2: x0": ["--case_num", "2", "--initialize_xt_from_zt"],
    "3: x_t": ["--case_num", "3", "--initialize_xt_from_zt"],
    "4: eps, on the canvas": ["--case_num", "4"],
    "5: x0, on the canvas": ["--case_num", "5"],
    "6: x_t, on the canvas": ["--case_num", "6"],
    "1: eps, independent starts": ["--case_num", "1"],
    "2: x0, independent starts": ["--case_num", "2"],
    "3: x_t, independent starts": ["--case_num", "3"],
    "0: no synchronisation": ["--case_num", "0"],
}
INDEPENDENT = ", independent starts"
PAIRS = {
    "O-Q": ("an oil painting of the letter O", "an oil painting of the letter Q"),
    "X-K": ("a pencil sketch of the letter X", "a pencil sketch of the letter K"),
    "I-H": ("a lithograph of the letter I", "a lithograph of the letter H"),
    "N-Z": ("a photo of the letter N", "a photo of the letter Z"),
}
SIDE, GAP, LABEL_WIDTH = 64, 3, 200  # of the grid, in pixels


def write_prompts(path: Path) -> Path:
    """Write the pairs as a prompts file; return its path."""
    entries = {name: {"canonical_prompt": one, "instance_prompt": other} for name, (one, other) in PAIRS.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, entries)
    return path


def views_of(angle: int) -> list[str]:
    """Return the views of a comparison as the command line wants them."""
    return ["identity", f"inner_rotate:angle={angle}"]


def make_folder(work: Path, angle: int, row: str, options: argparse.Namespace) -> Path:
    """Make the pictures of one row and score them; return their folder."""
    tag = f"inner_{angle}_{'_'.join(ROWS[row]).strip('-').replace('--', '')}"
    prompts_file = options.prompts_file or write_prompts(work / "prompts.json")
    argv = ["--app", "ambiguous_image", *model_argv(options), "--prompts_file", str(prompts_file),
            "--views_names", *views_of(angle), "--save_top_dir", str(work), "--tag", tag,
            "--seed", str(options.seed), "--num_samples", str(options.num_samples),
            "--num_inference_steps", str(options.num_inference_steps)]  # fmt: skip
    if main.main([*argv, *ROWS[row]]) != 0:
        sys.exit(f"compare_cases.py: error: pictures of {tag} failed.")
    scorer = [] if options.clip_model is None else ["--clip_model", options.clip_model]
    eval.main(["--fdir1", str(work / tag), "--app", "ambiguous_images", *scorer])
    return work / tag


def disagreement(folder: Path, angle: int) -> float:
    """Return the mean absolute difference, in 0..1, of the first view and the second one turned back."""
    view = get_views(views_of(angle))[1]
    differences = []
    for picture in json.loads((folder / "run.json").read_text(encoding="utf-8"))["pictures"]:
        files = [entry["file"] for entry in picture["files"] if entry["role"] == "view"]
        first, second = (read(folder / file) for file in files)
        differences.append((first - view.inverse_view(second)).abs().mean().item())
    return float(np.mean(differences))


def read(path: Path) -> torch.Tensor:
    """Return a picture as ``[3, h, w]`` in 0..1."""
    return torch.from_numpy(np.asarray(Image.open(path), dtype=np.float32)).permute(2, 0, 1) / 255


def measure(folder: Path, angle: int, row: str) -> dict[str, Any]:
    """Return one row of the table, with the score of every picture."""
    details = json.loads((folder / "eval_details.json").read_text(encoding="utf-8"))
    scores = picture_scores(folder, details)
    return {
        "turn": angle,
        "case": row,
        "A": details["alignment"],
        "C": details["concealment"],
        "score": details["score"],
        "standard error": standard_error(scores),
        "views differ by": disagreement(folder, angle),
        "pictures": len(scores),
        "scores": scores,
    }


def picture_scores(folder: Path, details: dict[str, Any]) -> list[float]:
    """Return the mean score of every picture's views, in the order in which the pictures were made."""
    by_file = {picture["file"]: picture["score"] for picture in details["pictures"]}
    pictures = json.loads((folder / "run.json").read_text(encoding="utf-8"))["pictures"]
    views = [[entry["file"] for entry in picture["files"] if entry["role"] == "view"] for picture in pictures]
    return [statistics.mean(by_file[file] for file in files) for files in views]


def standard_error(values: Sequence[float]) -> float | None:
    """Return the standard error of the mean; None of one value, which does not say."""
    return statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else None


def beside_x0(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add to every row how far its score is from that of x0 with the same angle and starts, picture by picture."""
    x0 = {(row["turn"], INDEPENDENT in row["case"]): row["scores"] for row in rows if row["case"].startswith("2:")}
    compared = []
    for row in rows:
        shared = not (INDEPENDENT in row["case"] or row["case"].startswith("0:"))
        reference = x0[row["turn"], not shared]
        differences = [score - other for score, other in zip(row["scores"], reference, strict=True)]
        known = {name: value for name, value in row.items() if name != "scores"}
        compared.append({**known, "score, less that of x0": statistics.mean(differences),
                         "standard error of that": standard_error(differences)})  # fmt: skip
    return compared


def grid(made: Sequence[tuple[int, str, Path]]) -> Image.Image:
    """Return the first sample of every pair, views side by side, with a label: one row per folder."""
    rows = [[label(f"{angle} degrees, {row}"), *first_samples(folder)] for angle, row, folder in made]
    lines = [np.concatenate([pad(picture) for picture in row], axis=1) for row in rows]
    return Image.fromarray(np.concatenate(lines)).quantize(255)


def label(text: str) -> np.ndarray:
    """Return a white picture with a line of text, as high as the others."""
    picture = Image.new("RGB", (LABEL_WIDTH, SIDE), "white")
    ImageDraw.Draw(picture).text((GAP, SIDE // 2), text, fill="black", font=ImageFont.load_default(11), anchor="lm")
    return np.asarray(picture)


def first_samples(folder: Path) -> list[np.ndarray]:
    """Return the side-by-side pictures of the first seed, in the order of the prompts."""
    pictures = json.loads((folder / "run.json").read_text(encoding="utf-8"))["pictures"]
    first = min(picture["seed"] for picture in pictures)
    files = [
        entry["file"]
        for picture in pictures
        if picture["seed"] == first
        for entry in picture["files"]
        if entry["role"] == "side_by_side"
    ]
    shown = (Image.open(folder / file) for file in files)
    return [np.asarray(one.resize((SIDE * one.width // one.height, SIDE), Image.Resampling.LANCZOS)) for one in shown]


def pad(picture: np.ndarray) -> np.ndarray:
    """Put white around a picture ``[h, w, 3]``."""
    return np.pad(picture, ((0, GAP), (0, GAP), (0, 0)), constant_values=255)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--work_dir", type=Path, default=ROOT / "results" / "compare_cases", help="where pictures go")
    parser.add_argument("--output_dir", type=Path, default=ROOT / "benchmarks" / "results", help="where tables go")
    add_model_options(parser, dtype="auto")
    parser.add_argument("--prompts_file", type=Path, help="pairs to draw, as main.py takes them; else four of letters")
    parser.add_argument("--clip_model", help="scorer, as eval.py takes it; else what suits the model")
    parser.add_argument("--seed", type=int, default=0, help="first seed")
    parser.add_argument("--num_samples", type=int, default=2, help="seeds per prompt")
    parser.add_argument("--num_inference_steps", type=int, default=30, help="denoising steps")
    return parser.parse_args(argv)


def compare(argv: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Make, score and write everything; return the rows."""
    options = parse(argv)
    made = [(angle, row, make_folder(options.work_dir, angle, row, options)) for angle in ANGLES for row in ROWS]
    measured = [measure(folder, angle, row) for angle, row, folder in made]
    rows = beside_x0(measured)
    by_picture = [{key: row[key] for key in ("turn", "case", "scores")} for row in measured]
    write_report("compare_cases", rows, options.output_dir, num_inference_steps=options.num_inference_steps,
                 seeds=[options.seed, options.num_samples], scores_by_picture=by_picture)  # fmt: skip
    write_atomic(options.output_dir / "compare_cases.png", png_bytes(grid(made)))
    print(markdown(rows))
    return rows


if __name__ == "__main__":
    compare()

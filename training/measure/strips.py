"""Strips: do their crops show the scene, and can one see where windows meet?"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from guidance.wide_image_app import read_strip_prompts
from guidance.windows import border_columns
from training.drawing.landscape_captions import PROMPTS
from training.drawing.scenes import HEIGHT, draw_pool
from training.measure.judge import scene_judge
from training.measure.report import mean, number_row, share_row
from training.measure.tool import ROOT, Shot, Tool, by_prompts, cost
from utils.files import write_json
from utils.scoring.seams import seam_figure

WIDE_PROMPTS = "data/wide_image_prompts.json"
FIRST_DRAWN_STRIP = 500_000
SCENE_OF = {prompt: scene for scene, prompt in PROMPTS.items()}


def measure_strips(tool: Tool) -> dict[str, Any]:
    """Judge the crops of all scenes' strips and look for seams."""
    options = tool.options
    prompts = ("--prompts_file", str(write_scenes(options.work_dir / "strips.json")))
    shots = tool.make("strips", "wide_image", options.seeds, *prompts)
    apart = tool.make("strips-none", "wide_image", options.baseline_seeds, *prompts, "--sync", "none")
    judge = scene_judge(options.checkpoint_dir)
    right = {SCENE_OF[texts[0]]: judge_crops(judge, group) for texts, group in by_prompts(shots).items()}
    same_seeds = [shot for shot in shots if shot.entry["seed"] < options.baseline_seeds]
    seams = {name: seams_of(tool, some) for name, some in
             (("all", shots), ("same_seeds", same_seeds), ("none", apart))}  # fmt: skip
    width = shots[0].options["panorama_width"]
    drawn = draw_pool(options.seeds, width, FIRST_DRAWN_STRIP).reshape(-1, HEIGHT, width, 3)
    seams["drawn"] = seam_figures(list(drawn), *columns_of(tool, shots[0]))
    worst = min(right, key=right.get)
    first = f"seeds 0 to {options.baseline_seeds - 1}"
    rows = [
        share_row("judge of scenes, held-out strips", judge.held_out, 0.98),
        share_row("strips: crops of the right scene, all scenes", mean(list(right.values())), 0.95),
        share_row(f"strips: crops of the right scene, worst scene ({worst})", right[worst], 0.8),
        number_row("strips: seams, where windows begin or end", seams["all"]["begin_or_end"], "", 1.05),
        number_row("the same against steps on the decoder's grid alone", seams["all"]["begin_or_end_on_grid"], ""),
        number_row("the same of as many strips that are drawn, not generated", seams["drawn"]["begin_or_end"], ""),
        number_row("half-way between, where no window ends", seams["all"]["nearest"], ""),
        number_row(f"the first, {first}", seams["same_seeds"]["begin_or_end"], ""),
        number_row(f"`--sync none`, {first}: half-way, where its windows meet", seams["none"]["nearest"], ""),
    ]
    return {
        "rows": rows,
        "details": {"right_by_scene": right, "seams": seams, "judge_held_out": judge.held_out, **cost(shots)},
    }


def write_scenes(file: Path) -> Path:
    """Write the prompts file of all scenes, those of the assignment with their crops; return its full path."""
    entries = read_strip_prompts(ROOT / WIDE_PROMPTS)
    known = {fields["prompt"] for fields in entries.values()}
    write_json(file, entries | {scene: {"prompt": text} for scene, text in PROMPTS.items() if text not in known})
    return file.resolve()


def judge_crops(judge: Callable, shots: Sequence[Shot]) -> float:
    """Return the share of the crops of strips of one prompt that show its scene."""
    crops = [item for shot in shots for item in shot.pictures("crop")]
    found = judge([picture for picture, _ in crops])
    return mean([scene == SCENE_OF[prompt] for scene, (_, prompt) in zip(found, crops, strict=True)])


def seams_of(tool: Tool, shots: Sequence[Shot]) -> dict[str, float]:
    """Return :func:`seam_figures` of strips that were made with the same options."""
    strips = [np.asarray(shot.pictures("strip")[0][0]) for shot in shots]
    return seam_figures(strips, *columns_of(tool, shots[0]))


def columns_of(tool: Tool, shot: Shot) -> tuple[list[int], list[int], int]:
    """Return :func:`border_columns` of a strip, and how many pixels a latent cell has."""
    source, made = tool.plan("wide_image").sources["sd_path"], shot.options
    scale = 2 ** (len(source.config("vae")["block_out_channels"]) - 1)
    window = source.config("unet")["sample_size"]
    return *border_columns(made["panorama_width"], window, made["window_stride"], scale), scale


def seam_figures(strips: Sequence[np.ndarray], edges: Sequence[int], middles: Sequence[int], scale: int) -> dict:
    """Return the seam figures of both kinds of columns, and both against the decoder's own grid.

    Averaged windows have borders where they begin or end. Half-way, where another one's centre becomes the nearest, a
    strip has borders only where each window is shown by itself, as with ``--sync none``.
    """
    return {
        "begin_or_end": seam_figure(strips, edges, middles),
        "begin_or_end_on_grid": seam_figure(strips, edges, middles, grid=scale),
        "nearest": seam_figure(strips, middles, edges),
        "nearest_on_grid": seam_figure(strips, middles, edges, grid=scale),
    }

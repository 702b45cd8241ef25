"""Letters: single ones, and pairs that read both ways."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from guidance.ambiguous_image_app import AmbiguousImageApp
from training.drawing import letters
from training.measure.judge import letter_judge
from training.measure.report import GROUP, Row, mean, share_row
from training.measure.tool import ROOT, Shot, Tool, by_prompts, cost
from utils.files import write_json
from utils.options import options_of
from utils.scoring.clip_files import find_clip
from utils.scoring.clip_model import ClipScorer

PAIR_PROMPTS = "data/embedded_ambiguous_prompts.json"
PAIRS = ("--prompts_file", str(ROOT / PAIR_PROMPTS))

# ---------------------------------------------------------------------------------------------- single letters


def measure_letters(tool: Tool) -> dict[str, Any]:
    """Judge single letters: two at once, each its own picture (``--sync none``), upright in its own view."""
    options = tool.options
    half = len(letters.LETTERS) // 2
    file = options.work_dir / "letters.json"
    write_json(file, {f"pair_{index}": letter_entry(index, index + half) for index in range(half)})
    shots = tool.make("letters", "ambiguous_image", options.seeds, "--prompts_file", str(file.resolve()),
                      "--views_names", "identity", "rotate_cw", "--sync", "none")  # fmt: skip
    judge = letter_judge(options.checkpoint_dir)
    views = [view for shot in shots for view in shot.pictures("view")]
    found = judge([picture for picture, _ in views])
    right: dict[str, list[bool]] = {}
    for letter, (_, prompt) in zip(found, views, strict=True):
        right.setdefault(prompt, []).append(letter == letter_of(prompt))
    rows = [
        share_row("judge of letters, held-out faces", judge.held_out, 0.98),
        share_row("single letters, one view: judged right", mean(list(itertools.chain(*right.values()))), 0.97),
    ]
    by_prompt = {prompt: mean(values) for prompt, values in right.items()}
    return {"rows": rows, "details": {"right_by_prompt": by_prompt, "judge_held_out": judge.held_out, **cost(shots)}}


def letter_entry(first: int, second: int) -> dict[str, str]:
    """Return the entry of a prompts file for two letters by number; the styles take turns."""
    style = letters.STYLES[first % len(letters.STYLES)]
    prompts = [letters.caption(style, letters.LETTERS[index].upper()) for index in (first, second)]
    return {"canonical_prompt": prompts[0], "instance_prompt": prompts[1]}


def letter_of(prompt: str) -> str:
    """Return the letter that a prompt asks for, in lower case."""
    return prompt.rsplit(maxsplit=1)[-1].lower()


# ---------------------------------------------------------------------------------------------- pairs


@dataclass(frozen=True)
class Reading:
    """What the judge reads in one ambiguous picture.

    Attributes:
        own: every view's own picture shows its letter, for all views.
        one: the mean of the views, turned to each, shows each letter: what one sheet of paper can do.
        apart: mean absolute difference of the views' pictures, turned back, in levels of 255.
    """

    own: bool
    one: bool
    apart: float


def measure_pairs(tool: Tool) -> dict[str, Any]:
    """Judge the ambiguous pairs, the best of four seeds by the shipped scorer, and two ways that do without x0."""
    options = tool.options
    shots = tool.make("pairs", "ambiguous_image", options.seeds, *PAIRS)
    judge = letter_judge(options.checkpoint_dir)
    scorer = ClipScorer(find_clip(str(options.models / "scorer"), None))
    groups = {pair_name(prompts): group for prompts, group in by_prompts(shots).items()}
    readings = {name: [read(judge, shot) for shot in group] for name, group in groups.items()}
    best = {name: best_of_groups([score(scorer, shot) for shot in group]) for name, group in groups.items()}
    right = {name: mean([reading.own for reading in some]) for name, some in readings.items()}
    best_right = {name: mean([readings[name][k].own for k in chosen]) for name, chosen in best.items() if chosen}
    rows = [variety_row(groups), share_row("ambiguous letters: both views right", mean(list(right.values())), 0.7)]
    if best_right:
        what = f"the same, best of {GROUP} seeds by the shipped scorer"
        rows.append(share_row(what, mean(list(best_right.values())), 0.95))
    baselines = measure_baselines(tool, judge)
    rows += [
        Row(
            f"{what}: both letters in the mean of the views",
            found["one"],
            f"{found['one']:.1%} (views {found['apart']:.0f} of 255 levels apart)",
        )
        for what, found in baselines.items()
    ]
    everything = summary([reading for some in readings.values() for reading in some])
    details = {"right_by_pair": right, "best_by_pair": best_right, "default": everything, "baselines": baselines}
    return {"rows": rows, "details": {**details, "judge_held_out": judge.held_out, **cost(shots)}}


def variety_row(names: Iterable[str]) -> Row:
    """Return the row on how many different pairs and letters there are, by :func:`pair_name`."""
    pairs = {frozenset(name.split()[0].split("/")) for name in names}
    count = len(set().union(*pairs))
    shown = f"{len(pairs)} pairs, {count} letters"
    bar = "10 pairs, >= 12 letters"
    return Row("different pairs of letters, in either order", len(pairs), shown, bar, len(pairs) >= 10 and count >= 12)


def measure_baselines(tool: Tool, judge: Callable) -> dict[str, dict[str, float]]:
    """Return the summary of what the pairs look like without averaging x0 throughout, by a name for it."""
    steps = options_of(AmbiguousImageApp.options)["num_inference_steps"].families["tiny"]
    first_step = f"{1 / steps:.4f}"
    ways = {
        "synchronised in the first step only": ("pairs-first-step", "--mvd_end", first_step),
        "`--sync eps`, independent starts": ("pairs-eps", "--sync", "eps", "--no-initialize_xt_from_zt"),
    }
    baselines = {}
    for what, (name, *arguments) in ways.items():
        shots = tool.make(name, "ambiguous_image", tool.options.baseline_seeds, *PAIRS, *arguments)
        baselines[what] = summary([read(judge, shot) for shot in shots])
    return baselines


def read(judge: Callable, shot: Shot) -> Reading:
    """Judge a picture of the views ``identity`` and ``rotate_cw``."""
    (first, prompt), (second, turned_prompt) = shot.pictures("view")
    wanted = [letter_of(prompt), letter_of(turned_prompt)]
    back = second.transpose(Image.Transpose.ROTATE_90)  # counterclockwise
    both = [np.asarray(picture, np.float64) for picture in (first, back)]
    middle = Image.fromarray(np.mean(both, axis=0).round().astype(np.uint8))
    found = judge([first, second, middle, middle.transpose(Image.Transpose.ROTATE_270)])
    return Reading(found[:2] == wanted, found[2:] == wanted, float(np.abs(both[0] - both[1]).mean()))


def summary(readings: Sequence[Reading]) -> dict[str, float]:
    """Return the means of readings by field."""
    return {name: mean([getattr(reading, name) for reading in readings]) for name in ("own", "one", "apart")}


def score(scorer: ClipScorer, shot: Shot) -> float:
    """Return the score by which ``--keep_best`` chooses."""
    views = [(picture, prompt, "view") for picture, prompt in shot.pictures("view")]
    return AmbiguousImageApp().sample_score(scorer, views)


def pair_name(prompts: Sequence[str]) -> str:
    """Return a short name of a pair, such as ``N/Z an oil painting``."""
    return f"{'/'.join(letter_of(prompt).upper() for prompt in prompts)} {prompts[0].split(' of the letter')[0]}"


def best_of_groups(scores: Sequence[float], size: int = GROUP) -> list[int]:
    """Return the index of the highest score of every full group of ``size`` in turn, the first of equals."""
    groups = [range(start, start + size) for start in range(0, len(scores) - size + 1, size)]
    return [max(group, key=lambda index: scores[index]) for group in groups]

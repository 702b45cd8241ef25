"""Letters: single ones, and pairs that read both ways."""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from guidance.ambiguous_image_app import AmbiguousImageApp
from training.drawing import letters
from training.measure import by_eye, stranger
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
        share_row("judge of letters, what is none, of held-out faces", judge.none_held_out or 0.0),
        *agreements(judge),
        share_row("single letters, one view: judged right", mean(list(itertools.chain(*right.values()))), 0.97),
    ]
    by_prompt = {prompt: mean(values) for prompt, values in right.items()}
    return {"rows": rows, "details": {"right_by_prompt": by_prompt, "judge_held_out": judge.held_out, **cost(shots)}}


def agreements(judge: Callable) -> list[Row]:
    """Return how often judge and readers agree whether a view of the test shows the letter that was asked for."""
    pictures, table = by_eye.read_sheet(by_eye.TEST)
    wanted = [letter_of(row["prompt"]) for row in table]
    blind = [row["letter_read_blind"] == letter for row, letter in zip(table, wanted, strict=True)]
    judged = [found == letter for found, letter in zip(judge(pictures), wanted, strict=True)]
    knowing = [row["read_by_eye"] == "1" for row in table]
    what = f"judge of letters, {len(table)} views of earlier weights: agrees with a "
    return [
        share_row(what + "reader who knew what was asked for", shared(judged, knowing), 0.9),
        share_row(what + "reader who did not", shared(judged, blind)),
        share_row("these two readers agree with each other", shared(blind, knowing)),
    ]


def shared(one: Sequence[bool], other: Sequence[bool]) -> float:
    """Return the share of answers that two give alike."""
    return mean([a == b for a, b in zip(one, other, strict=True)])


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
    save_sheet(list(groups.values()), options.work_dir / "pairs.webp")
    readings = {name: [read(judge, shot) for shot in group] for name, group in groups.items()}
    best = {name: best_of_groups([score(scorer, shot) for shot in group]) for name, group in groups.items()}
    right = {name: mean([reading.own for reading in some]) for name, some in readings.items()}
    best_right = {name: mean([readings[name][k].own for k in chosen]) for name, chosen in best.items() if chosen}
    worst = min(right, key=lambda name: right[name])
    rows = [
        variety_row(groups),
        share_row("ambiguous letters: both views right", mean(list(right.values())), 0.75),
        share_row(f"the same, worst entry ({worst})", right[worst], 0.5),
    ]
    if best_right:
        what = f"the same, best of {GROUP} seeds by the shipped scorer"
        rows.append(share_row(what, mean(list(best_right.values())), 0.97))
    strange, by_stranger = measure_stranger(groups)
    rows.append(strange)
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
    by_pair = {"right_by_pair": right, "best_by_pair": best_right, "stranger_by_pair": by_stranger}
    details = {**by_pair, "default": everything, "baselines": baselines}
    return {"rows": rows, "details": {**details, "judge_held_out": judge.held_out, **cost(shots)}}


def variety_row(names: Iterable[str]) -> Row:
    """Return the row on how many entries, different pairs and letters there are, by :func:`pair_name`."""
    entries = list(names)
    pairs = {frozenset(name.split()[0].split("/")) for name in entries}
    count = len(set().union(*pairs))
    shown = f"{len(entries)} entries, {len(pairs)} pairs, {count} letters"
    reached = len(entries) >= 10 and len(pairs) >= 6 and count >= 10
    bar = "10 entries, >= 6 pairs, >= 10 letters"
    return Row("different pairs of letters, in either order", len(pairs), shown, bar, reached)


def measure_stranger(groups: Mapping[str, Sequence[Shot]]) -> tuple[Row, dict[str, float]]:
    """Let a stranger read both views of every picture; return the row, and the share by the name of the pair."""
    what, bar = "ambiguous letters: Tesseract reads both views", 0.45
    if not stranger.installed():
        print(f"no program {stranger.PROGRAM}: it reads nothing; apt install tesseract-ocr", flush=True)
        return Row(what, 0.0, f"not measured, no program {stranger.PROGRAM}", f">= {bar:.0%}"), {}
    shares = {}
    for name, group in groups.items():
        views = [view for shot in group for view in shot.pictures("view")]
        found = stranger.read([picture for picture, _ in views])
        right = [letter == letter_of(prompt) for letter, (_, prompt) in zip(found, views, strict=True)]
        shares[name] = mean(np.reshape(right, (len(group), -1)).all(axis=1))
    return share_row(what, mean(list(shares.values())), bar), shares


def save_sheet(groups: Sequence[Sequence[Shot]], file: Path, side: int = 56) -> None:
    """Save all views, one row of pictures for each entry, in the order of the seeds, both views beside each other."""
    views = [[picture for shot in group for picture, _ in shot.pictures("view")] for group in groups]
    sheet = Image.new("RGB", (max(map(len, views)) * side, len(views) * side), "white")
    for top, row in enumerate(views):
        for left, view in enumerate(row):
            sheet.paste(view.resize((side, side), Image.Resampling.LANCZOS), (left * side, top * side))
    file.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(file, quality=80)


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

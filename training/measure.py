"""Measure the embedded models with the tool itself: ``python training/measure.py``.

Every picture is made by ``main.py`` from seeds 0, 1, 2, ..., nothing is picked, and pictures that are there already are
not made again. Two judges that share nothing with the shipped scorer read them (``judge.py``). The numbers go to
``measures.json`` and into the table of ``README.md``, both in the folder of the models; each of the parts ``--only``
names replaces only itself.
"""

import argparse
import datetime
import hashlib
import itertools
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from guidance.windows import window_starts
from training import letters, train_scorer
from training.judge import letter_judge, scene_judge
from training.landscape_captions import PROMPTS
from utils.best_of import sample_score
from utils.clip_files import find_clip
from utils.clip_model import ClipScorer
from utils.errors import UserError, exit_with
from utils.files import write_atomic, write_json
from utils.model_source import ModelSource, open_source
from utils.options import APPS, EMBEDDED, AmbiguousImageOptions
from utils.prompts import read_ambiguous_prompts, read_wide_prompts

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- measures: written by training/measure.py -->", "<!-- end of measures -->"
WIDE_PROMPTS, PAIR_PROMPTS = "data/wide_image_prompts.json", "data/embedded_ambiguous_prompts.json"
PAIRS = ("--prompts_file", str(ROOT / PAIR_PROMPTS))
FOLDERS = {"sd_path": "landscapes", "stage_1_path": "letters-stage-1", "stage_2_path": "letters-stage-2"}
GROUP = 4  # seeds of which the scorer chooses one
MIB = 2**20
SAFE_SUFFIXES = {".safetensors", ".json", ".txt", ".md", ".model", ".jinja"}
SECONDS = {"strips": 9.0, "letters": 6.0, "pairs": 6.0}  # per picture on one core that does nothing else, about
SCENE_OF = {prompt: scene for scene, prompt in PROMPTS.items()}


# ---------------------------------------------------------------------------------------------- making pictures


@dataclass(frozen=True)
class Shot:
    """A finished picture of the tool: an entry of ``run.json`` and the folder it lies in."""

    folder: Path
    entry: dict[str, Any]
    options: dict[str, Any]

    @property
    def prompts(self) -> tuple[str, ...]:
        """The prompts, one per view."""
        return tuple(self.entry["prompts"])

    def pictures(self, role: str) -> list[tuple[Image.Image, str]]:
        """Return the RGB pictures of a role with their prompts."""
        files = [file for file in self.entry["files"] if file["role"] == role]
        return [(Image.open(self.folder / file["file"]).convert("RGB"), file.get("prompt", "")) for file in files]


class Tool:
    """Runs ``main.py`` on the models to be measured, in as many processes as asked for.

    Args:
        options: the command line of this module.
    """

    def __init__(self, options: argparse.Namespace):
        self.options = options

    def folder_of(self, path: str) -> Path:
        """Return the model folder that stands for an option of ``main.py``."""
        return getattr(self.options, path) or self.options.models / FOLDERS[path]

    def sources(self, app: str) -> dict[str, ModelSource]:
        """Return the checked sources of an app's weights."""
        return {
            path: open_source(str(self.folder_of(path)), components, None, path)
            for path, components in APPS[app].PATHS.items()
        }

    def make(
        self, name: str, app: str, seeds: int, *arguments: str, processes: int | None = None, threads: int = 1
    ) -> list[Shot]:
        """Make what is missing of a batch and return all of it, prompt by prompt and seed by seed.

        Raises:
            UserError: the tool failed.
        """
        processes = processes or self.options.processes
        command = [sys.executable, *_launcher(processes), "main.py", "--app", app, *self._model(app), *arguments]
        command += ["--save_top_dir", str(self.options.work_dir.resolve()), "--tag", self.tag(name, app)]
        command += ["--seed", "0", "--num_samples", str(seeds), "--dtype", self.options.dtype]
        print(f"{time.strftime('%H:%M:%S')} {name}: {' '.join(command[1:])}", flush=True)
        done = subprocess.run(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": str(threads)}, check=False)
        if done.returncode:
            raise UserError(f"main.py failed on {name} (exit code {done.returncode}): mend that and run again.")
        return read_shots(self.path(name, app), seeds)

    def tag(self, name: str, app: str) -> str:
        """Return the folder's name, another for other weights or another number format."""
        hashes = [str(source.identity()["sha256"]) for source in self.sources(app).values()]
        key = hashlib.sha256("".join([*hashes, self.options.dtype]).encode()).hexdigest()
        return f"{name}-{key[:8]}"

    def path(self, name: str, app: str) -> Path:
        """Return the folder of a batch."""
        return self.options.work_dir / self.tag(name, app)

    def _model(self, app: str) -> list[str]:
        """Return the arguments that name the weights; those that are not the shipped ones take its defaults, too."""
        folders = {path: self.folder_of(path) for path in APPS[app].PATHS}
        if all(folder.resolve() == (EMBEDDED / FOLDERS[path]).resolve() for path, folder in folders.items()):
            return ["--model", "tiny"]
        defaults = APPS[app].DEFAULTS["tiny"]
        given = [part for path, folder in folders.items() for part in (f"--{path}", str(folder.resolve()))]
        for name in ("num_inference_steps", "guidance_scale", "window_stride"):
            given += [f"--{name}", str(defaults[name])] if name in defaults else []
        return [*given, f"--{'' if defaults['initialize_xt_from_zt'] else 'no-'}initialize_xt_from_zt"]


def _launcher(processes: int) -> list[str]:
    if processes == 1:
        return []
    return ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]


def read_shots(folder: Path, seeds: int) -> list[Shot]:
    """Return the pictures of a folder with seeds below ``seeds``, by prompts in the folder's order, then by seed."""
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    entries = [entry for entry in run["pictures"] if entry["seed"] < seeds]
    order = {prompts: index for index, prompts in enumerate(dict.fromkeys(tuple(e["prompts"]) for e in entries))}
    entries.sort(key=lambda entry: (order[tuple(entry["prompts"])], entry["seed"]))
    return [Shot(folder, entry, run["options"]) for entry in entries]


def by_prompts(shots: Sequence[Shot]) -> dict[tuple[str, ...], list[Shot]]:
    """Return prompts -> their shots in the order of the seeds."""
    groups: dict[tuple[str, ...], list[Shot]] = {}
    for shot in shots:
        groups.setdefault(shot.prompts, []).append(shot)
    return groups


# ---------------------------------------------------------------------------------------------- pure parts


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        what: was measured.
        value: the number; shares between 0 and 1.
        shown: the number as the table shows it.
        bar: what it has to reach, in words; None where it is only reported.
        reached: whether it does; None without a bar.
    """

    what: str
    value: float
    shown: str
    bar: str | None = None
    reached: bool | None = None


def share_row(what: str, value: float, at_least: float | None = None) -> Row:
    """Return the row of a share, shown in per cent."""
    if at_least is None:
        return Row(what, value, f"{value:.1%}")
    return Row(what, value, f"{value:.1%}", f">= {at_least:.0%}", value >= at_least)


def number_row(what: str, value: float, unit: str, at_most: float | None = None, goal: str = "") -> Row:
    """Return the row of a number with a unit, which may have an upper bar."""
    shown = f"{value:.3f}" if not unit else f"{value:.1f} {unit}"
    if at_most is None:
        return Row(what, value, shown)
    return Row(what, value, shown, f"{goal}<= {at_most:g} {unit}".strip(), value <= at_most)


def border_columns(width: int, window: int, stride: int, scale: int) -> tuple[list[int], list[int]]:
    """Return where windows meet on a strip; column ``x`` stands for the step from pixel ``x - 1`` to pixel ``x``.

    Args:
        width: of the strip, in pixels.
        window, stride: in latent cells.
        scale: pixels per cell.

    Returns:
        The columns where a window begins or ends, and those where another window's centre becomes the nearest.
    """
    starts = window_starts(width // scale, window, stride)
    edges = {cell * scale for start in starts for cell in (start, start + window)} - {0, width}
    middles = [-(-(left + right + window) // 2) * scale for left, right in itertools.pairwise(starts)]
    return sorted(edges), middles


def seam_figure(strips: Sequence[np.ndarray], columns: Sequence[int], *others: Sequence[int], grid: int = 1) -> float:
    """Return the mean absolute step into some columns over the mean step elsewhere, over all strips together.

    Args:
        strips: ``[H, W, 3]`` each, all of one width.
        columns: as :func:`border_columns` counts them.
        others: further columns that do not count as elsewhere.
        grid: elsewhere are only multiples of it; the decoder's scale leaves its grid out of account.
    """
    steps = np.mean([np.abs(np.diff(strip.astype(np.float64), axis=1)).mean((0, 2)) for strip in strips], axis=0)
    borders = np.array(sorted(columns)) - 1
    elsewhere = np.arange(1, len(steps) + 1) % grid == 0
    elsewhere[np.array(sorted({*columns, *itertools.chain(*others)})) - 1] = False
    return float(steps[borders].mean() / steps[elsewhere].mean())


def seam_figures(strips: Sequence[np.ndarray], edges: Sequence[int], middles: Sequence[int], scale: int) -> dict:
    """Return the seam figures of both kinds of borders, the larger, and both against the decoder's own grid."""
    figures = {"begin_or_end": seam_figure(strips, edges, middles), "nearest": seam_figure(strips, middles, edges)}
    on_grid = {
        "begin_or_end_on_grid": seam_figure(strips, edges, middles, grid=scale),
        "nearest_on_grid": seam_figure(strips, middles, edges, grid=scale),
    }
    return {"larger": max(figures.values()), **figures, **on_grid}


def best_of_groups(scores: Sequence[float], size: int = GROUP) -> list[int]:
    """Return the index of the highest score of every full group of ``size`` in turn, the first of equals."""
    groups = [range(start, start + size) for start in range(0, len(scores) - size + 1, size)]
    return [max(group, key=lambda index: scores[index]) for group in groups]


def letter_of(prompt: str) -> str:
    """Return the letter that a prompt asks for, in lower case."""
    return prompt.rsplit(maxsplit=1)[-1].lower()


def mean(values: Sequence[float]) -> float:
    """Return the mean as a plain float."""
    return float(np.mean(values))


# ---------------------------------------------------------------------------------------------- strips


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
    worst = min(right, key=right.get)
    first = f"seeds 0 to {options.baseline_seeds - 1}"
    rows = [
        share_row("judge of scenes, held-out strips", judge.held_out, 0.98),
        share_row("strips: crops of the right scene, all scenes", mean(list(right.values())), 0.95),
        share_row(f"strips: crops of the right scene, worst scene ({worst})", right[worst], 0.8),
        number_row("strips: seams, larger of both kinds", seams["all"]["larger"], "", 1.05),
        number_row(f"the same, {first}", seams["same_seeds"]["larger"], ""),
        number_row(f"the same with `--sync none`, {first}", seams["none"]["larger"], ""),
    ]
    return {"rows": rows, "details": {"right_by_scene": right, "seams": seams, **judged(judge), **cost(shots)}}


def write_scenes(file: Path) -> Path:
    """Write the prompts file of all scenes, those of the assignment with their crops; return its full path."""
    entries = read_wide_prompts(ROOT / WIDE_PROMPTS)
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
    source, made = tool.sources("wide_image")["sd_path"], shots[0].options
    scale = 2 ** (len(source.config("vae")["block_out_channels"]) - 1)
    window = source.config("unet")["sample_size"]
    edges, middles = border_columns(made["panorama_width"], window, made["window_stride"], scale)
    strips = [np.asarray(shot.pictures("strip")[0][0]) for shot in shots]
    return seam_figures(strips, edges, middles, scale)


# ---------------------------------------------------------------------------------------------- letters


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
    return {"rows": rows, "details": {"right_by_prompt": by_prompt, **judged(judge), **cost(shots)}}


def letter_entry(first: int, second: int) -> dict[str, str]:
    """Return the entry of a prompts file for two letters by number; the styles take turns."""
    style = letters.STYLES[first % len(letters.STYLES)]
    prompts = [letters.caption(style, letters.LETTERS[index].upper()) for index in (first, second)]
    return {"canonical_prompt": prompts[0], "instance_prompt": prompts[1]}


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
    return {"rows": rows, "details": {**details, **judged(judge), **cost(shots)}}


def variety_row(names: Iterable[str]) -> Row:
    """Return the row on how many different pairs and letters there are, by :func:`pair_name`."""
    pairs = {frozenset(name.split()[0].split("/")) for name in names}
    count = len(set().union(*pairs))
    shown = f"{len(pairs)} pairs, {count} letters"
    bar = "10 pairs, >= 12 letters"
    return Row("different pairs of letters, in either order", len(pairs), shown, bar, len(pairs) >= 10 and count >= 12)


def measure_baselines(tool: Tool, judge: Callable) -> dict[str, dict[str, float]]:
    """Return the summary of what the pairs look like without averaging x0 throughout, by a name for it."""
    first_step = f"{1 / AmbiguousImageOptions.DEFAULTS['tiny']['num_inference_steps']:.4f}"
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
    return sample_score(scorer, [(picture, prompt, "view") for picture, prompt in shot.pictures("view")])


def pair_name(prompts: Sequence[str]) -> str:
    """Return a short name of a pair, such as ``N/Z an oil painting``."""
    return f"{'/'.join(letter_of(prompt).upper() for prompt in prompts)} {prompts[0].split(' of the letter')[0]}"


# ---------------------------------------------------------------------------------------------- the rest


def measure_scorer(tool: Tool) -> dict[str, Any]:
    """Let the shipped scorer sort renders of faces and strips that it was not trained on."""
    options = tool.options
    glyphs = letters.load_glyphs(options.checkpoint_dir / "glyphs.npz")
    strips = train_scorer.draw_strips(train_scorer.FIRST_TEST_STRIP, 6)
    pictures = train_scorer.Pictures(train_scorer.split_faces(glyphs)[1], strips)
    scorer = ClipScorer(find_clip(str(options.models / "scorer"), None))
    found = train_scorer.test(scorer.model, pictures)
    return {
        "rows": [share_row(f"shipped scorer: right caption first, {name}", found[name], 0.97) for name in found],
        "details": {"pictures": "held-out faces and strips, all captions of the domain"},
    }


def measure_files(tool: Tool) -> dict[str, Any]:
    """Weigh the files of the models and list their hashes."""
    folder = tool.options.models
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "measures.json"]
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
    largest = max(sizes, key=sizes.get)
    weights = [path for path in files if path.suffix == ".safetensors"]
    odd = [path.name for path in files if path.suffix not in SAFE_SUFFIXES]
    rows = [
        number_row("all files together", sum(sizes.values()) / MIB, "MiB", 60),
        number_row(f"largest file ({largest})", sizes[largest] / MIB, "MiB", 16),
        Row("files that are neither safetensors nor text", len(odd), ", ".join(odd) or "none", "none", not odd),
    ]
    hashes = {path.relative_to(folder).as_posix(): sha256(path) for path in weights}
    return {"rows": rows, "details": {"bytes": sizes, "sha256": hashes}}


def sha256(path: Path) -> str:
    """Return the hash of a file in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def measure_time(tool: Tool) -> dict[str, Any]:
    """Make three strips anew, one after the other in one process with two threads, and take the median time."""
    shutil.rmtree(tool.path("time", "wide_image"), ignore_errors=True)
    arguments = ("--num_inference_steps", "25", "--panorama_height", "128", "--panorama_width", "768")
    shots = tool.make("time", "wide_image", 3, *arguments, processes=1, threads=2)
    seconds = [shot.entry["seconds"] for shot in shots]
    row = number_row("strip of 128x768, 25 steps, 2 threads", statistics.median(seconds), "s", 30, "goal ")
    return {"rows": [row], "details": {"seconds": seconds, "load": list(os.getloadavg())}}


def judged(judge: Any) -> dict[str, float]:
    """Return the judge's own accuracy for the details of a part."""
    return {"judge_held_out": judge.held_out}


def cost(shots: Sequence[Shot]) -> dict[str, Any]:
    """Return number and mean time of pictures for the details of a part."""
    return {"pictures": len(shots), "seconds_per_picture": round(mean([shot.entry["seconds"] for shot in shots]), 2)}


PARTS: dict[str, Callable[[Tool], dict[str, Any]]] = {
    "strips": measure_strips,
    "letters": measure_letters,
    "pairs": measure_pairs,
    "scorer": measure_scorer,
    "files": measure_files,
    "time": measure_time,
}


# ---------------------------------------------------------------------------------------------- writing


def machine() -> dict[str, Any]:
    """Return the processor's name, the number of cores and torch's version."""
    names = [line.split(":", 1)[1].strip() for line in _cpu_lines() if line.startswith("model name")]
    return {"cpu": (names or [platform.processor() or platform.machine()])[0], "cores": os.cpu_count(),
            "torch": torch.__version__}  # fmt: skip


def _cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def run_part(name: str, tool: Tool) -> dict[str, Any]:
    """Measure a part and return it as ``measures.json`` keeps it."""
    started = time.monotonic()
    part = PARTS[name](tool)
    options = tool.options
    return {
        "rows": [asdict(row) for row in part["rows"]],
        "seeds": options.seeds,
        "baseline_seeds": options.baseline_seeds,
        "dtype": options.dtype,
        "machine": machine(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "minutes": round((time.monotonic() - started) / 60, 1),
        "details": part["details"],
    }


def table(measures: dict[str, Any]) -> str:
    """Return the Markdown that says everything in ``measures.json`` that a reader wants to see at once."""
    lines = ["| what | measured | bar | reached |", "|---|---|---|---|"]
    for part in measures.values():
        for row in part["rows"]:
            reached = {None: "", True: "yes", False: "**no**"}[row["reached"]]
            lines.append(f"| {row['what']} | {row['shown']} | {row['bar'] or 'reported'} | {reached} |")
    return "\n".join([*lines, "", *_groups(measures), *_hashes(measures), *_origin(measures)])


def _groups(measures: dict[str, Any]) -> list[str]:
    """Return one line for scenes and one for pairs, each with all its shares, and what the pairs' baselines are."""
    lines = []
    for part, key, title in (
        ("strips", "right_by_scene", "Crops of the right scene"),
        ("pairs", "right_by_pair", "Both views right"),
        ("pairs", "best_by_pair", f"Both views right, best of {GROUP}"),
    ):
        shares = measures.get(part, {}).get("details", {}).get(key, {})
        if shares:
            lines += [f"{title}: " + ", ".join(f"{name} {value:.0%}" for name, value in shares.items()) + ".", ""]
    return lines


def _hashes(measures: dict[str, Any]) -> list[str]:
    files = measures.get("files", {}).get("details")
    if not files:
        return []
    rows = [f"| `{name}` | {files['bytes'][name]:,} | `{value}` |" for name, value in files["sha256"].items()]
    return ["| weights | bytes | sha256 |", "|---|---|---|", *rows, ""]


def _origin(measures: dict[str, Any]) -> list[str]:
    lines = [
        f"- {name}: seeds 0 to {part['seeds'] - 1} (reported beside it: 0 to {part['baseline_seeds'] - 1}), "
        f"{part['date'][:10]}, {part['machine']['cpu']}, {part['machine']['cores']} cores, {part['minutes']} minutes"
        for name, part in measures.items()
    ]
    return ["Measured by `python training/measure.py`, nothing picked; details in `measures.json`:", "", *lines]


def replace_between(text: str, content: str) -> str:
    """Return a text in which what stands between the two markers is replaced.

    Raises:
        ValueError: not exactly one of each marker, in their order.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"the text needs {BEGIN} and, after it, {END}, once each")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n\n{content}\n\n{END}{rest.split(END)[1]}"


def write(measures: dict[str, Any], folder: Path) -> None:
    """Write ``measures.json``, and the table into ``README.md`` if that has the markers."""
    write_json(folder / "measures.json", measures)
    readme = folder / "README.md"
    if readme.exists() and BEGIN in readme.read_text(encoding="utf-8"):
        write_atomic(readme, replace_between(readme.read_text(encoding="utf-8"), table(measures)).encode())


def update(folder: Path, name: str, part: dict[str, Any]) -> dict[str, Any]:
    """Enter one part into the measures that lie in a folder, write them, and return all."""
    path = folder / "measures.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    known[name] = part
    measures = {key: known[key] for key in PARTS if key in known}
    write(measures, folder)
    return measures


# ---------------------------------------------------------------------------------------------- command line


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Return the options of a command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--models", type=Path, default=EMBEDDED, help="folder of all models; the results go there")
    for path, folder in FOLDERS.items():
        parser.add_argument(f"--{path}", type=Path, help=f"in place of {folder}; the results then go to --work_dir")
    parser.add_argument("--work_dir", type=Path, default=ROOT / "results" / "measure", help="where pictures are kept")
    parser.add_argument("--checkpoint_dir", type=Path, default=Path("checkpoints"), help="where the judges are kept")
    parser.add_argument("--seeds", type=int, default=16, help="seeds 0, 1, ... of every prompt")
    parser.add_argument("--baseline_seeds", type=int, default=4, help="seeds of what is only reported")
    parser.add_argument("--only", nargs="+", choices=tuple(PARTS), default=list(PARTS), help="parts to measure")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="processes of main.py")
    parser.add_argument("--dtype", default="auto", help="number format, as main.py takes it")
    return parser.parse_args(argv)


def estimate(options: argparse.Namespace) -> float:
    """Return about how many minutes the pictures of a run take on idle cores, if none is there yet."""
    scenes, pairs = len(PROMPTS), len(read_ambiguous_prompts(ROOT / PAIR_PROMPTS))
    counts = {
        "strips": scenes * (options.seeds + options.baseline_seeds),
        "letters": len(letters.LETTERS) // 2 * options.seeds,
        "pairs": pairs * (options.seeds + 2 * options.baseline_seeds),
    }
    return sum(counts.get(part, 0) * SECONDS.get(part, 0) for part in options.only) / 60 / options.processes


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Measure all parts that were asked for, write after each, and return everything that is known."""
    changed = any(getattr(options, path) for path in FOLDERS)
    folder = options.work_dir if changed else options.models
    options.work_dir.mkdir(parents=True, exist_ok=True)
    print(f"about {estimate(options):.0f} minutes on idle cores, results to {folder}", flush=True)
    tool, started, measures = Tool(options), time.monotonic(), {}
    for name in options.only:
        measures = update(folder, name, run_part(name, tool))
        for row in measures[name]["rows"]:
            print(f"  {row['what']}: {row['shown']} ({row['bar'] or 'reported'})", flush=True)
    print(f"measured in {(time.monotonic() - started) / 60:.1f} minutes: {folder / 'measures.json'}", flush=True)
    return measures


def main(argv: list[str] | None = None) -> None:
    """Measure and say what misses its bar; that is no error."""
    try:
        measures = measure(parse(argv))
    except UserError as error:
        exit_with("measure.py", error)
    missed = [row["what"] for part in measures.values() for row in part["rows"] if row["reached"] is False]
    print(f"missed: {', '.join(missed) or 'nothing'}")


if __name__ == "__main__":
    main()

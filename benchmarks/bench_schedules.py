"""Quality against cost of wide images: which windows, which solver, how many steps, how much guidance.

    python benchmarks/bench_schedules.py                                 # one process
    torchrun --nproc-per-node 2 benchmarks/bench_schedules.py            # an hour and a half on two idle cores

Every setting makes the strips of all scenes with the embedded landscapes, setting by setting for each prompt, so that
all share what a machine does meanwhile; seams depend on the seed, so those that presets are chosen among make more of
them. The judge of ``training/measure/judge.py`` and the embedded scorer read their crops. Strips lie in ``--work_dir``
and are not made again; a judge that is not in ``--checkpoint_dir`` is trained first, which takes minutes. Writes
``bench_schedules.json``, ``.md`` (all settings, seed 0), ``bench_schedules_seeds.json``, ``.md`` (some, all seeds) and
``bench_schedules.png`` into ``benchmarks/results``.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.report import RESULTS, Row, markdown, positive, write_report
from benchmarks.wide_runs import Loaded, Meter, load, make_strip
from guidance.wide_image_app import WideImageApp, crop_strip, strip_positions
from training.drawing.landscape_captions import PROMPTS
from training.measure.judge import Judge, scene_judge
from utils.files import write_json
from utils.images import save_png
from utils.models.runtime import process_state
from utils.scoring.clip_files import TINY, find_clip
from utils.scoring.clip_model import ClipScorer
from utils.scoring.seams import seam_figure

WINDOW = 32  # of the embedded landscapes, in cells
STRIDES = {"1/8": 4, "1/4": 8, "1/2": 16, "1": 32}
SCHEDULES = (*STRIDES, "shifted")
SOLVERS = (("ddim", 50), ("ddim", 25), ("ddim", 12), ("dpmpp_2m", 25), ("dpmpp_2m", 12))
GUIDED = (("ddim", 50), ("dpmpp_2m", 25), ("dpmpp_2m", 12))  # also tried with guidance in some steps
INTERVAL = (0.1, 0.8)
WEIGHTED = (  # also tried with weighted windows
    ("1/4", "dpmpp_2m", 12),
    ("1/2", "ddim", 25),
    ("1/2", "dpmpp_2m", 25),
    ("1/2", "dpmpp_2m", 20),
    ("1/2", "dpmpp_2m", 12),
)
TICKS = (150, 300, 600, 1200, 2400, 4800)  # of the plot


@dataclass(frozen=True)
class Setting:
    """What is tried.

    Attributes:
        schedule: share of a window from one window to the next, or "shifted".
        solver: as ``--sampling_method`` names it.
        steps: number of them.
        interval: share of the steps with guidance.
        reduction: as ``--reduction`` names it.
    """

    schedule: str
    solver: str
    steps: int
    interval: tuple[float, float] | None = None
    reduction: str = "mean"

    @property
    def options(self) -> dict[str, Any]:
        """The same as options of ``main.py``."""
        windows = {"window_schedule": "shifted"}
        if self.schedule in STRIDES:
            windows = {"window_stride": STRIDES[self.schedule]}
        return {**windows, "sampling_method": self.solver, "num_inference_steps": self.steps,
                "reduction": self.reduction, "guidance_interval": self.interval}  # fmt: skip

    @property
    def name(self) -> str:
        """A name for files."""
        guidance = "" if self.interval is None else "-guided-{}-{}".format(*self.interval)
        weights = "" if self.reduction == "mean" else f"-{self.reduction}"
        return f"{self.schedule.replace('/', '_')}-{self.solver}-{self.steps}{guidance}{weights}"


REFERENCE = Setting("1/8", "ddim", 50)
SETTINGS = [
    *(Setting(schedule, *solver) for schedule in SCHEDULES for solver in SOLVERS),
    *(Setting(schedule, *solver, INTERVAL) for schedule in ("1/2", "shifted") for solver in GUIDED),
    *(Setting(*setting, reduction="weighted") for setting in WEIGHTED),
]
CANDIDATES = {  # what presets and the embedded default are chosen among
    REFERENCE,
    Setting("1/4", "dpmpp_2m", 12, reduction="weighted"),
    Setting("1/2", "ddim", 25, reduction="weighted"),
    Setting("1/2", "dpmpp_2m", 20, reduction="weighted"),
    Setting("1/2", "dpmpp_2m", 12, reduction="weighted"),
    Setting("shifted", "dpmpp_2m", 12),
}


def make_missing(loaded: Loaded, settings: Sequence[Setting], prompts: Sequence[str], seeds: int, folder: Path) -> None:
    """Make the strips that are not in the folder yet, with seconds and samples beside each.

    Every setting makes seed 0; ``CANDIDATES`` make the ``seeds`` from 0 on.
    """
    for seed in range(seeds):
        for prompt in prompts:
            for setting in settings if seed == 0 else [some for some in settings if some in CANDIDATES]:
                place = strip_path(folder, setting, prompt, seed)
                if not place.with_suffix(".json").exists():
                    make(loaded, setting, prompt, seed, place)


def make(loaded: Loaded, setting: Setting, prompt: str, seed: int, place: Path) -> None:
    """Make one strip."""
    model, meter = loaded.model(**setting.options), Meter()
    with meter.watch(loaded.latent):
        _, strip = make_strip(model, seed, prompt)
    place.parent.mkdir(parents=True, exist_ok=True)
    save_png(place, strip)
    write_json(place.with_suffix(".json"), {"seconds": meter.seconds, "samples": meter.samples})


def strip_path(folder: Path, setting: Setting, prompt: str, seed: int) -> Path:
    """Return where a strip lies."""
    return folder / setting.name / f"{prompt.replace(' ', '_')}_{seed}.png"


def assess(settings: Sequence[Setting], seeds: int, folder: Path, judge: Judge, scorer: ClipScorer) -> list[Row]:
    """Return a row for every setting, of its first seeds together."""
    seconds = {setting: seconds_of(folder, setting, seeds) for setting in settings}
    return [{
        "schedule": setting.schedule, "solver": setting.solver, "steps": setting.steps,
        "guidance": "all" if setting.interval is None else "{} to {}".format(*setting.interval),
        "reduction": setting.reduction, "samples": samples_of(folder, setting), "seconds": round(seconds[setting], 2),
        "times faster": round(seconds[REFERENCE] / seconds[setting], 1) if REFERENCE in seconds else None,
        **figures(open_strips(folder, setting, seeds), judge, scorer),
    } for setting in settings]  # fmt: skip


def open_strips(folder: Path, setting: Setting, seeds: int) -> dict[tuple[str, int], Image.Image]:
    """Return the strips of a setting, (scene, seed) -> strip."""
    return {
        (scene, seed): Image.open(strip_path(folder, setting, prompt, seed)).convert("RGB")
        for seed in range(seeds)
        for scene, prompt in PROMPTS.items()
    }


def samples_of(folder: Path, setting: Setting) -> int:
    """Return the network samples of a strip."""
    path = strip_path(folder, setting, next(iter(PROMPTS.values())), 0)
    return json.loads(path.with_suffix(".json").read_text())["samples"]


def seconds_of(folder: Path, setting: Setting, seeds: int) -> float:
    """Return the median time of a setting's strips."""
    paths = [strip_path(folder, setting, prompt, seed) for seed in range(seeds) for prompt in PROMPTS.values()]
    return statistics.median(json.loads(path.with_suffix(".json").read_text())["seconds"] for path in paths)


def figures(strips: dict[tuple[str, int], Image.Image], judge: Judge, scorer: ClipScorer) -> Row:
    """Return what is seen on strips, (scene, seed) -> strip: the judge's share of right crops, score and seams.

    Of several seeds also the seams of the seed that has the least, and of the one that has the most.
    """
    right, scores = [], []
    for (scene, _), strip in strips.items():
        crops = [crop_strip(strip, position) for position in strip_positions(strip.height, strip.width)]
        right += [found == scene for found in judge(crops)]
        scores.append(WideImageApp().sample_score(scorer, [(crop, PROMPTS[scene], "crop") for crop in crops]))
    row = {"judge": statistics.fmean(right), "score": statistics.fmean(scores), "seams": seams(strips.values())}
    seeds = {seed for _, seed in strips}
    if len(seeds) > 1:
        by_seed = [seams(strip for (_, its), strip in strips.items() if its == seed) for seed in seeds]
        row |= {"seams, least": min(by_seed), "seams, most": max(by_seed)}
    return {name: round(value, 4) for name, value in row.items()}


def seams(strips: Iterable[Image.Image]) -> float:
    """Return the mean step into columns where touching windows would meet, over that elsewhere on cells' borders."""
    arrays = [np.asarray(strip) for strip in strips]
    height, width = arrays[0].shape[:2]
    return seam_figure(arrays, range(height, width, height), grid=height // WINDOW)


def plot(rows: Sequence[Row], candidates: Sequence[Row], path: Path) -> None:
    """Draw score and seams over network samples, and how far the candidates' seams spread from seed to seed.

    Within 2 % of the first row, the reference if made, is shaded.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    markers = dict(zip((*SCHEDULES, "1/4, weighted", "1/2, weighted"), "osD^*XP", strict=True))
    colours = {"ddim": "tab:blue", "dpmpp_2m": "tab:orange"}
    for panel, what, label in zip(panels, ("score", "seams"), ("scorer's mean cosine", "seams"), strict=True):
        for row in rows:
            schedule = row["schedule"] + (", weighted" if row["reduction"] == "weighted" else "")
            face = colours[row["solver"]] if row["guidance"] == "all" else "none"
            panel.plot(row["samples"], row[what], markers[schedule], mfc=face, mec=colours[row["solver"]], ms=8)
        panel.axhspan(0.98 * rows[0][what], 1.02 * rows[0][what], color="grey", alpha=0.15)
        panel.set(xscale="log", xlabel="network samples per strip", ylabel=label)
        panel.set_xticks(TICKS, TICKS)
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    for row in candidates:
        panels[1].vlines(row["samples"], row["seams, least"], row["seams, most"], color="grey", lw=1, zorder=1)
    for schedule, marker in markers.items():
        panels[1].plot([], [], marker, mfc="none", mec="black", label=f"windows {schedule}")
    for solver, colour in colours.items():
        panels[1].plot([], [], "s", mec=colour, mfc=colour, label=solver)
    panels[1].plot([], [], "s", mec="grey", mfc="none", label="guided in 0.1 to 0.8 of the steps")
    panels[1].plot([], [], color="grey", lw=1, label="from seed to seed")
    panels[1].legend(fontsize=7)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def report(settings: Sequence[Setting], options: argparse.Namespace) -> list[Row]:
    """Read the strips, print and write; return a row for every setting."""
    readers = scene_judge(options.checkpoint_dir), ClipScorer(find_clip(TINY, None))
    rows, spread = write_table("bench_schedules", settings, 1, options, *readers), []
    candidates = [setting for setting in settings if setting in CANDIDATES]
    if candidates and options.seeds > 1:
        spread = write_table("bench_schedules_seeds", candidates, options.seeds, options, *readers)
    plot(rows, spread, options.output_dir / "bench_schedules.png")
    return rows


def write_table(
    name: str, settings: Sequence[Setting], seeds: int, options: argparse.Namespace, judge: Judge, scorer: ClipScorer
) -> list[Row]:
    """Print and write what settings are like over their first seeds; return the rows."""
    rows = assess(settings, seeds, options.work_dir, judge, scorer)
    print(markdown(rows))
    write_report(name, rows, options.output_dir, seeds=seeds, prompts=len(PROMPTS),
                 judge_held_out=judge.held_out, settings=[asdict(setting) for setting in settings])  # fmt: skip
    return rows


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=positive, default=4,
                        help="seeds 0, 1, ... of what presets are chosen among; others make seed 0")  # fmt: skip
    names = [setting.name for setting in SETTINGS]
    parser.add_argument("--only", nargs="+", metavar="NAME", default=names, choices=names,
                        help=f"some of {', '.join(names)} [default: all]")  # fmt: skip
    parser.add_argument("--work_dir", type=Path, default=Path("results/bench_schedules"), help="where strips are kept")
    parser.add_argument("--checkpoint_dir", type=Path, default=Path("checkpoints"), help="where the judge is kept")
    parser.add_argument("--output_dir", type=Path, default=RESULTS, help="where results go")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> list[Row]:
    """Make, read, print and write; return the rows."""
    options, state = parse(argv), process_state("cpu")
    settings = [setting for setting in SETTINGS if setting.name in options.only]
    prompts = list(PROMPTS.values())
    with state.split_between_processes(prompts) as share:
        make_missing(load(None, share, device="cpu"), settings, share, options.seeds, options.work_dir)
    state.wait_for_everyone()
    rows = []
    if state.is_main_process:
        rows = report(settings, options)
    state.destroy_process_group()
    return rows


if __name__ == "__main__":
    main()

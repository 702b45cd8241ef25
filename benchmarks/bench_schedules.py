"""Quality against cost of wide images: which windows, which solver, how many steps, how much guidance.

    python benchmarks/bench_schedules.py                                 # one process
    torchrun --nproc-per-node 2 benchmarks/bench_schedules.py            # about an hour on two idle cores

Every setting makes the strips of all scenes with the embedded landscapes, setting by setting for each prompt, so that
all share what a machine does meanwhile. The judge of ``training/judge.py`` and the embedded scorer read their crops.
Strips lie in ``--work_dir`` and are not made again; a judge that is not in ``--checkpoint_dir`` is trained first, which
takes minutes. Writes ``bench_schedules.json``, ``.md`` and ``.png`` into ``benchmarks/results``.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import PartialState
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.report import RESULTS, Row, markdown, positive, write_report
from benchmarks.wide_runs import Loaded, Meter, load, make_strip
from guidance.wide_image_model import crop_strip
from training.judge import Judge, scene_judge
from training.landscape_captions import PROMPTS
from training.measure_strips import seam_figure
from utils.best_of import sample_score
from utils.clip_files import TINY, find_clip
from utils.clip_model import ClipScorer
from utils.files import write_json
from utils.image_utils import save_png
from utils.prompts import strip_positions

WINDOW = 32  # of the embedded landscapes, in cells
STRIDES = {"1/8": 4, "1/4": 8, "1/2": 16, "1": 32}
SCHEDULES = (*STRIDES, "shifted")
SOLVERS = (("ddim", 50), ("ddim", 25), ("ddim", 12), ("dpmpp_2m", 25), ("dpmpp_2m", 12))
GUIDED = (("ddim", 50), ("dpmpp_2m", 25), ("dpmpp_2m", 12))  # also tried with guidance in some steps
INTERVAL = (0.1, 0.8)
WEIGHTED = (("ddim", 25), ("dpmpp_2m", 25), ("dpmpp_2m", 20), ("dpmpp_2m", 12))  # also tried with weighted windows
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
    *(Setting("1/2", *solver, reduction="weighted") for solver in WEIGHTED),
]


def make_missing(loaded: Loaded, settings: Sequence[Setting], prompts: Sequence[str], seeds: int, folder: Path) -> None:
    """Make the strips that are not in the folder yet, with seconds and samples beside each."""
    for seed in range(seeds):
        for prompt in prompts:
            for setting in settings:
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
    """Return a row for every setting."""
    seconds = {setting: seconds_of(folder, setting, seeds) for setting in settings}
    rows = []
    for setting in settings:
        strips = {(scene, seed): strip_path(folder, setting, prompt, seed)
                  for seed in range(seeds) for scene, prompt in PROMPTS.items()}  # fmt: skip
        samples = json.loads(next(iter(strips.values())).with_suffix(".json").read_text())["samples"]
        rows.append({
            "schedule": setting.schedule, "solver": setting.solver, "steps": setting.steps,
            "guidance": "all" if setting.interval is None else "{} to {}".format(*setting.interval),
            "reduction": setting.reduction, "samples": samples, "seconds": round(seconds[setting], 2),
            "times faster": round(seconds[REFERENCE] / seconds[setting], 1) if REFERENCE in seconds else None,
            **figures({key: Image.open(path).convert("RGB") for key, path in strips.items()}, judge, scorer),
        })  # fmt: skip
    return rows


def seconds_of(folder: Path, setting: Setting, seeds: int) -> float:
    """Return the median time of a setting's strips."""
    paths = [strip_path(folder, setting, prompt, seed) for seed in range(seeds) for prompt in PROMPTS.values()]
    return statistics.median(json.loads(path.with_suffix(".json").read_text())["seconds"] for path in paths)


def figures(strips: dict[tuple[str, int], Image.Image], judge: Judge, scorer: ClipScorer) -> Row:
    """Return what is seen on strips, (scene, seed) -> strip: the judge's share of right crops, score and seams.

    Seams: the mean step across columns where windows that touch would meet, over that elsewhere on the decoder's grid.
    """
    right, scores = [], []
    for (scene, _), strip in strips.items():
        crops = [crop_strip(strip, position) for position in strip_positions(strip.height, strip.width)]
        right += [found == scene for found in judge(crops)]
        scores.append(sample_score(scorer, [(crop, PROMPTS[scene], "crop") for crop in crops]))
    arrays = [np.asarray(strip) for strip in strips.values()]
    height, width = arrays[0].shape[:2]
    seams = seam_figure(arrays, range(height, width, height), grid=height // WINDOW)
    return {"judge": round(statistics.fmean(right), 4), "score": round(statistics.fmean(scores), 4),
            "seams": round(seams, 3)}  # fmt: skip


def plot(rows: Sequence[Row], path: Path) -> None:
    """Draw score and seams over network samples; within 2 % of the first row, the reference if made, is shaded."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    markers = dict(zip((*SCHEDULES, "1/2, weighted"), "osD^*P", strict=True))
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
    for schedule, marker in markers.items():
        panels[1].plot([], [], marker, mfc="none", mec="black", label=f"windows {schedule}")
    for solver, colour in colours.items():
        panels[1].plot([], [], "s", mec=colour, mfc=colour, label=solver)
    panels[1].plot([], [], "s", mec="grey", mfc="none", label="guided in 0.1 to 0.8 of the steps")
    panels[1].legend(fontsize=8)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=positive, default=1, help="seeds 0, 1, ... of every scene")
    names = [setting.name for setting in SETTINGS]
    parser.add_argument("--only", nargs="+", metavar="NAME", default=names, choices=names,
                        help=f"some of {', '.join(names)} [default: all]")  # fmt: skip
    parser.add_argument("--work_dir", type=Path, default=Path("results/bench_schedules"), help="where strips are kept")
    parser.add_argument("--checkpoint_dir", type=Path, default=Path("checkpoints"), help="where the judge is kept")
    parser.add_argument("--output_dir", type=Path, default=RESULTS, help="where results go")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> list[Row]:
    """Make, read, print and write; return the rows."""
    options, state = parse(argv), PartialState(cpu=True)
    settings = [setting for setting in SETTINGS if setting.name in options.only]
    prompts = list(PROMPTS.values())
    with state.split_between_processes(prompts) as share:
        make_missing(load(None, share, device="cpu"), settings, share, options.seeds, options.work_dir)
    state.wait_for_everyone()
    rows = []
    if state.is_main_process:
        judge, scorer = scene_judge(options.checkpoint_dir), ClipScorer(find_clip(TINY, None))
        rows = assess(settings, options.seeds, options.work_dir, judge, scorer)
        print(markdown(rows))
        write_report("bench_schedules", rows, options.output_dir, seeds=options.seeds, prompts=len(prompts),
                     judge_held_out=judge.held_out, settings=[asdict(setting) for setting in settings])  # fmt: skip
        plot(rows, options.output_dir / "bench_schedules.png")
    state.destroy_process_group()
    return rows


if __name__ == "__main__":
    main()

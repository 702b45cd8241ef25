"""Measure the embedded models with the tool itself: ``python training/measure_models.py``.

Every picture is made by ``main.py`` from seeds 0, 1, 2, ..., nothing is picked, and pictures that are there already are
not made again. Two judges that share nothing with the shipped scorer read them (``judge.py``). The numbers go to
``measures.json`` and into the table of ``README.md``, both in the folder of the models; each of the parts ``--only``
names replaces only itself.
"""

import argparse
import datetime
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from guidance.ambiguous_image_app import read_view_prompts
from guidance.shared_options import EMBEDDED
from training.drawing import letters
from training.drawing.landscape_captions import PROMPTS
from training.measure.letter_pictures import PAIR_PROMPTS, measure_letters, measure_pairs
from training.measure.report import write
from training.measure.shipped import measure_files, measure_scorer, measure_time
from training.measure.stage_2 import PICTURES, measure_stage_2
from training.measure.strips import measure_strips
from training.measure.tool import FOLDERS, ROOT, Tool
from utils.errors import UserError, exit_with
from utils.provenance import machine

# per picture on one core that does nothing else, about
SECONDS = {"strips": 9.0, "letters": 6.0, "stage_2": 2.5, "pairs": 6.0}

PARTS: dict[str, Callable[[Tool], dict[str, Any]]] = {
    "strips": measure_strips,
    "letters": measure_letters,
    "stage_2": measure_stage_2,
    "pairs": measure_pairs,
    "scorer": measure_scorer,
    "files": measure_files,
    "time": measure_time,
}


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


def update(folder: Path, name: str, part: dict[str, Any]) -> dict[str, Any]:
    """Enter one part into the measures that lie in a folder, write them, and return all."""
    path = folder / "measures.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    known[name] = part
    measures = {key: known[key] for key in PARTS if key in known}
    write(measures, folder)
    return measures


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
    parser.add_argument("--stage2_noise_levels", type=int, nargs="*", default=[], choices=range(1000), metavar="LEVEL",
                        help="noise on the input of stage 2, 0 to 999, reported beside the default level")  # fmt: skip
    parser.add_argument("--only", nargs="+", choices=tuple(PARTS), default=list(PARTS), help="parts to measure")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="processes of main.py")
    parser.add_argument("--dtype", default="auto", help="number format, as main.py takes it")
    return parser.parse_args(argv)


def estimate(options: argparse.Namespace) -> float:
    """Return about how many minutes the pictures of a run take on idle cores, if none is there yet."""
    scenes, pairs = len(PROMPTS), len(read_view_prompts(ROOT / PAIR_PROMPTS))
    counts = {
        "strips": scenes * (options.seeds + options.baseline_seeds),
        "letters": len(letters.LETTERS) // 2 * options.seeds,
        "stage_2": PICTURES * (1 + len(options.stage2_noise_levels)) * options.processes,  # by one process
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

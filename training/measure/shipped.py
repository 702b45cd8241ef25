"""What ships, as it is: the scorer on unseen renders, the files and their hashes, the time of a strip."""

import os
import shutil
import statistics
from typing import Any

from training import train_scorer
from training.drawing import letters
from training.measure.report import Row, number_row, share_row
from training.measure.tool import Tool
from utils.files import sha256
from utils.scoring.clip_files import find_clip
from utils.scoring.clip_model import ClipScorer

MIB = 2**20
SCORER_BARS = {"letters": 0.97, "landscapes": 0.97}
SAFE_SUFFIXES = {".safetensors", ".json", ".txt", ".md", ".model", ".jinja"}


def measure_scorer(tool: Tool) -> dict[str, Any]:
    """Let the shipped scorer sort renders of faces and strips that it was not trained on."""
    options = tool.options
    glyphs = letters.load_glyphs(options.checkpoint_dir / "glyphs.npz")
    strips = train_scorer.draw_strips(train_scorer.FIRST_TEST_STRIP, 6)
    pictures = train_scorer.Pictures(train_scorer.split_faces(glyphs)[1], strips)
    scorer = ClipScorer(find_clip(str(options.models / "scorer"), None))
    found = train_scorer.test(scorer.model, pictures)
    return {
        "rows": [
            share_row(f"shipped scorer: right caption first, {name}", share, SCORER_BARS.get(name))
            for name, share in found.items()
        ],
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


def measure_time(tool: Tool) -> dict[str, Any]:
    """Make three strips anew, one after the other in one process with two threads, and take the median time."""
    shutil.rmtree(tool.path("time", "wide_image"), ignore_errors=True)
    arguments = ("--num_inference_steps", "25", "--panorama_height", "128", "--panorama_width", "768")
    shots = tool.make("time", "wide_image", 3, *arguments, processes=1, threads=2)
    seconds = [shot.entry["seconds"] for shot in shots]
    row = number_row("strip of 128x768, 25 steps, 2 threads", statistics.median(seconds), "s", 30, "goal ")
    return {"rows": [row], "details": {"seconds": seconds, "load": list(os.getloadavg())}}

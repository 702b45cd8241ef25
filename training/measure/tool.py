"""Pictures to be measured: ``main.py`` makes them, this finds and reads them."""

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from utils.errors import UserError
from utils.models.model_source import ModelSource, open_source
from utils.options import APPS, EMBEDDED

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = ("num_inference_steps", "guidance_scale", "stage2_num_inference_steps", "stage2_guidance_scale",
            "window_stride", "reduction")  # fmt: skip
FOLDERS = {"sd_path": "landscapes", "stage_1_path": "letters-stage-1", "stage_2_path": "letters-stage-2"}


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
        for name in SETTINGS:
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


def cost(shots: Sequence[Shot]) -> dict[str, Any]:
    """Return number and mean time of pictures for the details of a part."""
    seconds = statistics.fmean(shot.entry["seconds"] for shot in shots)
    return {"pictures": len(shots), "seconds_per_picture": round(seconds, 2)}

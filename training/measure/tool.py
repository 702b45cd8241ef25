"""Pictures to be measured: ``main.py`` makes them, this finds and reads them."""

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from guidance import get_app
from guidance.app import App
from guidance.pipeline import Plan, make_plan
from guidance.shared_options import EMBEDDED
from utils.errors import UserError
from utils.options import Given, options_of

ROOT = Path(__file__).resolve().parents[2]
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

    def weights(self, app: str) -> dict[str, Any]:
        """Return the options that name an app's weights; those that are not the shipped ones take its defaults, too."""
        paths = [path for path in FOLDERS if path in options_of(get_app(app).options)]
        return as_embedded(get_app(app), {path: self.folder_of(path) for path in paths})

    def plan(self, app: str) -> Plan:
        """Return the plan of an app's pictures, whose sources were checked."""
        return make_plan(get_app(app), Given(get_app(app).options, {"app": app, **self.weights(app)}))

    def make(
        self, name: str, app: str, seeds: int, *arguments: str, processes: int | None = None, threads: int = 1
    ) -> list[Shot]:
        """Make what is missing of a batch and return all of it, prompt by prompt and seed by seed.

        Raises:
            UserError: the tool failed.
        """
        processes = processes or self.options.processes
        weights = [word for name, value in self.weights(app).items() for word in (f"--{name}", str(value))]
        command = [sys.executable, *_launcher(processes), "main.py", "--app", app, *weights, *arguments]
        command += ["--save_top_dir", str(self.options.work_dir.resolve()), "--tag", self.tag(name, app)]
        command += ["--seed", "0", "--num_samples", str(seeds), "--dtype", self.options.dtype]
        print(f"{time.strftime('%H:%M:%S')} {name}: {' '.join(command[1:])}", flush=True)
        done = subprocess.run(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": str(threads)}, check=False)
        if done.returncode:
            raise UserError(f"main.py failed on {name} (exit code {done.returncode}): mend that and run again.")
        return read_shots(self.path(name, app), seeds)

    def tag(self, name: str, app: str) -> str:
        """Return the folder's name, another for other weights or another number format."""
        hashes = [str(source.identity()["sha256"]) for source in self.plan(app).sources.values()]
        key = hashlib.sha256("".join([*hashes, self.options.dtype]).encode()).hexdigest()
        return f"{name}-{key[:8]}"

    def path(self, name: str, app: str) -> Path:
        """Return the folder of a batch."""
        return self.options.work_dir / self.tag(name, app)


def as_embedded(app: App, folders: Mapping[str, Path]) -> dict[str, Any]:
    """Return options by which weights are used as the embedded ones are.

    Args:
        folders: by the options that name them.

    Returns:
        ``model`` alone where these are the embedded ones; else the folders, and the defaults that embedded weights
        have apart from pretrained ones.
    """
    if all(folder.resolve() == (EMBEDDED / FOLDERS[path]).resolve() for path, folder in folders.items()):
        return {"model": "tiny"}
    defaults = {
        name: said.families["tiny"]
        for name, said in options_of(app.options).items()
        if said.pinned and not said.weights and said.fill(None, "tiny") != said.fill(None, app.pretrained)
    }
    return {**{path: str(folder.resolve()) for path, folder in folders.items()}, **defaults}


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

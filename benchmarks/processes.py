"""``main.py`` in a process of its own: as users run it, measured from outside."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
KIBIBYTES = 1 if sys.platform == "linux" else 1024  # the unit of ru_maxrss


@dataclass(frozen=True)
class Measured:
    """What one run of ``main.py`` took.

    Attributes:
        seconds: of the whole process, from its start to its end.
        picture_seconds: of every picture alone, as ``run.json`` has them.
        peak_gib: largest resident memory.
    """

    seconds: float
    picture_seconds: list[float]
    peak_gib: float


def run_main(
    argv: Sequence[str], folder: Path, threads: int | None = None, program: Sequence[str] = ("main.py",)
) -> Measured:
    """Run ``main.py`` into a folder that does not exist yet.

    Args:
        argv: its options but for the folder.
        threads: of the CPU; None takes as many as a user would get.
        program: what Python runs.

    Raises:
        SystemExit: it failed.
    """
    command = [sys.executable, *program, *argv, "--save_top_dir", str(folder.parent), "--tag", folder.name]
    environment = os.environ if threads is None else os.environ | {"OMP_NUM_THREADS": str(threads)}
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if status:
        raise SystemExit(f"{' '.join(command)} failed: run it by itself to see why.")
    pictures = json.loads((folder / "run.json").read_text(encoding="utf-8"))["pictures"]
    return Measured(seconds, [picture["seconds"] for picture in pictures], usage.ru_maxrss / KIBIBYTES / 2**20)

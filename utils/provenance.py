"""Where results come from: the machine, the versions of what is installed, the state of the code."""

import datetime
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

PROGRAM = "diffusion-synchronization 0.2.0"
CPUINFO = Path("/proc/cpuinfo")
PACKAGES = ("torch", "diffusers", "transformers", "accelerate", "numpy", "pillow", "safetensors")


def machine() -> dict[str, Any]:
    """Return the processor, the GPU if there is one, the cores, torch's threads and version, and the system."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"cpu": _processor(), "cores": os.cpu_count(), "threads": torch.get_num_threads(), "gpu": gpu,
            "torch": torch.__version__, "system": platform.system()}  # fmt: skip


def _processor() -> str:
    lines = CPUINFO.read_text(encoding="utf-8").splitlines() if CPUINFO.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return (names or [platform.processor() or platform.machine()])[0]


def environment() -> dict[str, Any]:
    """Return what a reader needs to repeat a picture besides the options: the time, versions, the state of the code."""
    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "git_revision": git_revision(),
    }


def git_revision() -> str | None:
    """Return the commit of this code, with ``-dirty`` if files differ from it; None outside a git checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        result = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return result.stdout.strip()

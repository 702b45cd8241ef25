"""What the benchmarks share: tables, and files that say on which machine and when."""

import datetime
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from utils.files import write_atomic, write_json

RESULTS = Path(__file__).resolve().parent / "results"
Row = dict[str, Any]


def machine() -> dict[str, Any]:
    """Return the processor, the GPU if there is one, and torch's version and threads."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"cpu": _cpu(), "cores": os.cpu_count(), "threads": torch.get_num_threads(), "gpu": gpu,
            "torch": torch.__version__, "system": platform.system()}  # fmt: skip


def markdown(rows: Sequence[Row]) -> str:
    """Return rows with the same keys as a table."""
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([_shown(row[name]) for name in names] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_report(name: str, rows: Sequence[Row], folder: Path | None = None, **details: Any) -> None:
    """Write ``name.json``, with machine and date, and ``name.md``, into ``folder`` or ``benchmarks/results``."""
    folder = folder or RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    today = datetime.date.today().isoformat()
    write_json(folder / f"{name}.json", {"date": today, "machine": machine(), **details, "rows": list(rows)})
    where = ", ".join(f"{key} {value}" for key, value in machine().items() if value is not None)
    write_atomic(folder / f"{name}.md", f"{markdown(rows)}\n\n{today}; {where}\n".encode())


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()

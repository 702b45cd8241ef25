"""What the benchmarks share: tables, and files that say on which machine and when."""

import argparse
import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from utils.files import write_atomic, write_json
from utils.provenance import machine

RESULTS = Path(__file__).resolve().parent / "results"
Row = dict[str, Any]


def positive(text: str) -> int:
    """Read a number of things from the command line: 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of things: give 1 or more")
    return int(text)


def markdown(rows: Sequence[Row]) -> str:
    """Return rows with the same keys as a table."""
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([_shown(row[name]) for name in names] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_report(name: str, rows: Sequence[Row], folder: Path = RESULTS, **details: Any) -> None:
    """Write ``name.json``, with machine and date, and ``name.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    today = datetime.date.today().isoformat()
    write_json(folder / f"{name}.json", {"date": today, "machine": machine(), **details, "rows": list(rows)})
    where = ", ".join(f"{key} {value}" for key, value in machine().items() if value is not None)
    write_atomic(folder / f"{name}.md", f"{markdown(rows)}\n\n{today}; {where}\n".encode())


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

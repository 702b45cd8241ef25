"""docs/walkthrough.ipynb: it runs, what it shows is committed, and it tells nothing of the machine that ran it.

``python -m tests.test_walkthrough`` executes it and writes what it shows into it.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

PAGE = Path(__file__).parents[1] / "docs" / "walkthrough.ipynb"
LINK = re.compile(r"\]\(([^)#\s]+)")
PROVEN = (  # what cells print of the formulas, and may not print otherwise
    "x0 comes back: True",
    "less of the same noise: True",
    "g(f(z)) is z: True",
    "the loop above made the same: True",
    "each turns back: True",
)


def execute() -> Any:
    """Run the notebook from its own folder as a reader would; a cell that errs raises."""
    notebook = nbformat.read(PAGE, as_version=4)
    place = {"metadata": {"path": str(PAGE.parent)}}
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources=place, record_timing=False)
    client.execute(env=os.environ | {"OMP_NUM_THREADS": "1"})
    return notebook


@pytest.fixture(scope="module")
def committed() -> Any:
    return nbformat.read(PAGE, as_version=4)


@pytest.fixture(scope="module")
def executed() -> Any:
    return execute()


def texts(notebook: Any) -> str:
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", []))
    return "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")


def pictures(notebook: Any) -> list[int]:
    """How many pictures each cell shows."""
    return [
        sum("image/jpeg" in output.get("data", {}) for output in cell.outputs)
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def test_it_runs_and_its_formulas_hold(executed: Any) -> None:
    said = texts(executed)
    assert [line for line in PROVEN if line not in said] == []


def test_what_it_shows_is_committed(committed: Any, executed: Any) -> None:
    assert pictures(committed) == pictures(executed) and sum(pictures(committed)) > 10
    assert [line for line in PROVEN if line not in texts(committed)] == []
    assert all(cell.execution_count for cell in committed.cells if cell.cell_type == "code")
    assert len(texts(committed).splitlines()) == len(texts(executed).splitlines())


def test_no_cell_complains(committed: Any, executed: Any) -> None:
    for notebook in (committed, executed):
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        assert [one for one in outputs if one.output_type == "error" or one.get("name") == "stderr"] == []


def test_it_is_small_and_says_nothing_of_the_machine() -> None:
    content = json.loads(PAGE.read_text(encoding="utf-8"))
    assert PAGE.stat().st_size < 1.5 * 2**20
    assert content["metadata"].keys() == {"kernelspec", "language_info"}
    assert content["metadata"]["language_info"] == {"name": "python"}
    assert all(cell["metadata"] == {} for cell in content["cells"])
    words = [word for cell in content["cells"] for word in (*cell["source"], *map(str, cell.get("outputs", [])))]
    readable = re.sub(r"'image/jpeg': '[^']*'", "", " ".join(words))
    assert re.findall(r"(?<![\w.)\]])/(?:tmp|home|root|usr|work|opt|Users)\b", readable) == []


def test_one_line_changes_to_the_real_weights(committed: Any) -> None:
    first = next(cell for cell in committed.cells if cell.cell_type == "code")
    assert re.findall(r"^(\w+) = False", first.source, re.MULTILINE) == ["REAL"]


def test_its_links_lead_somewhere(committed: Any) -> None:
    found = [target for cell in committed.cells for target in LINK.findall(cell.source) if cell.cell_type == "markdown"]
    assert len(found) > 3
    assert [target for target in found if not (PAGE.parent / target).exists()] == []


if __name__ == "__main__":
    again = execute()
    again.metadata = nbformat.read(PAGE, as_version=4).metadata  # without the version of this Python
    nbformat.write(again, PAGE)

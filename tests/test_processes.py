"""Several processes fill one folder as one process does, and a killed run goes on where it was."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import runs

ROOT = Path(__file__).resolve().parent.parent
PROMPTS = {f"p{index}": {"prompt": f"a photo number {index}", "eval_pos": [0, 100]} for index in range(3)}
LIMIT = 300.0  # seconds; machines that do much else are slow


def command(sd_folder: Path, top: Path, prompts: dict, *extra: object, processes: int = 1) -> list[str]:
    file = top.with_suffix(".json")
    file.write_text(json.dumps(prompts))
    launcher = [sys.executable]
    if processes > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    return [*launcher, "main.py", *runs.wide(sd_folder, top, "--prompts_file", file, *extra)]


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1"}


def launch(argv: list[str], expected: int = 0) -> str:
    """Run to the end, return stderr."""
    done = subprocess.run(
        argv, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=LIMIT, check=False
    )  # fmt: skip
    assert done.returncode == expected, done.stderr[-3000:]
    return done.stderr


@pytest.fixture(scope="module")
def alone(sd_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three pictures made by one process that is killed after the first, then run again."""
    top = tmp_path_factory.mktemp("processes") / "alone"
    argv = command(sd_folder, top, PROMPTS)
    process = subprocess.Popen(argv, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + LIMIT
    while not list((top / "t").glob("*_0.png")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    before = runs.contents(top / "t")
    assert before
    launch(argv)
    after = runs.contents(top / "t")
    assert {name: after[name] for name in before} == before
    return top / "t"


def test_a_killed_run_goes_on_and_ends_with_the_bytes_of_an_uninterrupted_one(
    alone: Path, sd_folder: Path, tmp_path: Path
) -> None:
    launch(command(sd_folder, tmp_path / "two", PROMPTS, processes=2))
    uninterrupted = tmp_path / "two" / "t"
    assert len(runs.contents(alone)) == 9
    assert runs.contents(alone) == runs.contents(uninterrupted)
    mine, theirs = runs.run_json(alone), runs.run_json(uninterrupted)
    assert runs.comparable(mine) == runs.comparable(theirs)
    assert {picture["process"] for picture in theirs["pictures"]} == {0, 1}
    assert len(theirs["sessions"]) == 1


def test_a_failure_in_one_process_and_one_picture_for_two(alone: Path, sd_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "few" / "t"
    (folder / "previews").mkdir(parents=True)
    blocked = folder / "previews" / "a_photo_number_2"
    blocked.write_text("no folder can be made here")
    argv = command(sd_folder, tmp_path / "few", PROMPTS, "--log_step", 1, processes=2)
    stderr = launch(argv, expected=1)
    assert "main.py: failed: a_photo_number_2" in stderr
    assert [picture["status"] for picture in runs.run_json(folder)["pictures"]] == ["done", "done", "failed"]
    made = {name: (folder / name).stat().st_mtime_ns for name in runs.contents(folder)}
    assert len(made) == 6

    blocked.unlink()
    launch(argv)  # one picture is left for two processes
    assert runs.contents(folder) == runs.contents(alone)
    assert {name: (folder / name).stat().st_mtime_ns for name in made} == made
    assert runs.comparable(runs.run_json(folder)) == runs.comparable(runs.run_json(alone))

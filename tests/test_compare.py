"""``eval.py --compare``: folders side by side, over what all of them have."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest

import eval as evaluation
from utils.errors import UserError
from utils.scoring.compare import compare

CLIP = {"model": "tiny", "sha256": "0"}


def scored(folder: Path, scores: dict[tuple[str, int], float], clip: dict = CLIP) -> Path:
    """A folder of one file per prompt and seed, as main.py and eval.py leave it."""
    folder.mkdir()
    rows, pictures = [], []
    for (prompt, seed), score in scores.items():
        file = f"{prompt}_{seed}.png"
        rows.append({"file": file, "prompt": prompt, "score": score})
        pictures.append({"name": f"{prompt}_{seed}", "prompts": [prompt], "seed": seed, "status": "done",
                         "files": [{"file": file, "role": "view", "prompt": prompt, "view": 0}]})  # fmt: skip
    record = {"version": 2, "app": "ambiguous_image", "options": {}, "model": {"family": "tiny", "sources": {}},
              "sessions": [], "pictures": pictures}  # fmt: skip
    (folder / "run.json").write_text(json.dumps(record))
    (folder / "eval_details.json").write_text(json.dumps({"clip": clip, "pictures": rows}))
    return folder


FIRST = {("a", 1): 0.5, ("a", 2): 0.7, ("b", 1): 0.3, ("c", 1): 0.9}
SECOND = {("a", 1): 0.6, ("a", 2): 0.7, ("b", 1): 0.5, ("d", 1): 0.1}


def test_means_and_errors_are_over_what_all_folders_have(tmp_path: Path) -> None:
    one, other = compare([scored(tmp_path / "1", FIRST), scored(tmp_path / "2", SECOND)])
    assert one.count == other.count == 3
    assert one.score == pytest.approx(0.5) and other.score == pytest.approx(0.6)
    assert one.error == pytest.approx(np.std([0.5, 0.7, 0.3], ddof=1) / 3**0.5)
    assert (one.difference, one.difference_error) == (0, 0)
    assert other.difference == pytest.approx(0.1)
    assert other.difference_error == pytest.approx(np.std([0.1, 0.0, 0.2], ddof=1) / 3**0.5)


def test_graded_folders_can_be_compared_and_their_grade_is_checked(tmp_path: Path) -> None:
    folder = scored(tmp_path / "1", FIRST)
    path = folder / "eval_details.json"
    for grade, fits in (({"points": 10, "of": 10.0, "rule": "r"}, True), (None, True), ({"points": "ten"}, False)):
        path.write_text(json.dumps({**json.loads(path.read_text()), "grade": grade}))
        if fits:
            assert len(compare([folder])) == 1
        else:
            with pytest.raises(UserError, match="points is"):
                compare([folder])


def test_the_table_names_every_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [scored(tmp_path / "1", FIRST), scored(tmp_path / "2", SECOND)]
    assert evaluation.main(["--compare", *map(str, folders)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines[1:3]] == list(map(str, folders))
    assert "+0.1000" in lines[2] and "3 prompts and seeds" in lines[3]


@pytest.mark.parametrize("case", ["not scored", "another model", "nothing in common", "damaged", "not alone"])
def test_what_cannot_be_compared_is_told(case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = scored(tmp_path / "2", {("z", 1): 0.5} if case == "nothing in common" else SECOND,
                   {**CLIP, "sha256": "1"} if case == "another model" else CLIP)  # fmt: skip
    if case == "not scored":
        (other / "eval_details.json").unlink()
    if case == "damaged":
        (other / "eval_details.json").write_text('{"clip": [], "pictures": 3}')
    extra = ["--app", "wide_image"] if case == "not alone" else []
    with pytest.raises(SystemExit) as ending:
        evaluation.main(["--compare", str(scored(tmp_path / "1", FIRST)), str(other), *extra])
    error = capsys.readouterr().err
    assert ending.value.code == 2 and error.count("\n") == 1 and error.startswith("eval.py: error: ")


def test_one_picture_has_no_error(tmp_path: Path) -> None:
    (row,) = compare([scored(tmp_path / "1", {("a", 1): 0.5})])
    assert row.score == 0.5 and np.isnan(row.error)


def test_no_folder_at_all_is_no_comparison() -> None:
    with pytest.raises(UserError, match="--fdir1"):
        evaluation.evaluate(evaluation.make_parser().parse_args([]))


def test_a_folder_without_seeds_and_one_that_is_not_there_are_named(tmp_path: Path) -> None:
    old = scored(tmp_path / "an old one", SECOND)
    (old / "run.json").unlink()
    with pytest.raises(UserError, match=r"without run.json the seeds in .*an old one are unknown"):
        compare([scored(tmp_path / "1", FIRST), old])
    with pytest.raises(UserError, match="no such one does not exist"):
        compare([tmp_path / "no such one"])


def test_the_command_that_scores_can_be_pasted(tmp_path: Path) -> None:
    folder = tmp_path / "two words"
    folder.mkdir()
    with pytest.raises(UserError) as told:
        compare([folder])
    assert str(folder) in shlex.split(str(told.value).split("(")[1].split(")")[0])


def with_figures(folder: Path, figures: dict[tuple[str, int], dict[str, float]]) -> Path:
    """Add what was measured of pictures to a scored folder."""
    path = folder / "eval_details.json"
    rows = [{"name": prompt, "prompts": [prompt], "seed": seed, "figures": some}
            for (prompt, seed), some in figures.items()]  # fmt: skip
    path.write_text(json.dumps({**json.loads(path.read_text()), "figures": {"pictures": rows, "mean": {}}}))
    return folder


def test_figures_are_compared_over_the_pictures_that_all_folders_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = {("a", 1): {"wrap": 1.0, "pole": 1.5}, ("b", 1): {"wrap": 2.0, "pole": 1.5}, ("c", 1): {"wrap": 9.0}}
    other = {("a", 1): {"wrap": 3.0}, ("b", 1): {"wrap": 3.0}, ("d", 1): {"wrap": 9.0}}
    folders = [with_figures(scored(tmp_path / "1", FIRST), one), with_figures(scored(tmp_path / "2", SECOND), other)]
    first, second = compare(folders)
    assert first.figures == {"wrap": (1.5, pytest.approx(0.5))}
    assert second.figures == {"wrap": (3.0, 0.0)}
    assert evaluation.main(["--compare", *map(str, folders)]) == 0
    assert "1.50    0.50" in (printed := capsys.readouterr().out) and "pole" not in printed


def test_folders_without_figures_are_compared_by_their_scores_alone(tmp_path: Path) -> None:
    folders = [with_figures(scored(tmp_path / "1", FIRST), {("a", 1): {"wrap": 1.0}}), scored(tmp_path / "2", SECOND)]
    assert [row.figures for row in compare(folders)] == [{}, {}]

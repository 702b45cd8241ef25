"""Views by name and parameters: read, checked and explained before torch is loaded."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.view_samples import permutation_file
from utils.errors import UserError
from utils.views import (
    VIEWS,
    check_combination,
    check_sizes,
    get_views,
    parse_view,
    parse_views,
    reads_rotate_angle,
    view_help,
)

BAD = {  # spec -> what the sentence says
    "spin": ["'spin'", "identity", "jigsaw"],
    "": ["''", "identity"],
    "Flip": ["'Flip'", "flip"],
    "flip:angle=3": ["flip takes no parameters"],
    "identity:": ["identity takes no parameters"],
    "patch_permute:": ["'' is not key=value", "grid, seed"],
    "patch_permute:grid": ["'grid' is not key=value", "grid, seed"],
    "patch_permute:grid=": ["'grid=' is not key=value"],
    "patch_permute:gird=4": ["no parameter 'gird'", "grid, seed"],
    "patch_permute:grid=4,grid=5": ["grid is given twice"],
    "patch_permute:grid=4;seed=2": ["grid=4;seed=2", "a whole number from 2 to 64"],
    "patch_permute:grid=four": ["grid=four", "a whole number from 2 to 64"],
    "patch_permute:grid=4.5": ["grid=4.5", "a whole number from 2 to 64"],
    "patch_permute:grid=1": ["grid=1 is out of range", "2 to 64"],
    "patch_permute:seed=-1": ["seed=-1 is out of range", "4294967295"],
    "rotate:angle=nan": ["angle=nan is out of range"],
    "rotate:angle=inf": ["angle=inf is out of range", "-3600 to 3600"],
    "inner_rotate:angle=ninety": ["angle=ninety", "a number from -3600 to 3600"],
    "inner_circle:turns=4": ["turns=4 is out of range", "1 to 3"],
    "low_pass:sigma=0": ["sigma=0 is out of range"],
    "scale:weight=1.5": ["weight=1.5 is out of range", "0.001 to 1"],
    "band_pass:coarse=0.01,fine=0.1": ["coarse is not above fine"],
    "permutation": ["the file is missing", "permutation:file=perm.npy"],
    "permutation:file=nowhere.npy": ["no file nowhere.npy"],
}


@pytest.mark.parametrize("text", BAD)
def test_bad_specs_are_told_in_one_sentence(text: str) -> None:
    with pytest.raises(UserError) as error:
        parse_view(text)
    message = str(error.value)
    assert message.startswith("--views_names") and message.endswith(".") and "\n" not in message
    assert all(words in message for words in BAD[text]), message


def test_good_specs_are_read() -> None:
    spec = parse_view("patch_permute:seed=7,grid=8")
    assert (spec.name, spec.given, spec.text) == (
        "patch_permute",
        {"seed": 7, "grid": 8},
        "patch_permute:seed=7,grid=8",
    )
    assert spec.values == {"grid": 8, "seed": 7} and spec.grid == 8 and spec.terms is None
    assert parse_view("patch_permute").values == {"grid": 4, "seed": 1}
    assert parse_view("rotate:angle=-45").values == {"angle": -45.0}
    assert parse_view("rotate:angle=1e2").values == {"angle": 100.0}
    assert parse_view(spec) is spec
    assert [one.name for one in parse_views(["flip", spec])] == ["flip", "patch_permute"]


def test_parameters_reach_the_view(tmp_path: Path) -> None:
    jigsaw, rotate, again = get_views(["jigsaw:grid=8", "rotate:angle=30", parse_view("rotate")])
    assert jigsaw.grid == 8 and rotate.angle == 30.0 and again.angle == 135.0
    (own,) = get_views([f"permutation:file={permutation_file(tmp_path)}"])
    assert own.grid == 8


def test_the_angle_of_inner_rotate() -> None:
    """Its own one first, then --rotate_angle, then 90."""
    assert [one.angle for one in get_views(["inner_rotate", "inner_rotate:angle=10"], 45.0)] == [45.0, 10.0]
    assert [one.angle for one in get_views(["inner_rotate", "inner_rotate:angle=10"], None)] == [90.0, 10.0]
    assert get_views(["inner_rotate"])[0].angle == 90.0
    assert reads_rotate_angle(["flip", "inner_rotate"])
    assert not reads_rotate_angle(["flip", "inner_rotate:angle=10", "rotate"])


@pytest.mark.parametrize("name", [name for name, entry in VIEWS.items() if name != "permutation"])
def test_defaults_are_within_their_ranges(name: str) -> None:
    for parameter in VIEWS[name].parameters:
        assert parameter.help
        assert parameter.default is None or parameter.low <= parameter.default <= parameter.high
        assert parameter.default is None or isinstance(parameter.default, parameter.type)


# ---------------------------------------------------------------------------------------------- combinations and sizes


@pytest.mark.parametrize("names", [["identity", "flip", "negate"], ["flip"], ["rotate", "jigsaw", "skew", "flip"]])
def test_whole_views_go_together(names: list[str]) -> None:
    assert check_combination(names) is False
    assert check_combination(parse_views(names)) is False


@pytest.mark.parametrize("names", [["identity", "low_pass"], ["low_pass", "high_pass", "flip"], ["scale", "negate"]])
def test_parts_and_whole_views_do_not(names: list[str]) -> None:
    with pytest.raises(UserError, match=r"parts of a picture, .* whole pictures"):
        check_combination(names)


def test_parts_that_sum_to_no_whole_are_named() -> None:
    with pytest.raises(UserError) as error:
        check_combination(["low_pass:sigma=0.03", "high_pass:sigma=0.05"])
    assert "low_pass:sigma=0.03 high_pass:sigma=0.05" in str(error.value) and "equal sigma" in str(error.value)


def test_grids_have_to_divide_every_size(tmp_path: Path) -> None:
    own = f"permutation:file={permutation_file(tmp_path, 6)}"
    check_sizes(["flip", "patch_permute", "pixel_permute", "jigsaw", "square_hinge", "rotate"], [32, 64, 256, 1024])
    check_sizes([own], [96, 384])
    for name, sizes in (("patch_permute:grid=5", [64, 256]), ("jigsaw:grid=3", [64]), ("pixel_permute", [16, 64]),
                        (own, [64])):  # fmt: skip
        with pytest.raises(UserError, match="do not divide"):
            check_sizes(["flip", name], sizes)
    with pytest.raises(UserError, match=r"5 cells per side do not divide 64 px evenly: give a divisor of 64\."):
        check_sizes(["patch_permute:grid=5"], [64, 256])


# ---------------------------------------------------------------------------------------------- files


def save(path: Path, array: np.ndarray) -> str:
    np.save(path, array, allow_pickle=True)
    return f"permutation:file={path}"


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.arange(16) + 1, "no permutation: it must hold 0 to 15"),
        (np.array([0, 1, 1, 3]), "no permutation"),
        (np.array([0, 1, 2, 2**40]), "no permutation"),
        (np.arange(12), "shape (12,)"),
        (np.arange(16).reshape(2, 8), "shape (2, 8)"),
        (np.arange(16).reshape(1, 4, 4), "shape (1, 4, 4)"),
        (np.array([0]), "shape (1,)"),
        (np.zeros(0, dtype=int), "shape (0,)"),
        (np.array(0), "shape ()"),
        (np.arange(16.0), "no array of integers"),
        (np.array([True, False, True, False]), "no array of integers"),
        (np.array([{"a": 1}], dtype=object), "no readable .npy file"),
    ],
)
def test_arrays_that_are_no_permutation(array: np.ndarray, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        parse_view(save(tmp_path / "p.npy", array))
    assert words in str(error.value) and "p.npy" in str(error.value)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x93NUMPY\x01\x00", b"\x80\x04."])
def test_files_that_are_no_array(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "p.npy").write_bytes(content)
    with pytest.raises(UserError, match=r"p\.npy is no readable \.npy file: save one array with numpy\.save\.$"):
        parse_view(f"permutation:file={tmp_path / 'p.npy'}")


def test_other_files(tmp_path: Path) -> None:
    np.savez(tmp_path / "p.npz", np.arange(16))
    with pytest.raises(UserError, match="holds several arrays"):
        parse_view(f"permutation:file={tmp_path / 'p.npz'}")
    with pytest.raises(UserError, match="no file"):
        parse_view(f"permutation:file={tmp_path}")
    with (tmp_path / "huge.npy").open("wb") as file:
        file.truncate(100 * 2**20)
    with pytest.raises(UserError, match="104,857,600 bytes"):
        parse_view(f"permutation:file={tmp_path / 'huge.npy'}")


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, ">i4"])
def test_permutations_of_all_kinds_of_integers(dtype: str, tmp_path: Path) -> None:
    array = np.random.RandomState(0).permutation(64).astype(dtype)
    text = save(tmp_path / "p.npy", array)
    assert parse_view(text).grid == 8
    assert parse_view(save(tmp_path / "q.npy", np.asfortranarray(array.reshape(8, 8)))).grid == 8
    assert get_views([text])[0].cells.tolist() == array.tolist()


@pytest.mark.parametrize("name", ["with space.npy", "com,ma.npy", "eq=ual.npy", "co:lon.npy", "a,file=b.npy"])
def test_paths_may_hold_what_separates_parameters(name: str, tmp_path: Path) -> None:
    assert parse_view(save(tmp_path / name, np.arange(16))).grid == 4


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    text = save(tmp_path / "p.npy", np.arange(16)[::-1])
    assert parse_view(text).grid == 4
    save(tmp_path / "p.npy", np.arange(64)[::-1])
    assert parse_view(text).grid == 8


# ---------------------------------------------------------------------------------------------- help and speed


def test_help_has_one_line_per_view() -> None:
    lines = view_help().splitlines()
    assert len(lines) == len(VIEWS)
    assert [line.split("  ")[0].split(":")[0] for line in lines] == list(VIEWS)
    for line, entry in zip(lines, VIEWS.values(), strict=True):
        assert entry.help in line and all(one.name in line for one in entry.parameters)
        for one in (one for one in entry.parameters if np.isfinite(one.low)):
            low, high = re.search(rf"{one.help}, (\S+) to ([\d.]+)", line).groups()
            assert (float(low), float(high)) == (one.low, one.high)  # what the help says is what is taken


def test_checks_load_no_torch() -> None:
    code = (
        "import sys\n"
        "from utils.views import *\n"
        "view_help(), check_combination(['low_pass', 'high_pass']), check_sizes(['jigsaw'], [64])\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent.parent)

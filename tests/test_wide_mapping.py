"""Windows and canvas: every cell is covered, the way there and back changes no bit, the mean is weighted."""

import random
from itertools import pairwise

import pytest
import torch

from guidance.wide_image_model import WideImageModel
from guidance.windows import paste, window_starts
from tests.analytic import FakeUNet, nonlinear_answer, wide_model

UNET = FakeUNet(nonlinear_answer(4))


def mapping(height: int, width: int, window: int, stride: int, circular: bool = False) -> WideImageModel:
    return wide_model(UNET, (height, width), window, window_stride=stride, circular=circular)


def random_cases(count: int, seed: int) -> list[tuple[int, int, int, int, bool]]:
    """(height, width, window, stride, circular), most of which do not tile."""
    draw = random.Random(seed)
    cases = []
    for _ in range(count):
        window = draw.randint(1, 9)
        size = draw.randint(window, window + 5), draw.randint(window, 4 * window + 7)
        cases.append((*size, window, draw.randint(1, window), draw.random() < 0.5))
    return cases


def canvas(height: int, width: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(1, 2, height, width, generator=torch.Generator().manual_seed(height * width)).to(dtype)


def cells_of(model: WideImageModel, window: int) -> list[list[tuple[int, int]]]:
    """For every window the canvas cells under it, row by row."""
    places = [(top, left) for top, _, left, _ in model.mapper]
    return [[(top + i, (left + j) % model.width) for i in range(window) for j in range(window)] for top, left in places]


# ---------------------------------------------------------------------------------------------- where windows are


@pytest.mark.parametrize(
    ("length", "window", "stride", "expected"),
    [
        (8, 8, 8, [0]),
        (8, 8, 3, [0]),
        (9, 8, 8, [0, 1]),
        (16, 8, 8, [0, 8]),
        (17, 8, 8, [0, 8, 9]),
        (21, 8, 3, [0, 3, 6, 9, 12, 13]),
        (20, 8, 3, [0, 3, 6, 9, 12]),
        (23, 8, 8, [0, 8, 15]),
        (10, 4, 1, [0, 1, 2, 3, 4, 5, 6]),
    ],
)
def test_the_last_window_is_moved_back_to_the_edge(length, window, stride, expected) -> None:
    assert window_starts(length, window, stride) == expected


def test_the_canvas_of_the_assignment_has_41_windows() -> None:
    model = wide_model(UNET, (64, 384), 64, window_stride=8)
    assert model.mapper == [(0, 64, left, left + 64) for left in range(0, 321, 8)]
    assert [len(mapping(64, 384, 64, stride).mapper) for stride in (16, 32, 64)] == [21, 11, 6]


def test_windows_go_row_by_row() -> None:
    expected = [(0, 4, 0, 4), (0, 4, 3, 7), (0, 4, 4, 8), (2, 6, 0, 4), (2, 6, 3, 7), (2, 6, 4, 8)]
    assert mapping(6, 8, 4, 3).mapper == expected


def test_windows_on_a_ring_cross_its_seam() -> None:
    assert [left for _, _, left, _ in mapping(4, 10, 4, 2, circular=True).mapper] == [0, 2, 4, 6, 8]
    assert [left for _, _, left, _ in mapping(4, 10, 4, 3, circular=True).mapper] == [0, 3, 6, 9]


@pytest.mark.parametrize("case", random_cases(60, seed=1))
def test_every_cell_is_covered_up_to_the_edge(case) -> None:
    height, width, window, stride, circular = case
    model = mapping(*case)
    counts = torch.zeros(height, width, dtype=torch.float64)
    for cells in cells_of(model, window):
        for row, column in cells:
            counts[row, column] += 1
    assert counts.min() >= 1
    assert torch.equal(model.totals[0, 0], counts)
    assert max(bottom for _, bottom, _, _ in model.mapper) == height
    tops = sorted({top for top, _, _, _ in model.mapper})
    lefts = sorted({left for _, _, left, _ in model.mapper})
    assert all(later - earlier <= stride for starts in (tops, lefts) for earlier, later in pairwise(starts))
    if circular:
        assert lefts == list(range(0, width, stride))
    else:
        assert model.mapper[-1] == (height - window, height, width - window, width)


def test_uncovered_cells_are_refused() -> None:
    with pytest.raises(ValueError, match="uncovered"):
        mapping(4, 16, 4, 6)


# ---------------------------------------------------------------------------------------------- there and back


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("seed", range(4))
def test_there_and_back_changes_no_bit(seed: int, dtype: torch.dtype) -> None:
    for case in random_cases(25, seed):
        z = canvas(*case[:2], dtype)
        model, before = mapping(*case), z.clone()
        windows = model.forward_mapping(z)
        assert windows.shape == (len(model.mapper), 2, case[2], case[2])
        back = model.inverse_mapping(windows)
        assert back.dtype == dtype
        assert torch.equal(back, z), case
        assert torch.equal(z, before)


def test_there_and_back_on_the_canvas_of_the_assignment() -> None:
    for stride, circular in ((8, False), (8, True), (24, False), (56, True)):
        model, z = mapping(64, 384, 64, stride, circular), canvas(64, 384)
        assert torch.equal(model.inverse_mapping(model.forward_mapping(z)), z)


def test_one_window_is_the_canvas() -> None:
    model, z = mapping(8, 8, 8, 5), canvas(8, 8)
    assert model.mapper == [(0, 8, 0, 8)]
    assert torch.equal(model.forward_mapping(z), z)
    assert torch.equal(model.inverse_mapping(z), z)


@pytest.mark.parametrize("case", random_cases(20, seed=7))
def test_windows_are_crops(case) -> None:
    model, z = mapping(*case), canvas(*case[:2])
    for window, cells in zip(model.forward_mapping(z), cells_of(model, case[2]), strict=True):
        expected = torch.stack([z[0, :, row, column] for row, column in cells], dim=1)
        assert torch.equal(window.flatten(1), expected)


# ---------------------------------------------------------------------------------------------- the mean


@pytest.mark.parametrize("case", random_cases(30, seed=3))
def test_the_mean_is_weighted_by_coverage(case) -> None:
    """Against a slow twin, on windows that do not agree."""
    model, (height, width, window) = mapping(*case), case[:3]
    windows = torch.randn(len(model.mapper), 2, window, window, generator=torch.Generator().manual_seed(0))
    values: dict[tuple[int, int], list[torch.Tensor]] = {}
    for one, cells in zip(windows, cells_of(model, window), strict=True):
        for place, value in zip(cells, one.flatten(1).T, strict=True):
            values.setdefault(place, []).append(value)
    means = model.inverse_mapping(windows)
    assert means.shape == (1, 2, height, width)
    for (row, column), given in values.items():
        expected = torch.stack(given).double().mean(dim=0)
        assert (means[0, :, row, column] - expected).abs().max() < 1e-6


def test_averaging_twice_is_averaging_once() -> None:
    model = mapping(9, 21, 8, 3)
    windows = torch.randn(len(model.mapper), 2, 8, 8, generator=torch.Generator().manual_seed(0))
    once = model.forward_mapping(model.inverse_mapping(windows))
    assert not torch.allclose(once, windows)
    assert torch.equal(model.forward_mapping(model.inverse_mapping(once)), once)


def test_paste_adds_in_place_and_across_the_seam() -> None:
    pictures = torch.arange(1.0, 9.0).reshape(2, 1, 2, 2)
    sums = paste([((0, 2, 1, 3), pictures[0]), ((0, 2, 3, 5), pictures[1])], 2, 4)
    assert sums.tolist() == [[[[6.0, 1.0, 2.0, 5.0], [8.0, 3.0, 4.0, 7.0]]]]
    assert pictures.flatten().tolist() == list(range(1, 9))


# ---------------------------------------------------------------------------------------------- the ring


@pytest.mark.parametrize(("height", "width", "window", "stride"), [(8, 24, 8, 4), (10, 18, 8, 3), (8, 8, 8, 2)])
def test_turning_the_ring_by_strides_turns_the_windows(height, width, window, stride) -> None:
    model, z = mapping(height, width, window, stride, circular=True), canvas(height, width)
    columns = width // stride
    windows = torch.randn(len(model.mapper), 2, window, window, generator=torch.Generator().manual_seed(1))
    for turns in (1, 2, columns - 1):
        turned = model.forward_mapping(z.roll(turns * stride, dims=-1))
        expected = model.forward_mapping(z).unflatten(0, (-1, columns)).roll(turns, dims=1).flatten(0, 1)
        assert torch.equal(turned, expected)
        turned = model.inverse_mapping(windows.unflatten(0, (-1, columns)).roll(turns, dims=1).flatten(0, 1))
        expected = model.inverse_mapping(windows).roll(turns * stride, dims=-1)
        torch.testing.assert_close(turned, expected, rtol=0, atol=1e-6)


def test_no_cell_of_a_ring_is_special() -> None:
    assert mapping(8, 24, 8, 2, circular=True).totals.unique().tolist() == [4]
    assert len(mapping(8, 24, 8, 2).totals.unique()) > 1

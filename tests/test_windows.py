"""Windows without a loop equal windows with one; shifted windows cover every canvas and leave no border in place."""

import random

import pytest
import torch

from guidance.windows import (
    Axis,
    WindowGrid,
    equal_spacings,
    extra_steps,
    paste,
    shift_at,
    shifted_starts,
    window_starts,
)

SIZES = [(8, 8), (8, 9), (8, 12), (8, 13), (8, 16), (8, 17), (8, 48), (8, 51), (5, 64), (1, 7), (64, 384), (64, 416)]


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def grids(count: int, seed: int) -> list[WindowGrid]:
    """Grids at random, most of which do not tile, a third with starts at any distances, a third on a ring."""
    draw = random.Random(seed)
    found = []
    for index in range(count):
        window = draw.randint(1, 9)
        height, width = draw.randint(window, 2 * window + 5), draw.randint(window, 5 * window + 7)
        stride, ring = draw.randint(1, window), index % 3 == 1
        lefts = window_starts(width, window, stride, ring)
        if index % 3 == 2:
            lefts = sorted(draw.sample(range(width - window + 1), draw.randint(1, width - window + 1)))
        found.append(WindowGrid(window_starts(height, window, stride), lefts, window, height, width))
    return found


@pytest.mark.parametrize("grid", grids(90, seed=0))
def test_crops_and_sums_equal_a_loop(grid: WindowGrid) -> None:
    height, width = grid.rows.length, grid.columns.length
    z = noise(1, 3, height, width)
    ring = torch.cat([z, z], dim=-1)
    crops = torch.stack([ring[0, :, top:bottom, left:right] for top, bottom, left, right in grid.windows])
    assert torch.equal(grid.crop(z), crops)
    windows = noise(*crops.shape)
    before = windows.clone()
    looped = paste(zip(grid.windows, windows, strict=True), height, width)
    assert (grid.add(windows) - looped).abs().max() < 1e-12
    assert grid.add(windows).is_contiguous() and grid.crop(z).is_contiguous()  # safetensors takes no other
    assert torch.equal(windows, before)


def test_the_number_of_additions_is_that_of_strides_in_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    add = torch.Tensor.add_
    monkeypatch.setattr(torch.Tensor, "add_", lambda self, *args: calls.append(args) or add(self, *args))
    for windows in (20, 2000):
        calls.clear()
        Axis(range(0, 8 * windows, 8), 64, 8 * windows + 56).add(torch.ones(windows, 64))
        assert len(calls) == 8


@pytest.mark.parametrize(
    ("starts", "runs"),
    [
        ([0], [(0, 1, 1)]),
        ([0, 8, 16, 24], [(0, 8, 4)]),
        ([0, 8, 16, 19], [(0, 8, 3), (19, 1, 1)]),
        ([0, 3, 11, 19, 24], [(0, 3, 2), (11, 8, 2), (24, 1, 1)]),
    ],
)
def test_runs_of_equal_distance(starts: list[int], runs: list[tuple[int, int, int]]) -> None:
    assert [(run.start, run.stride, run.count) for run in equal_spacings(starts)] == runs


# ---------------------------------------------------------------------------------------------- shifted windows


def schedule(window: int, length: int, circular: bool, turns: int = 200, first: float = 0.3) -> list[list[int]]:
    extra = extra_steps(-(-length // window), turns)
    return [shifted_starts(length, window, shift_at(first, turn), circular, turn in extra) for turn in range(turns)]


@pytest.mark.parametrize(
    ("length", "share", "given", "expected"),
    [
        # on a ring they start anywhere: a share of a whole window
        (24, 0.0, {"circular": True}, [0, 8, 16]),
        (24, 0.6, {"circular": True}, [4, 12, 20]),
        (24, 0.99, {"circular": True}, [7, 15, 23]),
        (20, 0.8, {"circular": True}, [2, 6, 14]),
        # on a line the first and the last stay; the nearest cell to the share
        (20, 0.0, {}, [0, 4, 12]),
        (20, 0.4, {}, [0, 6, 12]),
        (20, 0.9, {}, [0, 8, 12]),
        (28, 0.2, {}, [0, 5, 13, 20]),
        # with half a window or more to move in there is no need for another, with less there is
        (20, 0.4, {"extra": True}, [0, 6, 12]),
        (21, 0.4, {"extra": True}, [0, 2, 10, 13]),
        (21, 0.4, {}, [0, 6, 13]),
        (24, 0.4, {"extra": True}, [0, 3, 11, 16]),
        (8, 0.4, {"extra": True}, [0]),
        (12, 0.4, {"extra": True}, [0, 4]),
    ],
)
def test_places_of_shifted_windows(length: int, share: float, given: dict, expected: list[int]) -> None:
    assert shifted_starts(length, 8, share, **given) == expected


def test_shares_go_on_by_the_golden_ratio() -> None:
    shares = [shift_at(0.25, step) for step in range(4)]
    assert shares == pytest.approx([0.25, 0.8680339887, 0.4860679775, 0.1041019662], abs=1e-9)


@pytest.mark.parametrize("circular", [False, True])
@pytest.mark.parametrize(("window", "length"), SIZES)
def test_shifted_windows_cover_every_size(window: int, length: int, circular: bool) -> None:
    fewest = -(-length // window)
    for starts in schedule(window, length, circular):
        assert starts == sorted(set(starts))
        covered = {(start + cell) % length for start in starts for cell in range(window)}
        assert covered == set(range(length))
        assert len(starts) <= (fewest if circular else fewest + 1)
        if not circular:
            assert starts[0] == 0 and starts[-1] == length - window


SPANS = (64, 65, 100, 128, 160, 192, 200, 256, 320, 384, 640, 1000, 64 * 40)


@pytest.mark.parametrize("circular", [False, True])
@pytest.mark.parametrize("height", SPANS)
@pytest.mark.parametrize("width", SPANS)
def test_shifted_windows_cost_what_the_area_asks(height: int, width: int, circular: bool) -> None:
    turns = 25
    fewest, lines = [-(-side // 64) for side in (height, width)], sum(side > 64 for side in (height, width))
    rows, columns = (extra_steps(count, turns, max(1, lines)) for count in fewest)
    total = 0
    for turn in range(turns):
        tops = shifted_starts(height, 64, shift_at(0.3, turn), extra=turn in rows)
        total += len(tops) * len(shifted_starts(width, 64, shift_at(0.6, turn), circular, turn in columns))
    assert total / turns <= 1.1 * fewest[0] * fewest[1]


@pytest.mark.parametrize("turns", [1, 4, 5, 12, 25, 50])
@pytest.mark.parametrize("windows", [1, 2, 3, 6, 10, 1000])
def test_the_last_turns_may_take_one_more_window(windows: int, turns: int) -> None:
    extra = extra_steps(windows, turns)
    assert len(extra) == min(turns, windows * turns // 10)
    assert list(extra) == list(range(turns))[turns - len(extra) :]


def borders_of(starts: list[int], window: int, length: int) -> set[int]:
    """Where what is shown of the windows begins or ends, the canvas' own ends left out."""
    line = Axis(starts, window, length)
    shown = line.edge_mask(torch.ones((), dtype=torch.float64))
    cells = [torch.zeros(length).bool() for _ in starts]
    for start, cell, weights in zip(starts, cells, shown, strict=True):
        cell[start : start + window] = weights > 0
    assert torch.stack(cells).any(0).all()
    return {int(edge) + 1 for cell in cells for edge in cell.int().diff().nonzero()}


@pytest.mark.parametrize("length", [384, 400, 416, 447])
def test_no_border_stays_where_it_is(length: int) -> None:
    borders, fewest = [borders_of(starts, 64, length) for starts in schedule(64, length, False)], -(-length // 64)
    free = 2 * (fewest * 64 - length) >= 64  # else there is room to move only with one more window
    moved = borders if free else [borders[turn] for turn in extra_steps(fewest, len(borders))]
    everywhere = set().union(*moved)
    assert len(moved) > 100 and len(everywhere) > 0.4 * (length - 2 * 64)
    assert all(sum(border in turn for turn in moved) < len(moved) * 0.1 for border in everywhere)


def test_windows_at_the_ends_yield_to_those_that_move() -> None:
    shown = Axis([0, 3, 9, 13], 6, 19).edge_mask(torch.ones((), dtype=torch.float64))
    assert shown.tolist() == [[1, 1, 1, 0, 0, 0], [1] * 6, [1] * 6, [0, 0, 1, 1, 1, 1]]
    for starts, window, length in (([0], 6, 6), ([0, 4], 6, 10), ([2, 8, 14], 6, 18)):  # one, two, and a ring
        assert Axis(starts, window, length).edge_mask(torch.ones(1)).all()
    grid = WindowGrid([0, 3, 9, 13], [0, 4], 6, 19, 10)
    both = grid.edge_mask(torch.ones((), dtype=torch.float64))
    assert both.shape == (8, 1, 6, 6)
    assert torch.equal(both[1, 0], shown[0][:, None].expand(6, 6))


@pytest.mark.parametrize("turns", [2, 5, 12, 25, 50])
@pytest.mark.parametrize("first", [0.0, 0.37, 0.999])
def test_shares_of_any_number_of_turns_are_far_apart(turns: int, first: float) -> None:
    shares = sorted(shift_at(first, turn) for turn in range(turns))
    gaps = [right - left for left, right in zip(shares, [*shares[1:], shares[0] + 1], strict=True)]
    assert min(gaps) > 0.38 / turns and max(gaps) < 2.7 / turns
    assert shares[0] >= 0 and shares[-1] < 1


def test_the_first_share_says_where_shifted_windows_lie() -> None:
    assert schedule(8, 51, False) == schedule(8, 51, False)
    assert schedule(8, 51, False) != schedule(8, 51, False, first=0.8)

"""A jigsaw puzzle whose pieces of equal shape change places."""

import math

import numpy as np
from PIL import Image

from utils.views.drawing import backdrop, fly
from utils.views.permute import shuffle
from utils.views.view_base import PermutationView, cell_size, pixel_numbers

TAB_OFFSET, TAB_RADIUS = 0.14, 0.17  # of a piece's side: how far the tab's centre is beyond the edge, and its size
MARGIN = 0.35  # of a piece's side: how far it reaches beyond its cell

Cell = tuple[int, int]


class JigsawView(PermutationView):
    """``grid`` by ``grid`` pieces with round tabs, cut and shuffled by ``seed``.

    The cut is the same after a quarter turn of the picture, so the four pieces that such turns carry into each other
    have one shape, and changing their places, each piece turned to fit, moves every pixel to a place of its own. With
    an odd grid the piece in the middle stays. The cut is drawn anew at each size, so tabs are round at all of them.
    """

    def __init__(self, grid: int = 4, seed: int = 1):
        super().__init__()
        self.grid = grid
        random = np.random.RandomState(seed)
        self.tabs = _draw_tabs(grid, random)
        self.moves = _draw_moves(grid, random)

    def source(self, size: int) -> np.ndarray:
        turns = np.zeros(self.grid * self.grid, dtype=np.int64)
        for (row, column), turn in self.moves.items():
            turns[row * self.grid + column] = turn
        turn_of_pixel = turns[self.pieces(size)]
        source, numbers = np.empty((size, size), dtype=np.int64), pixel_numbers(size)
        for turn in range(4):
            landed = np.rot90(turn_of_pixel == turn, -turn)
            source[landed] = np.rot90(numbers, -turn)[landed]
        return source

    def pieces(self, size: int) -> np.ndarray:
        """Return int64 ``[size, size]``: the number of the piece that each pixel belongs to, counted row by row."""
        side = cell_size(size, self.grid)
        pieces = np.arange(self.grid**2).reshape(self.grid, self.grid).repeat(side, axis=0).repeat(side, axis=1)
        from_left = _tab(side)
        for (row, column), (other_row, other_column), entry in self.tabs:
            cell = pieces[other_row * side : (other_row + 1) * side, other_column * side : (other_column + 1) * side]
            cell[np.rot90(from_left, -entry)] = row * self.grid + column
        return pieces

    def between(self, picture: Image.Image, seen: Image.Image, share: float) -> Image.Image:
        size = picture.size[0]
        side, pieces = size // self.grid, self.pieces(size)
        cells = np.array(sorted(self.moves, key=lambda cell: self.moves[cell] % 4 != 0))  # those that move are on top
        ends = np.array([_turned((row, column), self.moves[row, column], self.grid) for row, column in cells])
        frame = backdrop(picture, seen, share)
        for cell, place in zip(cells, fly(cells, ends, share), strict=True):
            turn = (self.moves[int(cell[0]), int(cell[1])] + 1) % 4 - 1  # three quarters clockwise are one back
            sprite = _cut(picture, pieces, int(cell[0]), int(cell[1]), side)
            turned = sprite.rotate(-90 * turn * share, Image.Resampling.BICUBIC) if turn else sprite
            top, left = (round(corner * side) - _margin(side) for corner in place)
            frame.paste(turned, (left, top), turned)
        return frame


def _turned(cell: Cell, turns: int, grid: int) -> Cell:
    """Return where quarter turns of the picture clockwise bring a cell."""
    row, column = cell
    for _ in range(turns % 4):
        row, column = column, grid - 1 - row
    return row, column


def _orbits(grid: int) -> list[Cell]:
    """Return one cell of every four that quarter turns carry into each other, the middle of odd grids left out."""
    return [(row, column) for row in range(grid // 2) for column in range(grid - grid // 2)]


def _draw_moves(grid: int, random: np.random.RandomState) -> dict[Cell, int]:
    """Draw by how many quarter turns around the picture's centre each piece moves."""
    moves = {(row, column): 0 for row in range(grid) for column in range(grid)}
    for cell in _orbits(grid):
        for turns, place in enumerate(shuffle(4, random)):
            moves[_turned(cell, turns, grid)] = int(place - turns) % 4
    return moves


def _draw_tabs(grid: int, random: np.random.RandomState) -> list[tuple[Cell, Cell, int]]:
    """Draw for each inner edge which piece has the tab: (its cell, the cell it enters, over which of its sides).

    Sides count clockwise from the left. What is drawn for one edge holds for the three that quarter turns make of it.
    """
    tabs, done = [], set()
    rights = [((row, column), (row, column + 1), 0) for row in range(grid) for column in range(grid - 1)]
    for left, right, entry in rights:
        if frozenset((left, right)) in done:
            continue
        tab = (left, right, entry) if random.randint(2) else (right, left, 2)
        for turns in range(4):
            cell, entered = _turned(tab[0], turns, grid), _turned(tab[1], turns, grid)
            tabs.append((cell, entered, (tab[2] + turns) % 4))
            done.add(frozenset((cell, entered)))
    return tabs


def _tab(side: int) -> np.ndarray:
    """Return the mask ``[side, side]`` of a tab that enters a cell from the left."""
    axis = (np.arange(side) + 0.5) / side
    return (axis[None, :] - TAB_OFFSET) ** 2 + (axis[:, None] - 0.5) ** 2 <= TAB_RADIUS**2


def _margin(side: int) -> int:
    """Return how far a cut-out piece reaches beyond its cell, tabs and room to turn included."""
    return math.ceil(MARGIN * side)


def _cut(picture: Image.Image, pieces: np.ndarray, row: int, column: int, side: int) -> Image.Image:
    """Cut the piece of a cell out: RGBA, the cell in its middle."""
    margin, number = _margin(side), row * (len(pieces) // side) + column
    top, left, width = row * side - margin, column * side - margin, side + 2 * margin
    rows, columns = np.arange(top, top + width), np.arange(left, left + width)
    inside = ((rows >= 0) & (rows < len(pieces)))[:, None] & ((columns >= 0) & (columns < len(pieces)))
    mask = (pieces.take(rows, axis=0, mode="clip").take(columns, axis=1, mode="clip") == number) & inside
    sprite = picture.crop((left, top, left + width, top + width))
    sprite.putalpha(Image.fromarray(mask.astype(np.uint8) * 255, "L"))
    return sprite

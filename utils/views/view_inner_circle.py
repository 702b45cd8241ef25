"""A disc inside the picture turns by quarter turns, its surroundings stay."""

from utils.views.view_inner_rotate import RADIUS, InnerRotateView


class InnerCircleView(InnerRotateView):
    """The disc of ``radius`` (share of the side) around the centre, turned clockwise by ``turns`` quarter turns.

    The orthogonal relative of ``inner_rotate``: it has a radius, and no angle that loses pixels. At the default radius,
    ``inner_circle:turns=1`` and ``inner_rotate:angle=90`` are the same view.
    """

    def __init__(self, turns: int = 2, radius: float = RADIUS):
        super().__init__(90.0 * turns, radius)

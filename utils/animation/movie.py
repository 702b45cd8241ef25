"""Pictures that move: the scenes of a loop, from a picture and its views or from a strip, and their frames.

A loop ends where it began. Distances are covered with easing: slow at both ends.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from utils.animation.captions import Captions

if TYPE_CHECKING:
    from utils.views.view_base import BaseView

MAX_SIDE = 512  # of a square picture; larger ones are scaled down
PAN_HEIGHT = 256  # of a strip, likewise
PAN_RATIO = 16 / 9  # of the window that moves over a strip
BEAT = 300  # milliseconds; scenes last a multiple, and intervals between frames divide it
HOLD, MOVE = 4 * BEAT, 4 * BEAT
PAN = 8 * BEAT  # for the way of one window
LONGEST = 60 * BEAT  # a pan in one direction


@dataclass(frozen=True)
class Frame:
    """One RGB picture and how long it is shown."""

    image: Image.Image
    milliseconds: int


@dataclass(frozen=True)
class Scene:
    """A piece of a loop.

    Attributes:
        draw: share of the scene, in [0, 1) -> RGB picture.
        milliseconds: its length.
        still: nothing moves.
    """

    draw: Callable[[float], Image.Image]
    milliseconds: int
    still: bool = False


@dataclass(frozen=True)
class Movie:
    """A loop that can be drawn at several sizes.

    Attributes:
        side: the largest size that makes sense: side of a square picture, or height of a strip, in pixels.
        scenes: size -> the scenes at that size.
    """

    side: int
    scenes: Callable[[int], list[Scene]]

    def frames(self, side: int, interval: int) -> list[Frame]:
        """Draw the loop; frames that are equal to the one before are one longer frame.

        Args:
            side: up to ``self.side``.
            interval: milliseconds between frames, a divisor of ``BEAT``.
        """
        frames: list[Frame] = []
        for frame in _frames(self.scenes(side), interval):
            if frames and frames[-1].image.tobytes() == frame.image.tobytes():
                frames[-1] = Frame(frame.image, frames[-1].milliseconds + frame.milliseconds)
            else:
                frames.append(frame)
        return frames


def _frames(scenes: Sequence[Scene], interval: int) -> Iterator[Frame]:
    for scene in scenes:
        steps = 1 if scene.still else scene.milliseconds // interval
        for step in range(steps):
            yield Frame(scene.draw(step / steps), scene.milliseconds // steps)


def ease(share: float) -> float:
    """Return the share of the way after a share of the time: slow at both ends."""
    return share * share * (3 - 2 * share)


# ------------------------------------------------------------------------------------------ a picture and its views


@dataclass(frozen=True)
class Pose:
    """A view that the picture moves to, and the text to show there."""

    view: "BaseView"
    caption: str


def view_movie(picture: Image.Image, rest: str, poses: Sequence[Pose]) -> Movie:
    """Let a picture move to each of its views in turn, and back.

    Args:
        picture: RGB ``[h, h]``, the canonical picture; it rests in between.
        rest: the text under the resting picture.
        poses: where it moves to; none, and it stands still.
    """
    side = min(picture.width, MAX_SIDE)

    @functools.cache
    def look(index: int, share: float) -> Image.Image:
        return _scaled(poses[index].view.frame(picture, share), side)

    def scenes(size: int) -> list[Scene]:
        captions = Captions([rest, *(pose.caption for pose in poses)], size)
        resting = captions.under(_scaled(picture.convert("RGB"), size), rest)
        loop = [Scene(lambda _: resting, HOLD, still=True)]
        for index, pose in enumerate(poses):
            draw = functools.partial(_draw_pose, functools.partial(look, index), captions, (rest, pose.caption), size)
            loop += [
                Scene(draw, MOVE),
                Scene(lambda _, draw=draw: draw(1), HOLD, still=True),
                Scene(lambda share, draw=draw: draw(1 - share), MOVE),
                Scene(lambda _: resting, HOLD, still=True),
            ]
        return loop[:-1] if poses else loop  # the loop goes on with its first scene

    return Movie(side, scenes)


def _draw_pose(
    look: Callable[[float], Image.Image], captions: Captions, texts: tuple[str, str], size: int, share: float
) -> Image.Image:
    """Draw a share of the way to a view; the text changes half way, faded out and in."""
    before, after = texts
    strength = 1.0 if before == after else abs(2 * share - 1)
    image = _scaled(look(round(ease(share), 9)), size)
    return captions.under(image, before if share < 0.5 else after, strength)


def _scaled(picture: Image.Image, side: int) -> Image.Image:
    return picture if picture.width <= side else picture.resize((side, side), Image.Resampling.LANCZOS)


# ------------------------------------------------------------------------------------------ a strip


def strip_movie(strip: Image.Image, caption: str, circular: bool) -> Movie:
    """Let a window move over a strip and back, or around it where its ends meet.

    Args:
        strip: RGB; one that is higher than wide is seen from top to bottom.
        caption: the text under the window.
        circular: the left edge continues the right edge.
    """
    upright = strip.height > strip.width and not circular
    lying = strip.transpose(Image.Transpose.TRANSPOSE) if upright else strip

    def scenes(height: int) -> list[Scene]:
        length = round(lying.width * height / lying.height)
        scaled = lying if lying.height == height else lying.resize((length, height), Image.Resampling.LANCZOS)
        window = min(length, max(height, min(round(height * PAN_RATIO), length // 2)))
        captions = Captions([caption], height if upright else window)

        def draw(left: float) -> Image.Image:
            seen = _window(scaled, round(left), window)
            return captions.under(seen.transpose(Image.Transpose.TRANSPOSE) if upright else seen, caption)

        return _around(draw, length, window) if circular else _back_and_forth(draw, length - window, window)

    return Movie(min(lying.height, PAN_HEIGHT), scenes)


def _window(strip: Image.Image, left: int, width: int) -> Image.Image:
    """Cut a window out of a strip; beyond the right edge it goes on at the left."""
    left %= strip.width
    window = strip.crop((left, 0, left + width, strip.height))
    beyond = left + width - strip.width
    if beyond > 0:
        window.paste(strip.crop((0, 0, beyond, strip.height)), (width - beyond, 0))
    return window


def _around(draw: Callable[[float], Image.Image], length: int, window: int) -> list[Scene]:
    return [Scene(lambda share: draw(share * length), _pan_time(length, window))]


def _back_and_forth(draw: Callable[[float], Image.Image], way: int, window: int) -> list[Scene]:
    start = Scene(lambda _: draw(0), HOLD, still=True)
    if way == 0:
        return [start]
    time = _pan_time(way, window)
    return [
        start,
        Scene(lambda share: draw(way * ease(share)), time),
        Scene(lambda _: draw(way), HOLD, still=True),
        Scene(lambda share: draw(way * ease(1 - share)), time),
    ]


def _pan_time(way: int, window: int) -> int:
    """Return milliseconds for a way in pixels: the same pace for all strips, but for very short and long ones."""
    return min(max(round(PAN * way / window / BEAT) * BEAT, MOVE), LONGEST)

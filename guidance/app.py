"""What an app is to the rest of the program. Importing this loads neither torch nor weights.

A new app is one model file, one app file with a subclass of :class:`App`, and one line in ``guidance/__init__.py``.
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from guidance.shared_options import SharedOptions, check_shared, derive_shared, typed_weights, warn_of_cases, weights_of
from utils.errors import UserError
from utils.prompts import NEGATIVE, FileEntry, PictureRequest, quote

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from guidance.base_model import StepState
    from utils.animation.movie import Movie
    from utils.animation.views import Turning
    from utils.models.model_source import ModelSource
    from utils.models.runtime import Runtime
    from utils.options import Given
    from utils.run.run_record import PictureEntry, RunRecord
    from utils.scoring.clip_model import ClipScorer
    from utils.scoring.eval_plan import NamingRule
    from utils.sphere import Band

Sources = Mapping[str, "ModelSource"]  # option that names weights -> where they are


class Model(Protocol):
    """What makes the pictures of an app; most of it comes with :class:`guidance.base_model.BaseModel`."""

    def prepare(self, prompts: Sequence[str]) -> None:
        """Encode prompts that are not known yet, one text encoder alone in memory, then load networks if need be."""
        ...

    def generate(self, request: PictureRequest, seed: int) -> "Iterator[StepState]":
        """Make one picture of prompts that were prepared; the last state yielded is the finished one."""
        ...

    def render(self, state: "StepState", files: Sequence[FileEntry]) -> "dict[str, Image.Image | bytes]":
        """Return the products of a finished state by file name, for the ``files`` that :meth:`App.list_files` planned.

        A product is an RGB picture, which is written as PNG, or the bytes of a file of any other kind.
        """
        ...

    def preview(self, state: "StepState") -> "Image.Image":
        """Return one RGB picture of what x0 looks like at this step."""
        ...

    def latents(self) -> "dict[str, torch.Tensor]":
        """Return the float32 tensors that ``--save_latents`` keeps of the picture made last."""
        ...

    def figures(self) -> dict[str, float]:
        """Return what :meth:`render` measured of the picture rendered last, by name; ``run.json`` keeps it."""
        ...


class App(ABC):
    """One kind of picture.

    Attributes:
        name: as ``--app`` takes it.
        options: dataclass of all its options, complete; what was typed is a :class:`utils.options.Given`.
        model: ``module:class`` inside ``guidance``, imported when weights are to be loaded.
        pretrained: family of pretrained weights (the embedded one is ``tiny``), a word of ``--model``.
        roles: every role that a file of a picture may have -> why ``eval.py`` does not score it, or None where it does.
        main_role: role of the file whose name stands for the picture: latents and animations are named after it.
    """

    name: ClassVar[str]
    options: ClassVar[type[SharedOptions]]
    model: ClassVar[str]
    pretrained: ClassVar[str]
    roles: ClassVar[Mapping[str, str | None]]
    main_role: ClassVar[str]

    def load(self, options: SharedOptions, sources: Sources, runtime: "Runtime") -> Model:
        """Return the model; it loads its weights here or in ``prepare``."""
        module, name = self.model.split(":")
        return getattr(importlib.import_module(f"guidance.{module}"), name).load(options, sources, runtime)

    # ------------------------------------------------------------------------------ what is asked for

    def check(self, given: "Given") -> None:
        """Check what was typed as far as that needs neither weights nor defaults.

        Raises:
            UserError: the sentence names the option, what was given, what is allowed.
        """
        check_shared(given, typed_weights(given, self.options))

    @abstractmethod
    def requests(self, given: "Given") -> list[PictureRequest]:
        """Return the pictures that were asked for, from the prompts file or from the command line.

        Raises:
            UserError: the prompts file cannot be used.
        """

    @abstractmethod
    def request(self, given: "Given", prompts: Sequence[str]) -> PictureRequest:
        """Return one picture to make of prompts as the command line takes them.

        Raises:
            UserError: empty prompts, or another number of them than the options ask for.
        """

    def fill(self, given: "Given", family: str) -> "Given":
        """Fill in what preset and family of weights say, and what follows from that.

        Raises:
            UserError: options that do not fit together.
        """
        return derive_shared(given.with_defaults(family))

    @abstractmethod
    def fit(self, given: "Given", sources: Sources) -> dict[str, Any]:
        """Return values of options that were left open and follow from the weights' configurations.

        Raises:
            UserError: the options do not suit the weights.
        """

    def steps(self, options: SharedOptions) -> dict[str, int]:
        """Return every option that names weights with a scheduler of their own -> how many steps these take."""
        return dict.fromkeys(weights_of(options, self.options), options.num_inference_steps)

    def fit_request(self, options: SharedOptions, request: PictureRequest) -> PictureRequest:
        """Complete a request with what the options say, and check it against them.

        Raises:
            UserError: a request that does not fit them.
        """
        negative = request.inputs.get(NEGATIVE)
        if negative and options.guidance_scale == 1:
            raise UserError(
                f"the negative prompt {quote(negative)} is what guidance leads away from, --guidance_scale 1 has none: "
                "leave one of them out."
            )
        return request

    def warnings(self, options: SharedOptions) -> list[str]:
        """Return what a user may not expect of these options, one sentence each."""
        return warn_of_cases(options)

    # ------------------------------------------------------------------------------ what comes out

    @abstractmethod
    def list_files(self, options: SharedOptions, request: PictureRequest, suffix: str) -> list[FileEntry]:
        """Return the files of one picture, with ``suffix`` in their stems; each has a role of :attr:`roles`."""

    def main_file(self, picture: "PictureEntry") -> str:
        """Return the file whose name stands for a picture: of the main role, else the first one."""
        files = picture["files"]
        return next((entry["file"] for entry in files if entry["role"] == self.main_role), files[0]["file"])

    @abstractmethod
    def naming_rule(self, prompts_file: Path | None) -> "NamingRule":
        """Return how file names map back to prompts, for files that no ``run.json`` knows.

        Args:
            prompts_file: of the app's own form; None takes the assignment's rule alone.

        Raises:
            UserError: the prompts file cannot be used.
        """

    @abstractmethod
    def sample_score(self, scorer: "ClipScorer", pictures: "Sequence[tuple[Image.Image, str, str]]") -> float:
        """Return how well the pictures of one sample fit their prompts, in [-1, 1]; higher is better.

        Args:
            pictures: RGB picture, its prompt, its role: all files of the sample that have a prompt.
        """

    def full_points(self, record: "RunRecord | None") -> float:
        """Return the points that the assignment gives for a folder at most: 10 for Tasks 1 and 2, 5 for Task 3."""
        return 10.0

    @abstractmethod
    def movie(self, folder: Path, picture: "PictureEntry", record: "RunRecord") -> "Movie":
        """Return how a finished picture moves, from its files in ``folder`` and ``run.json`` alone.

        Raises:
            UserError: the record does not say what is needed.
            ValueError: a file is damaged.
        """

    def turning(self, folder: Path, picture: "PictureEntry", record: "RunRecord") -> "Turning | None":
        """Return a finished picture with the views that it turns to, as :meth:`movie`; None where there are none.

        Raises:
            UserError, ValueError: as :meth:`movie`.
        """
        return None

    def figures(self, folder: Path, picture: "PictureEntry", record: "RunRecord") -> dict[str, float]:
        """Return what can be measured of a finished picture beside its score, by names of
        :data:`utils.scoring.figures.FIGURES`; none where what that needs is unknown.

        Raises:
            ValueError: a file is damaged.
        """
        return {}

    def sphere(self, record: "RunRecord", size: tuple[int, int]) -> "Band | None":
        """Return what a main file shows of a sphere, around which it goes; None where it is flat or that is unknown.

        Args:
            record: what ``run.json`` says.
            size: width and height of the file in pixels.
        """
        return None

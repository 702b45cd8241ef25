"""From options to pictures in memory: weights are found, loaded and asked. Prints, writes and draws nothing."""

import dataclasses
import functools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guidance.app import App, Model, Sources
from guidance.shared_options import SharedOptions, typed_weights, weights_of
from utils.errors import UserError
from utils.models.model_source import open_source
from utils.options import Given, flags, options_of
from utils.prompts import FileEntry, PictureRequest, check_prompt
from utils.scoring.clip_files import DEFAULT_REPOSITORY, TINY, WEIGHT_FILES, ClipSource, find_clip

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from guidance.base_model import StepState
    from utils.models.runtime import Runtime
    from utils.scoring.clip_model import ClipScorer


@dataclasses.dataclass(frozen=True)
class Plan:
    """Complete options, checked, with weights that were found but not loaded.

    Attributes:
        app: whose pictures are made.
        given: what was typed, with the defaults of family and preset.
        options: with what the weights' configurations say besides; all values.
        family: of the weights, ``tiny`` or the app's pretrained one.
        reason: one line on why this family.
        sources: where the weights are.
        scorer: what chooses among samples, None where all are kept.
        read: requests of a prompts file, read before anything slow.
    """

    app: App
    given: Given
    options: SharedOptions
    family: str
    reason: str
    sources: Sources
    scorer: ClipSource | None = None
    read: list[PictureRequest] | None = None

    def requests(self) -> list[PictureRequest]:
        """Return the pictures that the options ask for.

        Raises:
            UserError: prompts that do not fit the options.
        """
        requests = self.app.requests(self.given) if self.read is None else self.read
        return [self.app.fit_request(self.options, request) for request in requests]

    def doubts(self, requests: Sequence[PictureRequest]) -> list[str]:
        """Return why an embedded model may not draw what the prompts say, one sentence each.

        Raises:
            UserError: a prompt asks for nothing that it draws.
        """
        vocabulary = next(iter(self.sources.values())).vocabulary()
        if vocabulary is None:
            return []
        prompts = dict.fromkeys(prompt for request in requests for prompt in request.prompts)
        return [sentence for prompt in prompts for sentence in vocabulary.doubts(prompt)]

    def warnings(self, requests: Sequence[PictureRequest]) -> list[str]:
        """Return what a user may not expect of these pictures, one sentence each.

        Raises:
            UserError: see :meth:`doubts`.
        """
        return [*self.doubts(requests), *self.app.warnings(self.options)]

    def list_files(self, request: PictureRequest, suffix: str) -> list[FileEntry]:
        """Return the files of one picture, with ``suffix`` in their stems, its states among them if they are kept."""
        files = self.app.list_files(self.options, request, suffix)
        if not self.options.save_latents:
            return files
        main = next(Path(entry["file"]) for entry in files if entry["role"] == self.app.main_role)
        return [*files, {"file": str(main.with_name(f"{main.stem}.safetensors")), "role": "latents"}]


def make_plan(app: App, given: Given) -> Plan:
    """Choose and find the weights, and check everything against them that can be checked before they load.

    Raises:
        UserError: the options do not fit together, the weights, or the prompts file.
    """
    read = None if given.prompts_file is None else app.requests(given)
    family, reason = choose_family(app, given)
    if family == "tiny" and given.revision is not None:
        raise UserError(
            f"--revision {given.revision} applies to a Hub id, this run takes the embedded model: leave it out."
        )
    filled = app.fill(given, family)
    sources = {
        name: open_source(getattr(filled, name), components, filled.revision, name)
        for name, components in weights_of(filled, app.options).items()
    }
    options = filled.filled(**app.fit(filled, sources)).complete()
    scorer = find_scorer(family) if options.keep_best else None
    return Plan(app, filled, options, family, reason, sources, scorer, read)


def choose_family(app: App, given: Given) -> tuple[str, str]:
    """Choose between pretrained and embedded weights; return the family, and one line on why and how to choose."""
    pretrained = app.pretrained
    if given.model != "auto":
        return given.model, f"{given.model}, as --model says."
    if typed_weights(given, app.options):
        return pretrained, f"{pretrained}, since a path was given (--model tiny takes the embedded model)."

    from utils.models.runtime import accelerator_present

    if given.device != "cpu" and accelerator_present():
        return pretrained, f"{pretrained}, since a GPU is present (--model tiny takes the small embedded model)."
    why = "since no GPU is used" if given.device == "cpu" else "since no GPU is present"
    return "tiny", f"the small embedded one, {why} (--model {pretrained} takes the pretrained model)."


def find_scorer(family: str) -> ClipSource:
    """Find the CLIP model that chooses among samples: the embedded one for embedded models, else eval.py's default.

    Raises:
        UserError: its weights are not here and cannot be had.
    """
    if family == TINY:
        return find_clip(TINY, None)
    try:
        return find_clip(None, None)
    except UserError as error:
        raise UserError(
            f"--keep_best needs CLIP's weights {DEFAULT_REPOSITORY}, which the Hub does not give: fetch them where "
            f"there is a network (hf download {DEFAULT_REPOSITORY} {WEIGHT_FILES[0]}), or leave out --keep_best."
        ) from error


@dataclasses.dataclass(frozen=True)
class Output:
    """A finished picture.

    Attributes:
        seed: of its generator.
        products: by file name, an RGB picture or the bytes of another kind of file.
        latents: float32 states, as ``--save_latents`` keeps them.
    """

    seed: int
    products: "dict[str, Image.Image | bytes]"
    latents: "dict[str, torch.Tensor]"

    @property
    def images(self) -> "dict[str, Image.Image]":
        """The pictures by name, without the ending of the file name."""
        pictures = {name: product for name, product in self.products.items() if not isinstance(product, bytes)}
        return {Path(name).stem: picture for name, picture in pictures.items()}


class Pipeline:
    """Makes the pictures of an app, one after the other. Two pipelines do not disturb each other.

    Args:
        plan: what to make with which weights; these are loaded by the first :meth:`prepare`.
        runtime: device, number format and memory policy.
        model: one that a pipeline of the same options, prompts and seeds aside, has loaded; None loads it.

    Raises:
        UserError: weight files that are missing, or a schedule whose first step has nothing to start from.
    """

    def __init__(self, plan: Plan, runtime: "Runtime", model: Model | None = None):
        from guidance.schedule import check_schedule

        self.plan, self.runtime = plan, runtime
        self._at_hand: object = None  # stands for the picture that was begun last
        if model is not None:
            self.model = model
        for source in plan.sources.values():
            source.weight_variant(runtime.variant, runtime.half)
        for name, steps in plan.app.steps(plan.options).items():
            check_schedule(plan.sources[name].config("scheduler"), steps, plan.options.timestep_spacing)

    @functools.cached_property
    def model(self) -> Model:
        """The app's model, loaded when first asked for.

        Raises:
            UserError: weights that cannot be loaded.
        """
        return self.plan.app.load(self.plan.options, self.plan.sources, self.runtime)

    def __call__(
        self, prompts: str | Sequence[str], seed: int | None = None, negative_prompt: str | None = None
    ) -> Output:
        """Make one picture.

        Args:
            prompts: one text, or one per view, as ``--prompt`` or ``--prompts`` takes them.
            seed: of its generator; None takes that of the options.
            negative_prompt: what not to draw; None takes that of the options.

        Raises:
            ValueError: prompts or a seed that do not fit, with the sentence that the command line prints.
        """
        request, seed = self.request(prompts, negative_prompt), self._seed(seed)
        *_, last = self.generate(request, seed)
        products = self.model.render(last, self.plan.app.list_files(self.plan.options, request, ""))
        return Output(seed, products, self.model.latents())

    def steps(
        self, prompts: str | Sequence[str], seed: int | None = None, negative_prompt: str | None = None
    ) -> "Iterator[StepState]":
        """Make one picture step by step; arguments and errors as of a call. A state's ``preview()`` shows its x0.

        A picture cannot go on once another one was begun: the model knows one at a time.
        """
        return self.generate(self.request(prompts, negative_prompt), self._seed(seed))

    def request(self, prompts: str | Sequence[str], negative_prompt: str | None = None) -> PictureRequest:
        """Return one picture to make; what an embedded model may not draw is warned of."""
        plan, given = self.plan, self.plan.given
        if negative_prompt is not None:
            given = given.filled(negative_prompt=self._checked("negative_prompt", negative_prompt))
            check_prompt(negative_prompt)
        texts = [prompts] if isinstance(prompts, str) else prompts
        if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) for text in texts):
            raise UserError(f"prompts {prompts!r} are of the wrong kind: give a text, or a list of texts.")
        request = plan.app.fit_request(plan.options, plan.app.request(given, texts))
        for sentence in plan.doubts([request]):
            warnings.warn(sentence, stacklevel=3)
        return request

    def _seed(self, seed: int | None) -> int:
        return self.plan.options.seed if seed is None else self._checked("seed", seed)

    def _checked(self, name: str, value: Any) -> Any:
        """Return the value of an option, checked by itself."""
        return getattr(Given(self.plan.app.options, {name: value}), name)

    def prepare(self, requests: Sequence[PictureRequest]) -> None:
        """Load weights and encode all prompts of some pictures; what is there already is not done again.

        Raises:
            UserError: weights that cannot be loaded.
        """
        self.model.prepare([text for request in requests for text in request.texts])

    def generate(self, request: PictureRequest, seed: int) -> "Iterator[StepState]":
        """Make one picture step by step; the last state is the finished one.

        Raises:
            UserError: another picture was begun before this one was finished.
        """
        self.prepare([request])
        self._at_hand = mine = object()
        for state in self.model.generate(request, seed):
            yield state
            if self._at_hand is not mine and state.step < state.steps:
                raise UserError(
                    "this pipeline began another picture, so that this one cannot go on: finish one before the next, "
                    "or load a pipeline for each."
                )

    def products(self, state: "StepState", files: Sequence[FileEntry]) -> "dict[str, Image.Image | bytes]":
        """Return what the files of a finished picture hold, by name.

        Args:
            state: the last one.
            files: as :meth:`Plan.list_files` planned them.
        """
        from safetensors.torch import save

        latents = {entry["file"]: save(self.model.latents()) for entry in files if entry["role"] == "latents"}
        return {**self.model.render(state, files), **latents}

    @functools.cached_property
    def scorer(self) -> "ClipScorer":
        """What chooses among samples, loaded when first asked for; float32 on the CPU."""
        from utils.scoring.clip_model import ClipScorer

        if self.plan.scorer is None:
            raise UserError("there is nothing to choose among: give keep_best=True and num_samples above 1.")
        return ClipScorer(self.plan.scorer)

    def score(self, pictures: "Sequence[tuple[Image.Image, str, str]]") -> float:
        """Return how well a sample fits its prompts, see :meth:`guidance.app.App.sample_score`."""
        return self.plan.app.sample_score(self.scorer, pictures)

    def header(self) -> dict[str, Any]:
        """Return what ``run.json`` says of a whole folder: all that decides its pictures but prompts and seeds."""
        plan = self.plan
        permutations = plan.options.permutations()
        scorer = None if plan.scorer is None else {"model": plan.scorer.title, "sha256": plan.scorer.sha256}
        return {
            "app": plan.app.name,
            "options": {**plan.options.pinned(), "dtype": str(self.runtime.dtype).removeprefix("torch.")},
            "model": {
                "family": plan.family,
                "sources": {name: source.identity() for name, source in plan.sources.items()},
            },
            **({"scorer": scorer} if scorer else {}),
            **({"permutations": permutations} if permutations else {}),
        }


def load(app: App, options: Mapping[str, Any]) -> Pipeline:
    """Return a pipeline for options by name; see :func:`guidance.load_pipeline`."""
    from utils.models.runtime import Runtime, process_state

    given = Given(app.options, {"app": app.name, **options})
    written = [name for name, said in options_of(app.options).items() if said.for_folders and name in given.typed]
    if written:
        raise UserError(f"{flags(written)} applies to folders of pictures, which main.py writes: leave it out.")
    app.check(given)
    plan = make_plan(app, given)
    for sentence in app.warnings(plan.options):
        warnings.warn(sentence, stacklevel=3)
    return Pipeline(plan, Runtime.from_options(plan.options, process_state(plan.options.device)))

"""A toy app: faces on a tall canvas, each half over the next and turned by another quarter."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from guidance.app import App
from guidance.shared_options import EMBEDDED, SharedOptions
from utils.errors import UserError
from utils.options import option, refine
from utils.prompts import PictureRequest, check_prompt, file_stem, negative_prompt_of, read_entries

FACES = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class TotemOptions(SharedOptions):
    """``--app totem``; ``--prompts`` and ``--stage_1_path`` are also options of another app."""

    model: str = refine(SharedOptions, "model", choices=("auto", "tiny", "if"))
    num_inference_steps: int = refine(SharedOptions, "num_inference_steps", families={"if": 30, "tiny": 4})
    guidance_scale: float = refine(SharedOptions, "guidance_scale", families={"if": 7.0, "tiny": 3.0})
    initialize_xt_from_zt: bool = refine(SharedOptions, "initialize_xt_from_zt", families={"if": True, "tiny": True})
    prompts: list[str] = option("one prompt per face", pinned=False, families={
        "if": ["a cat", "an owl", "a fox"], "tiny": ["the letter N", "the letter Z", "the letter M"]})  # fmt: skip
    stage_1_path: str = option(
        "network and text encoder",
        weights={"unet": "unet", "text_encoder": "t5", "tokenizer": "t5_tokenizer", "scheduler": "betas"},
        families={"if": "DeepFloyd/IF-I-M-v1.0", "tiny": str(EMBEDDED / "letters-stage-1")},
    )  # fmt: skip
    lean: int = option("quarter turns between faces", default=1, low=0, high=3)


class TotemApp(App):
    name = "totem"
    options = TotemOptions
    model = "totem_model:TotemModel"
    pretrained = "if"
    roles: ClassVar[Mapping[str, str | None]] = {
        "pole": "the whole pole; each face is scored",
        "face": None,
        "note": "a text",
    }
    main_role = "pole"

    def requests(self, given):
        if given.prompts_file is None:
            return [self.request(given, given.prompts)]
        entries = read_entries(Path(given.prompts_file), lambda _: (("top", "middle", "bottom"), ()), self.name)
        return [
            PictureRequest((entry["top"], entry["middle"], entry["bottom"]), negative_prompt_of(entry, None))
            for entry in entries.values()
        ]

    def request(self, given, prompts: Sequence[str]) -> PictureRequest:
        if len(prompts) != FACES:
            raise UserError(f"{len(prompts)} prompts for {FACES} faces: give {FACES}.")
        for prompt in prompts:
            check_prompt(prompt)
        return PictureRequest(tuple(prompts), {"height": 2, **negative_prompt_of({}, given.negative_prompt)})

    def fit(self, given, sources) -> dict[str, Any]:
        return {}

    def list_files(self, options, request, suffix):
        stem = "-".join(map(file_stem, request.prompts)) + suffix
        faces = [
            {"file": f"{stem}_{index}.png", "role": "face", "prompt": prompt}
            for index, prompt in enumerate(request.prompts)
        ]
        return [{"file": f"{stem}.png", "role": "pole"}, {"file": f"{stem}.txt", "role": "note"}, *faces]

    def naming_rule(self, prompts_file):
        from utils.scoring.naming import StripNaming

        return StripNaming({})

    def sample_score(self, scorer, pictures):
        return float(scorer.cosines([(image, prompt) for image, prompt, _ in pictures]).min())

    def movie(self, folder, picture, record):
        from utils.animation.movie import strip_movie
        from utils.images import decode

        return strip_movie(decode(folder / self.main_file(picture)), " / ".join(picture["prompts"]), circular=False)

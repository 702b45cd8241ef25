"""A toy app on the toy family: one picture, seen upright and upside down."""

import dataclasses
from typing import ClassVar

from guidance.app import App
from guidance.shared_options import SharedOptions
from utils.options import option, refine
from utils.prompts import PictureRequest, file_stem


@dataclasses.dataclass(frozen=True, kw_only=True)
class MirrorOptions(SharedOptions):
    model: str = refine(SharedOptions, "model", choices=("auto", "plain"))
    num_inference_steps: int = refine(SharedOptions, "num_inference_steps", families={"plain": 3})
    guidance_scale: float = refine(SharedOptions, "guidance_scale", families={"plain": 1.0})
    initialize_xt_from_zt: bool = refine(SharedOptions, "initialize_xt_from_zt", families={"plain": True})
    plain_path: str = option("the network", weights={"unet": "plain", "scheduler": "betas"})


class MirrorApp(App):
    name = "mirror"
    options = MirrorOptions
    model = "mirror_model:MirrorModel"
    pretrained = "plain"
    roles: ClassVar = {"picture": None}
    main_role = "picture"

    def requests(self, given):
        return [self.request(given, ["anything"])]

    def request(self, given, prompts):
        return PictureRequest(tuple(prompts))

    def fit(self, given, sources):
        return {}

    def list_files(self, options, request, suffix):
        return [
            {"file": f"{file_stem(request.prompts[0])}{suffix}.png", "role": "picture", "prompt": request.prompts[0]}
        ]

    def naming_rule(self, prompts_file):
        raise NotImplementedError

    def sample_score(self, scorer, pictures):
        raise NotImplementedError

    def movie(self, folder, picture, record):
        raise NotImplementedError

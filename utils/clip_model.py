"""A loaded CLIP model: features of pictures and prompts, float32 on the CPU. Torch is imported on demand."""

import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from utils.clip_files import LOCAL_PREFIX, ClipSource
from utils.errors import UserError

if TYPE_CHECKING:
    import torch
    from PIL import Image


class ClipScorer:
    """A loaded CLIP model in float32 on the CPU, frozen and in eval mode.

    Raises:
        UserError: the files do not fit together or cannot be read.
    """

    def __init__(self, source: ClipSource):
        import open_clip  # noqa: PLC0415

        self.source = source
        try:
            self.model = _load_model(source).eval().requires_grad_(False)
            self.tokenize = open_clip.get_tokenizer(source.model)
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"{source.weights} cannot be loaded as {source.model}: {_first_line(error)}.") from error
        preprocess = open_clip.PreprocessCfg(**self.model.visual.preprocess_cfg)
        self.preprocess = open_clip.image_transform_v2(preprocess, is_train=False)

    @property
    def logit_scale(self) -> float:
        """The model's factor on cosines, exponentiated."""
        return float(self.model.logit_scale.exp())

    def prepare(self, image: "Image.Image") -> "torch.Tensor":
        """Return an RGB picture of any size as the model wants it, ``[3, h, w]``, normalised."""
        return self.preprocess(image)

    def image_features(self, prepared: "Iterable[torch.Tensor]") -> np.ndarray:
        """Return the features ``[N, D]`` (float32, not normalised) of prepared pictures."""
        import torch  # noqa: PLC0415

        with torch.inference_mode():
            return self.model.encode_image(torch.stack(list(prepared))).numpy()

    def text_features(self, prompts: Sequence[str], batch_size: int = 64) -> np.ndarray:
        """Return the features ``[M, D]`` (float32, not normalised) of prompts, each cut to the model's length."""
        import torch  # noqa: PLC0415

        batches = [list(prompts[start : start + batch_size]) for start in range(0, len(prompts), batch_size)]
        with torch.inference_mode():
            return np.concatenate([self.model.encode_text(self.tokenize(batch)).numpy() for batch in batches])


def _load_model(source: ClipSource) -> "torch.nn.Module":
    import open_clip  # noqa: PLC0415

    if source.model.startswith(LOCAL_PREFIX):
        return open_clip.create_model(source.model, precision="fp32", require_pretrained=True)
    model = open_clip.create_model(source.model, precision="fp32", force_preprocess_cfg=_preprocess_of(source))
    state = _torchscript_state(source.weights)
    if state is None:
        open_clip.load_checkpoint(model, str(source.weights), weights_only=True)
    else:
        model.load_state_dict(state)
    return model


def _preprocess_of(source: ClipSource) -> dict[str, Any]:
    """Return what a tag's weights want of the pictures besides the defaults (mean, std, interpolation)."""
    import open_clip  # noqa: PLC0415

    known = open_clip.get_pretrained_cfg(source.model, source.pretrained) or {}
    return {key: known[key] for key in ("mean", "std", "interpolation", "resize_mode") if key in known}


def _torchscript_state(weights: Path) -> "dict[str, torch.Tensor] | None":
    """Return the float32 weights of a TorchScript archive, the form of OpenAI's own ``.pt`` files; else None."""
    import torch  # noqa: PLC0415

    if weights.suffix != ".pt" or not _is_torchscript(weights):
        return None
    state = torch.jit.load(str(weights), map_location="cpu").state_dict()
    extra = ("input_resolution", "context_length", "vocab_size")
    return {name: value.float() for name, value in state.items() if name not in extra}


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".:")

"""Where the files of a CLIP model are: on this machine, or on the Hub, which is asked once and briefly.

Nothing here loads torch for the default model, so that missing weights are told within seconds.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from utils.errors import UserError
from utils.files import is_file, is_folder, sha256

DEFAULT_MODEL, DEFAULT_PRETRAINED = "ViT-B-32-quickgelu", "openai"
DEFAULT_REPOSITORY = "timm/vit_base_patch32_clip_224.openai"
OPENAI_SHA256 = "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"
TINY, TINY_FOLDER = "tiny", Path(__file__).parents[2] / "data" / "models" / "scorer"
WEIGHT_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
LOCAL_PREFIX, HUB_PREFIX = "local-dir:", "hf-hub:"
PROBE_SECONDS, PROBE_LIMIT = 4.0, 6.0


@dataclass(frozen=True)
class ClipSource:
    """A CLIP model whose files are known to be on this machine.

    Attributes:
        model: open_clip's model name, or ``local-dir:FOLDER``.
        pretrained: the tag or file that was asked for; empty for a folder, which holds its own weights.
        weights: the weights file.
        is_openai: the weights are OpenAI's, the only ones whose scores count for the assignment.
        is_tiny: this is the embedded scorer.
    """

    model: str
    pretrained: str
    weights: Path
    is_openai: bool = False
    is_tiny: bool = False

    @property
    def title(self) -> str:
        """What ``run.json`` calls this model, the same on every machine."""
        return TINY if self.is_tiny else f"{self.model} {self.pretrained}"

    @property
    def sha256(self) -> str:
        """The hash of the weights file, in hexadecimal digits."""
        return sha256(self.weights)


def find_clip(model: str | None, pretrained: str | None) -> ClipSource:
    """Find the files of a CLIP model, downloading those of a known name; decides quickly that they cannot be had.

    Args:
        model: open_clip's model name, ``tiny``, or a folder of a model (``local-dir:`` may precede).
        pretrained: open_clip's tag or a weights file; None takes ``openai``.

    Raises:
        UserError: an unknown name, a missing file, or a Hub that does not answer.
    """
    for option, value in (("clip_model", model), ("clip_pretrained", pretrained)):
        if value in ("", LOCAL_PREFIX):
            raise UserError(f"--{option} {value!r} names nothing: leave it out, or give a name or a path.")
    model = model or DEFAULT_MODEL
    folder = _folder_of(model)
    if folder is not None:
        return _find_folder(folder, pretrained, is_tiny=model == TINY)
    if model.startswith(HUB_PREFIX):
        _refuse_pretrained(model, pretrained)
        repository = model.removeprefix(HUB_PREFIX)
        weights = fetch(repository, WEIGHT_FILES)
        fetch(repository, ("open_clip_config.json",))
        return ClipSource(f"{LOCAL_PREFIX}{weights.parent}", "", weights)
    return _find_named(model, pretrained or DEFAULT_PRETRAINED)


def _folder_of(model: str) -> Path | None:
    if model == TINY:
        return TINY_FOLDER
    if model.startswith(LOCAL_PREFIX) or is_folder(Path(model)):
        return Path(model.removeprefix(LOCAL_PREFIX))
    return None


def _refuse_pretrained(model: str, pretrained: str | None) -> None:
    if pretrained is not None:
        raise UserError(f"--clip_model {model} holds its own weights: leave out --clip_pretrained {pretrained}.")


def _find_folder(folder: Path, pretrained: str | None, is_tiny: bool) -> ClipSource:
    _refuse_pretrained(TINY if is_tiny else str(folder), pretrained)
    weights = next((folder / name for name in WEIGHT_FILES if is_file(folder / name)), None)
    if weights is None or not is_file(folder / "open_clip_config.json"):
        raise UserError(f"the folder {folder} needs open_clip_config.json and {WEIGHT_FILES[0]}; it lacks one of them.")
    return ClipSource(f"{LOCAL_PREFIX}{folder}", "", weights, is_tiny=is_tiny)


def _find_named(model: str, pretrained: str) -> ClipSource:
    if (model, pretrained) == (DEFAULT_MODEL, DEFAULT_PRETRAINED):
        return ClipSource(model, pretrained, fetch(DEFAULT_REPOSITORY, WEIGHT_FILES), is_openai=True)
    model = _known_model(model, pretrained)
    if is_file(Path(pretrained)):
        is_openai = model == DEFAULT_MODEL and sha256(Path(pretrained)) == OPENAI_SHA256
        return ClipSource(model, pretrained, Path(pretrained), is_openai)
    weights = fetch(_repository_of(model, pretrained), WEIGHT_FILES)
    return ClipSource(model, pretrained, weights, (model, pretrained) == (DEFAULT_MODEL, DEFAULT_PRETRAINED))


def _known_model(model: str, pretrained: str) -> str:
    """Return open_clip's name of a model; OpenAI's weights take the variant with their own activation."""
    import open_clip

    names = open_clip.list_models()
    if model not in names:
        raise UserError(
            f"--clip_model {model} is no model of open_clip, no folder and not {TINY}; try {DEFAULT_MODEL}."
        )
    quick = f"{model}-quickgelu"
    return quick if pretrained == DEFAULT_PRETRAINED and quick in names else model


def _repository_of(model: str, pretrained: str) -> str:
    import open_clip

    repository = (open_clip.get_pretrained_cfg(model, pretrained) or {}).get("hf_hub", "")
    if not repository:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(model)) or "none"
        raise UserError(f"--clip_pretrained {pretrained} is no file and no weights of {model}; known: {tags}.")
    return repository.strip("/")


def fetch(repository: str, names: Sequence[str]) -> Path:
    """Return the first of some files of a Hub repository: from the local cache, else downloaded.

    The Hub is asked once, briefly and without retries, before a download starts.

    Raises:
        UserError: the file is not in the cache and the Hub does not answer, or does not have it.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    for name in names:
        try:
            cached = try_to_load_from_cache(repository, name)
        except HFValidationError as error:
            raise UserError(f"{repository} is no name of a Hub repository: give OWNER/NAME.") from error
        if isinstance(cached, str):
            return Path(cached)
    name = _first_on_hub(repository, names)
    print(f"Downloading {name} of {repository} ...", flush=True)
    try:
        return Path(hf_hub_download(repository, name))
    except Exception as error:
        raise _unavailable(repository, error) from error


def _first_on_hub(repository: str, names: Sequence[str]) -> str:
    from huggingface_hub.errors import EntryNotFoundError

    for name in names:
        answer = _ask_hub(repository, name)
        if answer is None:
            return name
        if not isinstance(answer, EntryNotFoundError):
            raise _unavailable(repository, answer)
    raise _unavailable(repository, answer)


def _ask_hub(repository: str, name: str) -> Exception | None:
    """Ask the Hub for one file's metadata; None means it is there. A hanging name lookup is abandoned."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    answer: list[Exception | None] = [TimeoutError("no answer")]

    def ask() -> None:
        try:
            get_hf_file_metadata(hf_hub_url(repository, name), timeout=PROBE_SECONDS)
            answer[0] = None
        except Exception as error:
            answer[0] = error

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PROBE_LIMIT)
    return answer[0]


def _unavailable(repository: str, error: Exception) -> UserError:
    return UserError(
        f"the CLIP weights {repository} cannot be had from the Hub ({type(error).__name__}): fetch them where there is "
        f"a network (hf download {repository} {WEIGHT_FILES[0]}), or name a local file with --clip_pretrained FILE; "
        f"pictures of the embedded models can be scored with --clip_model {TINY}."
    )

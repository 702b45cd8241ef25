"""Where weights come from: a folder, or a repository of the Hub that is brought into the local cache first.

Everything after this module sees a local folder in the Hub's layout. Nothing here imports torch, and only small
configuration files are read before :meth:`ModelSource.fetch` brings the weights.
"""

import functools
import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from utils.errors import UserError
from utils.files import is_file, is_folder, sha256
from utils.models.components import ALONE, CONFIG_NAMES, check_components, check_weights, read_config, read_json
from utils.vocabulary import Vocabulary

PROJECT = Path(__file__).resolve().parents[2]
CONFIGS = ("*.json", "*/*.json", "*/*.txt", "*/*.model")
WITHOUT_WEIGHTS = tuple(CONFIG_NAMES)  # all whose configuration has a name of its own
HUB_TIMEOUT = 10.0  # seconds


@dataclass(frozen=True)
class ModelSource:
    """A model folder in the Hub's layout, whose small files are complete.

    Attributes:
        name: the id or folder as the user wrote it.
        folder: where its configuration files lie; its weights too, after :meth:`fetch`.
        components: subfolders that the run needs; ``ALONE`` of a model that is one network.
        commit: of the Hub; None for a plain folder.
        files: relative paths of the files that the source offers, in its components' folders and beside them.
    """

    name: str
    folder: Path
    components: tuple[str, ...]
    commit: str | None = None
    files: frozenset[str] = field(default=frozenset(), repr=False)

    def config(self, component: str) -> dict[str, Any]:
        """Return the configuration of a component, such as ``unet``.

        Raises:
            UserError: the file is missing or holds no JSON object.
        """
        try:
            return read_config(self.folder, component)
        except ValueError as error:
            raise self.unusable(error) from error

    def unusable(self, reason: object) -> UserError:
        """Return the error that says why this model cannot be loaded."""
        return UserError(f"{self.name} cannot be loaded ({reason}): fetch it again, or give another model.")

    def vocabulary(self) -> Vocabulary | None:
        """Return the closed vocabulary of an embedded model, or None for a model that reads any text.

        Raises:
            UserError: the file cannot be read.
        """
        path = self.folder / "words.json"
        if not path.exists():
            return None
        try:
            return Vocabulary.from_json(read_json(path))
        except ValueError as error:
            raise self.unusable(error) from error

    def weight_variant(self, preferred: str, half: bool) -> str | None:
        """Choose the weight files: ``NAME`` of ``model.NAME.safetensors``, or None for ``model.safetensors``.

        Args:
            preferred: a name, "none", or "auto": fp16 files for a 16-bit run, the plain ones otherwise, whichever
                exist.
            half: whether the networks run in 16 bits.

        Raises:
            UserError: files of that kind are missing, or one that is already here is cut short or damaged.
        """
        wanted = {"auto": ["fp16", None] if half else [None, "fp16"], "none": [None]}.get(preferred, [preferred])
        for variant in wanted:
            if not self._missing(variant):
                self._check_weights(variant)
                return variant
        lacking = ", ".join(filter(None, self._missing(wanted[0])))
        kind = f"{wanted[0]} safetensors" if wanted[0] else "safetensors"
        place = f" in {lacking}" if lacking else ""
        raise UserError(f"{self.name} has no {kind} weights{place}: {self._remedy(preferred)}")

    def fetch(self, variant: str | None) -> Path:
        """Bring the weights of the needed components into the local cache; return the folder.

        Raises:
            UserError: the Hub cannot be reached or refuses.
        """
        wanted = self._all_weights(variant)
        if self.commit is None or all((self.folder / name).is_file() for name in wanted):
            return self.folder
        return _download(self.name, self.commit, wanted)

    def identity(self) -> dict[str, str | None]:
        """Return what ``run.json`` keeps of the source: its name and its commit or the hash of its files."""
        inside = self.folder.resolve().is_relative_to(PROJECT)
        name = self.folder.resolve().relative_to(PROJECT).as_posix() if inside else self.name
        return {"name": name, "commit": self.commit, "sha256": None if self.commit else self._content_hash}

    @functools.cached_property
    def _content_hash(self) -> str:
        total = hashlib.sha256()
        for name in sorted(self.files):
            place = name.rpartition("/")[0]
            if place in self.components and name.endswith((".json", ".txt", ".model", ".safetensors")):
                total.update(f"{name}\0{sha256(self.folder / name)}\n".encode())
        return total.hexdigest()

    def _weighted(self) -> list[str]:
        return [component for component in self.components if component not in WITHOUT_WEIGHTS]

    def _weights(self, component: str, variant: str | None) -> list[str]:
        """Return the safetensors files of a component: ``x.safetensors``, ``x.fp16.safetensors``, or their shards."""
        found = []
        for name in sorted(self.files):
            folder, _, file = name.rpartition("/")
            if folder == component and file.endswith(".safetensors"):
                marks = file.removesuffix(".safetensors").split(".", 1)[1:]  # "model.fp16-00001-of-00002"
                if (marks[0].split("-")[0] if marks else None) == variant:
                    found.append(name)
        return found

    def _all_weights(self, variant: str | None) -> list[str]:
        return [name for component in self._weighted() for name in self._weights(component, variant)]

    def _check_weights(self, variant: str | None) -> None:
        """Check the weights files that are on this machine; those of the Hub may still be to fetch."""
        for path in (self.folder / name for name in self._all_weights(variant)):
            if path.is_file():
                try:
                    check_weights(path)
                except ValueError as error:
                    raise self.unusable(error) from error

    def _missing(self, variant: str | None) -> list[str]:
        return [component for component in self._weighted() if not self._weights(component, variant)]

    def _remedy(self, preferred: str) -> str:
        if preferred not in ("auto", "none"):
            return "take --variant auto, or weights that have such files."
        return "pickled weights are not loaded: take a model with safetensors files."


def open_source(name: str, components: Mapping[str, str], revision: str | None, option: str) -> ModelSource:
    """Find a model and check that the small files of all that the run needs are complete; no weights are read.

    Args:
        name: folder, or ``owner/repository`` of the Hub.
        components: needed subfolders, or ``ALONE`` -> their kinds, keys of ``PARTS`` in :mod:`utils.models.parts`.
        revision: branch, tag or commit of the Hub.
        option: the option that gave ``name``, for messages.

    Raises:
        UserError: no such folder or repository, no access, the Hub out of reach, or a component missing or incomplete.
    """
    shown, folder, names = _shown(name), Path(name), tuple(components)
    if not name or "\0" in name:
        raise UserError(f"--{option} {shown} names nothing: give a model folder or a Hub id such as owner/name.")
    if is_folder(folder):
        if revision is not None:
            raise UserError(f"--revision {revision} applies to a Hub id, --{option} {shown} is a folder: leave it out.")
        source = ModelSource(name, folder, names, None, _list_files(folder, names))
    elif is_file(folder):
        raise UserError(f"--{option} {shown} is a file: give the folder of the whole model, or a Hub id.")
    elif name.count("/") == 1 and not name.startswith((".", "~", "/")):
        source = _open_repository(name, names, revision, option)
    else:
        raise UserError(f"--{option} {shown}: no such folder: give a model folder or a Hub id such as owner/name.")
    for component in components:
        if component != ALONE and not any(file.startswith(f"{component}/") for file in source.files):
            raise UserError(
                f"--{option} {shown} has no {component}/ folder: give a complete model in the Hub's layout."
            )
    try:
        check_components(source.folder, components)
    except ValueError as error:
        raise source.unusable(error) from error
    return source


def _shown(name: str) -> str:
    """Return a name as a message can show it: printable, and not longer than a line."""
    text = name if name.isprintable() and name else repr(name)
    return text if len(text) <= 120 else f"{text[:120]}..."


def _list_files(folder: Path, components: Iterable[str]) -> frozenset[str]:
    """List the files of a model in its folder and in its components', not deeper: the folder may be any on the disk."""
    places = {"": folder, **{f"{name}/": folder / name for name in components if name != ALONE}}
    return frozenset(
        f"{prefix}{entry.name}"
        for prefix, place in places.items()
        if is_folder(place)
        for entry in _scan(place)
        if entry.is_file()
    )


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise UserError(f"the folder {folder} cannot be read ({error.strerror}): give another model.") from error


def _open_repository(name: str, components: tuple[str, ...], revision: str | None, option: str) -> ModelSource:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError, HTTPError, RevisionNotFoundError

    try:
        info = HfApi().model_info(name, revision=revision, timeout=HUB_TIMEOUT)
    except HFValidationError as error:
        raise UserError(f"--{option} {_shown(name)}: neither a folder nor a Hub id such as owner/name.") from error
    except RevisionNotFoundError as error:
        raise UserError(f"--revision {revision} does not exist in {name}: see its page on the Hub.") from error
    except (HTTPError, OSError) as error:  # HTTPError: also of the connection, which is no OSError
        if cached := _cached(name, components, revision):
            return cached
        raise UserError(_refusal(error, name, option)) from error
    folder = _download(name, revision or "main", list(CONFIGS))  # by its branch: an offline run finds it by that
    return ModelSource(name, folder, components, folder.name, frozenset(file.rfilename for file in info.siblings or ()))


def _refusal(error: Exception, name: str, option: str) -> str:
    """Say what the Hub's answer means; it tells deleted, renamed and private repositories apart from nothing."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    if isinstance(error, GatedRepoError):
        return _gated(name)
    if isinstance(error, RepositoryNotFoundError):
        return (
            f"--{option} {name}: the Hub shows no such repository: it was deleted, renamed, or is private; "
            "check the name, log in (hf auth login) if it is yours, or give another model."
        )
    return (
        f"--{option} {name}: the Hub cannot be reached and the model is not in the local cache: connect, give a "
        "folder, or take the embedded model (--model tiny)."
    )


def _gated(name: str) -> str:
    return (
        f"{name} is gated: accept its licence on https://huggingface.co/{name} (for DeepFloyd on the card of "
        "DeepFloyd/IF-I-XL-v1.0), then log in with hf auth login."
    )


def _cached(name: str, components: tuple[str, ...], revision: str | None) -> ModelSource | None:
    """Return a repository that an earlier run brought here; it may be gone from the Hub by now."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        path = snapshot_download(name, revision=revision, local_files_only=True, allow_patterns=list(CONFIGS))
    except LocalEntryNotFoundError:
        return None
    folder = Path(path)
    return ModelSource(name, folder, components, folder.name, _list_files(folder, components))


def _download(name: str, revision: str, patterns: list[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HTTPError

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=patterns))
    except GatedRepoError as error:
        raise UserError(_gated(name)) from error
    except (HTTPError, OSError) as error:
        raise UserError(f"{name} could not be downloaded ({type(error).__name__}): check the connection and the disk, "
                        "then run the same command again.") from error  # fmt: skip

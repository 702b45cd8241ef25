"""The assignment's rules for file names, from which prompts are read where no ``run.json`` knows a file."""

import re
from collections.abc import Mapping, Sequence, Set
from pathlib import Path

from utils.images import picture_size
from utils.prompts import file_stem, prompt_from_stem
from utils.scoring.eval_plan import NamingRule, ScoredFile, SkippedFile, Views

STRIP_RATIO = 1.5
NUMBERED = re.compile(r"(?P<stem>.*)_(?P<position>\d+)", re.DOTALL)
REPEATED = re.compile(r"(~view\d+)?(_seed\d+)?(~\d+)?$")  # what is appended to a name: of several seeds, or taken
SIDE_BY_SIDE = "views side by side; each view is scored alone"


class StripNaming(NamingRule):
    """``<prompt>_<position>`` is a crop, ``<prompt>`` beside it the strip.

    Args:
        prompts: prompt by the stem of a strip, from a prompts file.
    """

    def __init__(self, prompts: Mapping[str, str]):
        self.prompts = prompts

    def find(self, paths: Sequence[Path], stems: Set[str]) -> list[ScoredFile | SkippedFile]:
        matches = [NUMBERED.fullmatch(stem) for stem in stems]
        strips = {match["stem"] for match in matches if match} & stems
        return [self._find(path, strips) for path in paths]

    def _find(self, path: Path, strips: Set[str]) -> ScoredFile | SkippedFile:
        if path.stem in strips:
            return SkippedFile(path.name, "a whole strip beside its crops", "strip")
        width, height = picture_size(path)
        if width > STRIP_RATIO * height:
            reason = f"a whole strip: {width}x{height} is wider than {STRIP_RATIO} times its height"
            return SkippedFile(path.name, reason, "strip")
        match = NUMBERED.fullmatch(path.stem)
        stem = match["stem"] if match and path.stem not in self.prompts else path.stem
        return _with_prompt(path, prompt_of(stem, self.prompts))


class ViewsNaming(NamingRule):
    """The stem is the prompt; two or more stems joined by ``-`` are views side by side.

    Args:
        groups: prompts that belong to one picture, view by view, from a prompts file.
    """

    def __init__(self, groups: Sequence[Sequence[str]]):
        self.groups = groups
        self.prompts = {file_stem(prompt): prompt for group in groups for prompt in group}

    def find(self, paths: Sequence[Path], stems: Set[str]) -> list[ScoredFile | SkippedFile]:
        return [self._find(path, stems) for path in paths]

    def _find(self, path: Path, stems: Set[str]) -> ScoredFile | SkippedFile:
        if is_joined(path.stem, stems) or is_joined(path.stem, self.prompts.keys()):
            return SkippedFile(path.name, SIDE_BY_SIDE, "side by side")
        width, height = picture_size(path)
        if width > STRIP_RATIO * height:
            reason = f"{SIDE_BY_SIDE} ({width}x{height} is wider than {STRIP_RATIO} times its height)"
            return SkippedFile(path.name, reason, "side by side")
        return _with_prompt(path, prompt_of(path.stem, self.prompts))

    def views(self, files: Sequence[ScoredFile]) -> list[Views]:
        """Return the groups of which a file was found for every prompt."""
        by_prompt = {item.prompt: item.file for item in reversed(files)}
        return [
            Views("-".join(map(file_stem, group)), tuple(by_prompt[prompt] for prompt in group), tuple(group))
            for group in self.groups
            if all(prompt in by_prompt for prompt in group)
        ]


def prompt_of(stem: str, prompts: Mapping[str, str]) -> str:
    """Return the prompt of a stem, a number for repeated names left aside: from the prompts, else by its words."""
    plain = REPEATED.sub("", stem)
    return prompts.get(stem) or prompts.get(plain) or prompt_from_stem(plain).strip()


def is_joined(stem: str, parts: Set[str]) -> bool:
    """Return whether a stem is two or more of the parts, joined by ``-``; parts may hold ``-`` themselves."""
    hyphens = [match.start() for match in re.finditer("-", stem)]
    starts = [0]  # where a part may begin: at the front, or after parts
    for hyphen in hyphens:
        if any(stem[start:hyphen] in parts for start in starts):
            starts.append(hyphen + 1)
    return any(stem[start:] in parts for start in starts[1:])


def _with_prompt(path: Path, prompt: str) -> ScoredFile | SkippedFile:
    return ScoredFile(path.name, prompt) if prompt else SkippedFile(path.name, "no prompt in its name")

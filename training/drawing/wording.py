"""What a drawn model is told about its scenes: captions, and the closed set of their words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Wording:
    """The captions of a model's scenes.

    Attributes:
        prompts: each scene's own prompt.
        phrases: what else asks for a scene; each follows every lead.
        titles: what a list calls the scenes.
        names: phrases any of which asks for the scene, and for no other: each draws it by itself.
        leads: how a caption begins.
        filler: words that say nothing.
        styles: words that go with several scenes.
        suffixes: phrases that may follow every caption after a comma.
    """

    prompts: Mapping[str, str]
    phrases: Mapping[str, tuple[str, ...]]
    titles: Mapping[str, str]
    names: Mapping[str, tuple[str, ...]]
    leads: tuple[str, ...]
    filler: frozenset[str]
    styles: frozenset[str]
    suffixes: tuple[str, ...] = ()

    def captions(self, scene: str) -> list[str]:
        """Return all captions of a scene, without suffixes; the first is the scene's own prompt."""
        phrases = (f"{lead} {phrase}".strip() for lead in self.leads for phrase in self.phrases[scene])
        return [self.prompts[scene], *phrases]

    def words(self) -> dict[str, list[str]]:
        """Return every word of the captions in lower case, sorted into ``subjects``, ``styles`` and ``filler``."""
        last = {word for suffix in self.suffixes for word in suffix.split()}
        known = sorted(last.union(*(self._words_of(scene) for scene in self.prompts)))
        return {
            "subjects": [word for word in known if word not in self.filler | self.styles | last],
            "styles": [word for word in known if word in self.styles | last],
            "filler": [word for word in known if word in self.filler],
        }

    def vocabulary(self) -> dict[str, Any]:
        """Return the scenes, each with the phrases that name it and its captions' words, as ``words.json`` has it."""
        groups = self.words()
        subjects = {}
        for scene in self.prompts:
            used = self._words_of(scene)
            told = [word for word in groups["subjects"] if word in used and word not in self.names[scene]]
            subjects[self.titles[scene]] = {"names": list(self.names[scene]), "words": told}
        styles = [word for word in groups["styles"] if word in self.styles]
        return {"subjects": subjects, "styles": [*styles, *self.suffixes], "filler": groups["filler"]}

    def _words_of(self, scene: str) -> set[str]:
        return {word for caption in self.captions(scene) for word in caption.lower().split()}

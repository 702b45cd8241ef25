"""What an embedded model can draw: subjects, each with the words that name it and those that may go with it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from utils.errors import UserError
from utils.prompts import quote

LONGEST = 3  # words of a phrase


@dataclass(frozen=True)
class Subject:
    """One thing that a model draws.

    Attributes:
        names: phrases of up to three words, any of which asks for it.
        words: phrases that go with it.
    """

    names: tuple[str, ...]
    words: tuple[str, ...]

    @property
    def known(self) -> frozenset[str]:
        """Every phrase that belongs to it."""
        return frozenset((*self.names, *self.words))


@dataclass(frozen=True)
class Vocabulary:
    """The closed set of words of a model, all in lower case.

    Attributes:
        subjects: what it draws, by the name that a list shows.
        styles: phrases that go with every subject.
        filler: words that say nothing.
    """

    subjects: Mapping[str, Subject]
    styles: tuple[str, ...]
    filler: tuple[str, ...]

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Vocabulary":
        """Read ``{"subjects": {name: {"names": [...], "words": [...]}}, "styles": [...], "filler": [...]}``.

        Raises:
            ValueError: it is no such object.
        """
        try:
            subjects = {
                name: Subject(_phrases(said["names"]), _phrases(said["words"]))
                for name, said in value["subjects"].items()
            }
            found = cls(subjects, _phrases(value["styles"]), _phrases(value["filler"]))
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError("words.json holds no subjects with their words") from error
        if not subjects or not all(subject.names for subject in subjects.values()):
            raise ValueError("words.json holds no subjects with their words")
        return found

    def doubts(self, prompt: str) -> list[str]:
        """Return why a picture of a prompt may not be what it says, one sentence each.

        Args:
            prompt: any text; case does not count.

        Raises:
            UserError: it names no subject: there is nothing the model could draw.
        """
        common = {*self.styles, *self.filler}
        phrases = self._split(prompt, common)
        asked = [name for name, subject in self.subjects.items() if not phrases.keys().isdisjoint(subject.names)]
        if not asked:
            raise UserError(
                f"the embedded model draws none of what {quote(prompt)} asks for; it draws: "
                f"{', '.join(self.subjects)}; as: {', '.join(self.styles)}. "
                "For anything else take the pretrained model (--model sd or deepfloyd)."
            )
        unknown = [phrase for phrase, known in phrases.items() if not known]
        fitting = common.union(*(self.subjects[name].known for name in asked))
        others = [phrase for phrase, known in phrases.items() if known and phrase not in fitting]
        sentences = []
        if unknown:
            sentences.append(f"the embedded model does not know {_listed(unknown)} in {quote(prompt)}")
        if len(asked) > 1:
            sentences.append(f"{quote(prompt)} asks for {_listed(asked)} at once: the embedded model draws one of them")
        elif others:
            sentences.append(
                f"the embedded model draws {asked[0]!r} without {_listed(others)}, which {quote(prompt)} asks for"
            )
        return sentences

    def _split(self, prompt: str, common: set[str]) -> dict[str, bool]:
        """Cut a prompt into phrases, the longest that are known -> True, else single words -> False."""
        known = common.union(*(subject.known for subject in self.subjects.values()))
        tokens, found = re.findall(r"[\w']+", prompt.lower()), {}
        while tokens:
            phrases = (" ".join(tokens[:length]) for length in range(min(LONGEST, len(tokens)), 0, -1))
            phrase = next((phrase for phrase in phrases if phrase in known), None)
            found[phrase or tokens[0]] = phrase is not None
            tokens = tokens[len(phrase.split()) if phrase else 1 :]
        return found


def _phrases(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(phrase, str) and phrase for phrase in value):
        raise TypeError("no list of phrases")
    return tuple(value)


def _listed(phrases: Sequence[str]) -> str:
    return ", ".join(map(repr, phrases))

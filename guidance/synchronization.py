"""Ways to synchronise, as formulas: the 60 cases of SyncTweedies (Kim et al., NeurIPS 2024), and what evaluates them.

A formula says what becomes of the carried state in one step. The assignment's is ``S(x,A(T(x,e(x))))``: the network
predicts the noise in every view, Tweedie's formula turns it into clean estimates, these are averaged on the canvas and
looked at again through the views, and every view steps towards what it sees.

=========  =================================================================================
``x``      states of the views ``[N, C, h, w]``
``z``      state of the canvas ``[1, C, H, W]``
``f``      projects the canvas to the views, ``forward_mapping``
``g``      averages the views on the canvas, ``inverse_mapping``
``A(y)``   f(g(y)): average and look again; a view keeps its own values where the canvas covers nothing
``h c v``  short for A(x), g(x) and f(z)
``e(y)``   the noise that the network predicts in views y
``T(y,e)`` the clean estimate of Tweedie's formula, of views or of the canvas
``S(y,x)`` the step from y towards a clean estimate, of views or of the canvas
``m(a,b)`` the mean of two canvases
``J(y,b)`` f(m(g(y),b)): as A, shared with the canvas b of a process beside this one
=========  =================================================================================
"""

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

FORMULAS = """
0 S(x,T(x,e(x)))            1 S(x,T(x,A(e(x))))         2 S(x,A(T(x,e(x))))         3 A(S(x,T(x,e(x))))
7 S(x,T(x,e(h)))            8 S(x,T(x,A(e(h))))         9 S(x,T(h,e(x)))            10 S(x,T(h,e(h)))
11 S(x,T(h,A(e(x))))        12 S(x,T(h,A(e(h))))        13 S(x,A(T(x,e(h))))        14 S(x,A(T(x,A(e(x)))))
15 S(x,A(T(x,A(e(h)))))     16 S(x,A(T(h,e(x))))        17 S(x,A(T(h,e(h))))        18 S(x,A(T(h,A(e(x)))))
19 S(x,A(T(h,A(e(h)))))     20 S(h,T(x,e(x)))           21 S(h,T(x,e(h)))           22 S(h,T(x,A(e(x))))
23 S(h,T(x,A(e(h))))        24 S(h,T(h,e(x)))           25 S(h,T(h,A(e(x))))        26 S(h,T(h,A(e(h))))
27 S(h,A(T(x,e(x))))        28 S(h,A(T(x,e(h))))        29 S(h,A(T(x,A(e(x)))))     30 S(h,A(T(x,A(e(h)))))
31 S(h,A(T(h,e(x))))        32 S(h,A(T(h,e(h))))        33 S(h,A(T(h,A(e(x)))))     34 S(h,A(T(h,A(e(h)))))
35 S(x,f(T(c,g(e(x)))))     36 S(x,f(T(c,g(e(h)))))     37 S(h,f(T(c,g(e(x)))))     38 S(h,f(T(c,g(e(h)))))
39 f(S(c,T(c,g(e(x)))))     40 f(S(c,T(c,g(e(h)))))     41 f(S(c,g(T(x,e(x)))))     42 f(S(c,g(T(x,e(h)))))
43 f(S(c,g(T(x,A(e(x))))))  44 f(S(c,g(T(x,A(e(h))))))  45 f(S(c,g(T(h,e(x)))))     46 f(S(c,g(T(h,e(h)))))
47 f(S(c,g(T(h,A(e(x))))))  48 f(S(c,g(T(h,A(e(h))))))
4 S(z,T(z,g(e(v))))         5 S(z,g(T(v,e(v))))         6 g(S(v,T(v,e(v))))         49 S(z,g(T(v,A(e(v)))))
50 g(S(v,T(v,A(e(v)))))     51 g(S(v,A(T(v,e(v)))))     52 g(S(v,A(T(v,A(e(v))))))  53 g(S(v,f(T(z,g(e(v))))))
54 S(x,T(x,J(e(x),g(e(v)))))                            55 S(x,J(T(x,e(x)),T(z,g(e(v)))))
56 J(S(x,T(x,e(x))),S(z,T(z,g(e(v)))))                  57 S(z,T(z,m(g(e(v)),g(e(x)))))
58 S(z,m(g(T(v,e(v))),g(T(x,e(x)))))                    59 m(g(S(v,T(v,e(v)))),g(S(x,T(x,e(x)))))
"""
BESIDE = {54: 4, 55: 4, 56: 4, 57: 0, 58: 0, 59: 0}  # joint case -> the case that runs beside it, with its own state
SHORT = {"h": "A(x)", "c": "g(x)", "v": "f(z)"}
ON_CANVAS = ("z", "g", "m")  # what lies on the canvas; T and S lie where their first argument does

WORDS = {
    ("none", "instance"): 0, ("eps", "instance"): 1, ("x0", "instance"): 2, ("xt", "instance"): 3,
    ("eps", "canonical"): 4, ("x0", "canonical"): 5, ("xt", "canonical"): 6,
}  # fmt: skip
SYNCS = ("x0", "eps", "xt", "none")
SPACES = ("instance", "canonical")


@dataclass(frozen=True, eq=False)
class Term:
    """A formula or a part of one: ``name`` applied to ``parts``; it has one value within a step.

    All are made by :func:`make_term`: equal ones are one object, so that a step finds values without comparing.
    """

    name: str
    parts: tuple["Term", ...]

    @functools.cached_property
    def canonical(self) -> bool:
        """True if its value lies on the canvas ``[1, C, H, W]``, else it is one of all views ``[N, C, h, w]``."""
        return self.parts[0].canonical if self.name in ("T", "S") else self.name in ON_CANVAS

    @functools.cached_property
    def on_canvas(self) -> "Term | None":
        """The value on the canvas that this one is, or shows; None where the views are apart."""
        match self.name:
            case "A":
                return make_term("g", *self.parts)
            case "J":
                return make_term("m", make_term("g", self.parts[0]), self.parts[1])
            case "f":
                return self.parts[0]
        return self if self.canonical else None

    def find(self, name: str) -> "list[Term]":
        """Return every part of that name, itself too, outer ones first."""
        return [*([self] if self.name == name else []), *(found for part in self.parts for found in part.find(name))]


@functools.cache
def make_term(name: str, *parts: Term) -> Term:
    """Return ``name`` applied to ``parts``, the same object every time."""
    return Term(name, parts)


def parse(formula: str) -> Term:
    """Read a formula such as ``S(x,A(T(x,e(x))))``."""
    for letter, meaning in SHORT.items():
        formula = re.sub(rf"\b{letter}\b", meaning, formula)
    return _read(re.findall(r"\w|[(),]", formula))


def _read(tokens: list[str]) -> Term:
    """Take one term from the front of the tokens."""
    name, parts = tokens.pop(0), []
    if tokens and tokens[0] == "(":
        while tokens.pop(0) != ")":  # an opening parenthesis or a comma precedes every part
            parts.append(_read(tokens))
    return make_term(name, *parts)


@dataclass(frozen=True)
class Case:
    """One way to take a step.

    Attributes:
        number: SyncTweedies' number, 0 to 59.
        formula: what becomes of the carried state.
        beside: formula of a process that runs beside, with a state of its own; None outside joint cases.
    """

    number: int
    formula: Term
    beside: Term | None = None

    @property
    def canonical(self) -> bool:
        """True if the canvas goes from step to step, False if the views do."""
        return self.formula.canonical

    @property
    def carried(self) -> tuple[str, ...]:
        """The states that go from step to step: ``xts`` of the views, ``zts`` of the canvas, in a joint case both."""
        own = "zts" if self.canonical else "xts"
        return (own,) if self.beside is None else ("xts", "zts")

    @property
    def network_calls(self) -> int:
        """How often the network sees every view in one step."""
        terms = [self.formula, *([] if self.beside is None else [self.beside])]
        return len({call for term in terms for call in term.find("e")})

    @functools.cached_property
    def clean(self) -> Term:
        """The clean estimate towards which the step goes."""
        return self.formula.find("S")[0].parts[1]

    @property
    def steps_on_canvas(self) -> bool:
        """True if the canvas takes the step, False if every view does."""
        return self.formula.find("S")[0].canonical

    @property
    def averages_eps(self) -> bool:
        """True if what Tweedie's formula takes as noise was averaged over views with states of their own."""
        averaged = [tweedie.parts[1] for tweedie in self.formula.find("T") if tweedie.parts[1].name != "e"]
        return any(eps.find("x") for eps in averaged)

    @property
    def averages_noise(self) -> bool:
        """True if something else than clean estimates is averaged: states or predictions, which hold noise."""
        terms = [self.formula, *([] if self.beside is None else [self.beside])]
        averaged = [found.parts[0] for term in terms for name in "AgJ" for found in term.find(name)]
        return any(part.name != "T" for part in averaged)

    @property
    def keeps_noise_apart(self) -> bool:
        """True if nothing is averaged after the step, so that noise of the views' own stays as strong as it is."""
        return self.formula.name == "S" and not self.canonical and self.beside is None


@functools.cache
def get_case(number: int) -> Case:
    """Return one of the 60 cases.

    Raises:
        KeyError: ``number`` is not in 0..59.
    """
    formulas = _formulas()
    beside = BESIDE.get(number)
    return Case(number, formulas[number], None if beside is None else formulas[beside])


@functools.cache
def _formulas() -> dict[int, Term]:
    words = FORMULAS.split()
    return {int(number): parse(formula) for number, formula in zip(words[::2], words[1::2], strict=True)}


ALONE = get_case(0)  # every view by itself

Tensors = dict[str, "torch.Tensor"]


@dataclass
class Evaluation:
    """The values of a step, each computed once.

    Attributes:
        predict: x_t of the views -> eps.
        tweedie: x_t, eps -> x0, of the views or of the canvas.
        average: views -> canvas, g.
        look: canvas, the views' own values where it covers nothing or None -> views, f.
        step: x_t, x0, the term of this step -> x_t'.
        values: term -> value.
    """

    predict: "Callable[[torch.Tensor], torch.Tensor]"
    tweedie: "Callable[[torch.Tensor, torch.Tensor], torch.Tensor]"
    average: "Callable[[torch.Tensor], torch.Tensor]"
    look: "Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]"
    step: "Callable[[torch.Tensor, torch.Tensor, Term], torch.Tensor]"
    values: "dict[Term, torch.Tensor]" = field(default_factory=dict)

    def run(self, case: Case, states: Tensors) -> Tensors:
        """Take one step of a case.

        Args:
            states: ``xts``, ``zts``, or both, as the case carries them.

        Returns:
            The clean estimate that the step took, ``x0s`` of the views or ``z0s`` of the canvas; also ``z0s`` where
            the views see it; and the states after the step, ``x_t_1``, ``z_t_1``, or both.
        """
        self.values = {make_term(name[0]): state for name, state in states.items()}
        out = {} if case.beside is None else {_state(case.beside): self.value(case.beside)}
        out[_state(case.formula)] = self.value(case.formula)
        out["z0s" if case.clean.canonical else "x0s"] = self.value(case.clean)
        if case.clean.on_canvas is not None:
            out["z0s"] = self.value(case.clean.on_canvas)
        return out

    def value(self, term: Term) -> "torch.Tensor":
        """Return the value of a term; what it has in common with others of this step is not computed again."""
        if term not in self.values:
            self.values[term] = self._compute(term)
        return self.values[term]

    def _compute(self, term: Term) -> "torch.Tensor":
        if term.name in ("A", "J"):
            return self.look(self.value(term.on_canvas or term), self.value(term.parts[0]))
        first, *rest = (self.value(part) for part in term.parts)
        if term.name == "S":
            return self.step(first, rest[0], term)
        if term.name == "f":
            return self.look(first, None)
        if term.name == "m":
            return (first + rest[0]) / 2
        return {"e": self.predict, "T": self.tweedie, "g": self.average}[term.name](first, *rest)


def _state(formula: Term) -> str:
    return "z_t_1" if formula.canonical else "x_t_1"

"""Ways to synchronise, as data: the 60 cases of SyncTweedies (Kim et al., NeurIPS 2024), and words for seven of them.

A step runs eps = network(x_t), x0 = Tweedie(x_t, eps), x_t' = step(x_t, x0). With f the projection of the canvas to
the views and g the mean back, a case says which state is carried from step to step, and five things on the way:

1. the network reads the views' own state (``r``) or the averaged one, f(g(x_t)) (``h``),
2. eps is averaged by f(g(.)) or left (``1``, ``0``),
3. Tweedie starts from ``r``, ``h``, or the canonical state (``c``), which takes g(eps),
4. x0 is averaged or left (``1``, ``0``),
5. the step starts from ``r``, ``h`` or ``c``.

``-`` stands where no choice is left, because the value changes its space there. A carried canvas z is seen as f(z), so
there ``r`` and ``h`` are the same. :meth:`guidance.base_model.BaseModel.one_step_process` runs every case.
"""

from dataclasses import dataclass

_ORDER = (0, 1, 2, 3, *range(7, 49))
_STEPS = (
    "r0r0r r1r0r r0r1r r0r0r "
    "h0r0r h1r0r r0h0r h0h0r r1h0r h1h0r h0r1r r1r1r h1r1r r0h1r h0h1r r1h1r h1h1r "
    "r0r0h h0r0h r1r0h h1r0h r0h0h r1h0h h1h0h r0r1h h0r1h r1r1h h1r1h r0h1h h0h1h r1h1h h1h1h "
    "r-c-r h-c-r r-c-h h-c-h r-c-c h-c-c r0r-c h0r-c r1r-c h1r-c r0h-c h0h-c r1h-c h1h-c"
)
INSTANCE = dict(zip(_ORDER, _STEPS.split(), strict=True))
CANONICAL = {4: "h-c-c", 5: "h0h-c", 6: "h0h0h", 49: "h1h-c", 50: "h1h0h", 51: "h0h1h", 52: "h1h1h", 53: "h-c-h"}
AVERAGES_LAST = 3  # the one instance case whose stepped state is averaged
# joint: a host and the case that runs beside it; at one level the host's average is the mean of both
JOINT = {54: (1, 4, "eps"), 55: (2, 4, "x0"), 56: (3, 4, "xt"), 57: (4, 0, "eps"), 58: (5, 0, "x0"), 59: (6, 0, "xt")}

WORDS = {
    ("none", "instance"): 0, ("eps", "instance"): 1, ("x0", "instance"): 2, ("xt", "instance"): 3,
    ("eps", "canonical"): 4, ("x0", "canonical"): 5, ("xt", "canonical"): 6,
}  # fmt: skip
SYNCS = ("x0", "eps", "xt", "none")
SPACES = ("instance", "canonical")


@dataclass(frozen=True)
class Case:
    """One way to take a step.

    Attributes:
        number: SyncTweedies' number, 0 to 59.
        canonical: the canvas is carried from step to step; otherwise the views are.
        network, tweedie, step: which state enters there, ``r``, ``h`` or ``c`` (see above).
        average_eps, average_x0, average_xt: replaced by f(g(.)) there.
        partner: a case that runs beside this one, with a state of its own; None outside joint cases.
        level: ``eps``, ``x0`` or ``xt``, where the partner's canonical value enters this case's mean.
    """

    number: int
    canonical: bool
    network: str
    average_eps: bool
    tweedie: str
    average_x0: bool
    step: str
    average_xt: bool
    partner: "Case | None" = None
    level: str = ""

    @property
    def carried(self) -> tuple[str, ...]:
        """The states that go from step to step: ``xts`` of the views, ``zts`` of the canvas, in a joint case both."""
        own = "zts" if self.canonical else "xts"
        return (own,) if self.partner is None else ("xts", "zts")

    @property
    def network_calls(self) -> int:
        """How often the network sees every view in one step."""
        return 1 if self.partner is None else 2


def get_case(number: int) -> Case:
    """Return one of the 60 cases.

    Raises:
        KeyError: ``number`` is not in 0..59.
    """
    if number in JOINT:
        host, partner, level = JOINT[number]
        return _make(number, host, get_case(partner), level)
    return _make(number, number)


def _make(number: int, host: int, partner: Case | None = None, level: str = "") -> Case:
    canonical = host in CANONICAL
    network, eps, tweedie, x0, step = CANONICAL[host] if canonical else INSTANCE[host]
    return Case(number, canonical, network, eps == "1", tweedie, x0 == "1", step, host == AVERAGES_LAST, partner, level)


ALONE = get_case(0)  # every view by itself

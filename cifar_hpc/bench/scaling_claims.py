"""What a measured grid says of the reports' claims on threads and GPUs, and what it cannot say.

The words are data, in the collection's notes/scaling.yaml; the claims themselves are those of its claims.yaml.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cifar_hpc.bench.scaling_grid import Figures
from cifar_hpc.collection.folder import chosen
from cifar_hpc.collection.source import Source
from cifar_hpc.collection.typed import Keys
from cifar_hpc.collection.typed_yaml import read_lists
from cifar_hpc.errors import UserError
from cifar_hpc.verify.claims import printed_lead
from cifar_hpc.verify.claims_file import read_claims


@dataclass
class ScalingClaims:
    """Claims of one report that the same points stand beside.

    Args:
        report: id of the report.
        claims: ids of the claims.
        setting: what the report changed.
        varies: what the points differ in from one process of one thread.
        shows: what can be concluded.
        does_not_show: what cannot.
    """

    report: str
    claims: list[str]
    setting: str
    varies: Literal["threads", "processes", "nothing"]
    shows: str
    does_not_show: str


@dataclass(frozen=True)
class MeasuredClaims:
    """A question with what was measured.

    Attributes:
        report: id of the report.
        setting: what the report changed.
        reported: ratios of seconds by the claim's id, as printed or as they follow from what is printed; the closest
            pair's where a claim compares several rows.
        own_row: whether the measured row is one of those that the claims compare.
        measured: speed-up of the largest point of the kind; None if none was measured.
        measured_quartiles: first and third quartile of that speed-up; None if none was measured.
        measured_as: the point that was measured, in words; empty if none was.
        shows: what can be concluded.
        does_not_show: what cannot.
    """

    report: str
    setting: str
    reported: dict[str, float | None]
    own_row: bool
    measured: float | None
    measured_quartiles: list[float] | None
    measured_as: str
    shows: str
    does_not_show: str


def answers(row: str, figures: Sequence[Figures]) -> list[MeasuredClaims]:
    """Sets what was measured beside what is claimed.

    Args:
        row: id of the row that was measured.
        figures: figures of the grid's points; those in the precision of the first one count.

    Raises:
        UserError: if a file of the collection is wrong.
    """
    collection = chosen()
    sound, mistakes = read_claims(collection)
    claims = {claim.id: claim for claim in sound}

    def check(source: Source, keys: Keys, question: ScalingClaims) -> bool:
        for unknown in [each for each in question.claims if each not in claims]:
            source.refuse((*keys, "claims"), f"there is no sound claim {unknown} in claims.yaml")
        return claims.keys() >= set(question.claims)

    path = collection.folder / "notes" / "scaling.yaml"
    questions, more = read_lists(path, {"questions": ScalingClaims}, check)
    if problems := [*collection.problems, *mistakes, *more]:
        raise UserError("\n".join(problems))
    rows = collection.rows
    found = []
    for question in questions["questions"]:
        asked = [claims[each] for each in question.claims]
        point = _largest(question, figures)
        found.append(
            MeasuredClaims(
                report=question.report,
                setting=question.setting,
                reported={c.id: printed_lead(c, rows) if c.reported is None else c.reported for c in asked},
                own_row=any(row in claim.rows for claim in asked),
                measured=point.speed_up if point else None,
                measured_quartiles=point.speed_up_quartiles if point else None,
                measured_as=f"{point.processes} × {point.threads}, {point.precision}" if point else "",
                shows=question.shows,
                does_not_show=question.does_not_show,
            )
        )
    return found


def _largest(question: ScalingClaims, figures: Sequence[Figures]) -> Figures | None:
    """Finds the point with the most threads or processes, as the question asks, and one of the other; None if none."""
    if question.varies == "nothing":
        return None
    other = "processes" if question.varies == "threads" else "threads"
    fitting = [
        each
        for each in figures
        if each.precision == figures[0].precision and getattr(each, other) == 1 and getattr(each, question.varies) > 1
    ]
    return max(fitting, key=lambda each: getattr(each, question.varies), default=None)

"""Rules on a printed training log, and on rows of one configuration."""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, pairwise
from statistics import median

from cifar_hpc.collection.metrics import CURVE
from cifar_hpc.collection.reproduction import Reproduction, Row
from cifar_hpc.verify.forensics.finding import Broken, Finding, Strength
from cifar_hpc.verify.forensics.printed import bounds, last_digit
from cifar_hpc.verify.forensics.quantities import compare_with_total
from cifar_hpc.verify.forensics.readings import LARGER_BATCHES, USUAL_BATCHES


def epochs_add_up(row: Row) -> Iterator[Broken]:
    """Checks that the epochs' seconds are no more than the training's, and all of them no less than half."""
    reported = row.reproduction.reported
    seconds = [point.seconds for point in reported.curve if point.seconds is not None]
    total = reported.training_seconds
    if total is None or not seconds:
        return
    least, most = (math.fsum(bounds(s)[side] for s in seconds) for side in (0, 1))
    if strength := compare_with_total(least, most if len(seconds) == reported.epochs else math.inf, total):
        added = math.fsum(seconds)
        yield (
            {"sum_of_epochs": added, "training_seconds": total},
            f"epochs must add up to the training time, but the {len(seconds)} that are printed take {added:g} s "
            f"of {total:g} s",
            strength,
        )


def is_cross_entropy(group: Reproduction) -> bool:
    """Checks whether the report says that its loss is the cross-entropy over classes, without smoothing."""
    setting = group.settings.get("loss")
    if setting is None or setting.origin not in ("stated", "code"):
        return False
    text = "".join(c for c in setting.where.lower() if c.isalnum())
    return "crossentropy" in text and not any(word in text for word in _OTHER_LOSSES)


_OTHER_LOSSES = (
    *("binary", "bce", "focal", "smooth", "sigmoid", "generali"),
    *("weight", "balanc", "accumul", "mix", "margin"),
)
"""Words beside cross-entropy that make another loss of it, or another mean."""


UNEVEN_BATCHES = 0.05
"""Part of the wrong answers that is given away for a mean over batches of which the last is smaller. Of up to 2,048
images a batch, on any of the test sets in docs/audit.md, that last batch moves the mean by less."""


MOST_LOSS = 10.0
"""Nats above which no mean cross-entropy of a whole log is taken to lie: with ten classes, guessing costs 2.3."""


def loss_and_accuracy_are_possible(row: Row) -> Iterator[Broken]:
    """Checks that mean cross-entropy is at least ln 2 times the share of wrong answers.

    Proof: where the answer is wrong another class has at least the true class' probability, which is
    therefore at most one half and costs at least ln 2; a right answer costs at least nothing. The report must say
    that the loss is cross-entropy: binary cross-entropy and focal loss are smaller.

    Many divide the sum of the batches' losses by the number of images, though each is a mean already: where all losses
    of a log are possible times a batch, that is what it looks like. And many print the last batch's loss beside the
    epoch's accuracy: so it is a proof only where the row says what its values are means over.
    """
    if not is_cross_entropy(row.reproduction):
        return
    stated = row.reproduction.reported.averaged_over in ("images", "batches")
    for name, split in (("training", "train"), ("validation", "validation"), ("test", "test")):
        points = [
            (point.epoch, loss, accuracy)
            for point in row.reproduction.reported.curve
            if (loss := getattr(point, f"{split}_loss")) is not None
            and (accuracy := getattr(point, f"{split}_accuracy_percent")) is not None
        ]
        short = [one for one in points if bounds(one[1])[1] < _least_loss(one[2])]
        batch = _batch_divided_by(points, row) if short else None
        for epoch, loss, accuracy in short[:1] if batch else short:
            told = f"at {accuracy} % the mean cross-entropy is at least {_least_loss(accuracy):.4f}, but epoch {epoch} "
            told += f"prints a {name} loss of {loss}"
            if batch:
                told += f"; times a batch of {batch} each of the {len(points)} {name} losses is possible, so it looks "
                told += "like the sum of the batches' mean losses divided by the number of images"
            elif not stated:
                told += ", unless that is the loss of the last batch alone"
            strength: Strength = "impossible" if stated and not batch else "unusual"
            yield {"epoch": epoch, "loss": loss, "accuracy_percent": accuracy}, told, strength


def _least_loss(accuracy: float) -> float:
    return math.log(2) * (1 - UNEVEN_BATCHES) * (1 - bounds(accuracy)[1] / 100)


def _batch_divided_by(points: Sequence[tuple[int, float, float]], row: Row) -> int | None:
    """Finds the batch, the row's own or a usual one, times which all losses are possible and none is absurd."""
    own = row.config.get("data", {}).get("batch_size")
    for batch in (*([own] if own else []), 16, *USUAL_BATCHES, *LARGER_BATCHES):
        if all(
            batch * bounds(loss)[1] >= _least_loss(accuracy) and batch * bounds(loss)[0] <= MOST_LOSS
            for _, loss, accuracy in points
        ):
            return int(batch)
    return None


MOST_APART, MOST_OF_OWN = 1.4, 5
"""Factor by which the training loss for each wrong answer may leave the line between its neighbours, and how many times
the log's usual departure, in logarithms. In the committed records and the printed logs, of training with cross-entropy,
it leaves it by a factor of 1.17 at most; the last batch's loss beside the epoch's accuracy does so all the time."""


def loss_and_accuracy_move_together(row: Row) -> Iterator[Broken]:
    """Checks that training loss and training accuracy move together from epoch to epoch.

    What a wrong answer costs on average, loss / (1 - accuracy), changes slowly: each epoch's is held against the
    geometric mean of its neighbours'. Test loss is not looked at: it leaves that line by a factor of 121 in an honest
    record, where one epoch's batch norm statistics are off.
    """
    points = [
        (point, math.log(loss / (1 - accuracy / 100)))
        for point in row.reproduction.reported.curve
        if (loss := point.train_loss) and (accuracy := point.train_accuracy_percent) is not None and accuracy < 99
    ]
    apart = [abs(b - (a + c) / 2) for (_, a), (_, b), (_, c) in zip(points, points[1:], points[2:], strict=False)]
    for k, own in enumerate(apart):
        before, point, after = (points[k + shift][0] for shift in (0, 1, 2))
        near, far = apart[max(k - 1, 0) : k + 2], [*apart[: max(k - 1, 0)], *apart[k + 2 :]]
        usual = median(far) if far else 0.0
        # A wrong epoch's neighbours are off by half as much.
        if own < max(near) or own <= max(math.log(MOST_APART), MOST_OF_OWN * usual) or after.epoch - before.epoch != 2:
            continue
        yield (
            {
                "epoch": point.epoch,
                "loss": point.train_loss or 0.0,
                "accuracy_percent": point.train_accuracy_percent or 0.0,
            },
            f"training loss and accuracy move together, but in epoch {point.epoch} the loss {point.train_loss} at "
            f"{point.train_accuracy_percent} % is off the line between its neighbours by a factor of "
            f"{math.exp(own):.1f}",
            "unusual",
        )


def perfect_after_one_epoch(row: Row) -> Iterator[Broken]:
    """Checks that no network which is trained from scratch is right on every image after one epoch."""
    reported = row.reproduction.reported
    printed = [(name, value) for point in reported.curve if point.epoch == 1 for name, value in vars(point).items()]
    if reported.epochs == 1:
        printed += list(vars(reported).items())
    for name, value in printed:
        if name.endswith("accuracy_percent") and not name.startswith("top5") and value is not None and value >= 100:
            what = name.removesuffix("_percent").replace("_", " ")
            yield (
                {"epoch": 1, name: value},
                f"no network is right on every image after one epoch, but the {what} is {value} % after epoch 1",
                "unusual",
            )


ALIKE, ALIKE_DIGITS = 3, 1e-3
"""Epochs that must take equally long, and the unit of the last printed digit as a part of it at most. Epochs scatter by
1 % or more, so that three agree in such a digit by chance in fewer than 2 of 1,000 logs."""


def seconds_scatter(row: Row) -> Iterator[Broken]:
    """Checks that not all epochs take equally long to the last of four digits."""
    seconds = [point.seconds for point in row.reproduction.reported.curve if point.seconds]
    if len(seconds) < ALIKE or len(set(seconds)) > 1 or float(last_digit(seconds[0])) > ALIKE_DIGITS * seconds[0]:
        return
    yield (
        {"seconds": seconds[0], "epochs": len(seconds)},
        f"epochs scatter by a hundredth of their time or more, but all {len(seconds)} that are printed take exactly "
        f"{seconds[0]} s",
        "unusual",
    )


LOG_RULES: tuple[Callable[[Row], Iterator[Broken]], ...] = (
    epochs_add_up,
    loss_and_accuracy_are_possible,
    loss_and_accuracy_move_together,
    perfect_after_one_epoch,
    seconds_scatter,
)

MOST_UNEVEN = 1.5
"""Seconds per epoch of one configuration that differ by more are unusual. Single epochs of one printed log take 68 to
112 s, but the means of its first seven and of its last eight differ by 4 %."""


def seconds_per_epoch_agree(rows: Sequence[Row]) -> Iterator[Finding]:
    """Checks that rows which differ in the number of epochs alone take equally long for an epoch.

    Args:
        rows: of one report; those with the same label have the same configuration.
    """
    timed = [
        (row.reproduction, row.reproduction.reported.training_seconds / row.reproduction.reported.epochs)
        for row in rows
        if row.reproduction.reported.training_seconds and row.reproduction.reported.epochs
    ]
    for (first, a), (second, b) in combinations(timed, 2):
        if first.label == second.label and not 1 / MOST_UNEVEN <= a / b <= MOST_UNEVEN:
            yield Finding(
                report=first.report or "",
                row=None,
                where=f"{first.where}; {second.where}",
                rule=seconds_per_epoch_agree.__name__,
                numbers={first.name: a, second.name: b},
                sentence=f"rows of one configuration take equally long for an epoch, but {first.label} takes {a:.1f} s "
                f"in {first.where} and {b:.1f} s in {second.where}",
                strength="unusual",
                rows=(first.name, second.name),
            )


SHARED = 4
"""Epochs in which one curve must follow another to the last digit."""


def curves_are_their_own(rows: Sequence[Row]) -> Iterator[Finding]:
    """Checks that no two printed curves are the same numbers, moved by some epochs or by a constant.

    Looked at are losses and accuracies with at least four different values and three digits each. Rows with the same
    label may print the same run.

    Args:
        rows: of one report.
    """
    curves = [(row, name, values) for row in rows for name, values in _curves(row)]
    for a, b in _alike([values for _, _, values in curves]):
        (one, name, first), (other, name2, second) = curves[a], curves[b]
        same_kind = name.partition("_")[2] == name2.partition("_")[2]
        if not same_kind or (one is not other and one.reproduction.label == other.reproduction.label):
            continue
        if (how := _follows(first, second)) is None:
            continue
        groups = one.reproduction, other.reproduction
        yield Finding(
            report=groups[0].report or "",
            row=None if one is not other else groups[0].name,
            where="; ".join(dict.fromkeys(group.where for group in groups)),
            rule=curves_are_their_own.__name__,
            numbers={},
            sentence=f"two runs do not print the same curve, but the {name2.replace('_', ' ')} of {groups[1].label} is "
            f"the {name.replace('_', ' ')} of {groups[0].label} {how}",
            strength="unusual",
            rows=tuple(dict.fromkeys(group.name for group in groups)),
        )


def _alike(curves: Sequence[dict[int, float]]) -> list[tuple[int, int]]:
    """Finds pairs of curves that somewhere take the same steps, as a curve and a moved one do."""
    places: dict[tuple[float, ...], list[int]] = {}
    for number, curve in enumerate(curves):
        values = list(curve.values())
        steps = [round(b - a, 6) for a, b in pairwise(values)]
        for window in {tuple(steps[k : k + SHARED - 1]) for k in range(len(steps) - SHARED + 2)}:
            places.setdefault(window, []).append(number)
    return sorted({pair for numbers in places.values() for pair in combinations(numbers, 2)})


def _curves(row: Row) -> Iterator[tuple[str, dict[int, float]]]:
    for name in CURVE:
        found = {p.epoch: v for p in row.reproduction.reported.curve if (v := getattr(p, name)) is not None}
        if len(set(found.values())) >= SHARED and max(found.values()) >= 100 * min(
            float(last_digit(v)) for v in found.values()
        ):
            yield name.removesuffix("_percent"), found


def _follows(first: dict[int, float], second: dict[int, float]) -> str | None:
    """Says how the second curve is the first, moved; null where it is not."""
    for shift in range(-3, 4):
        common = [(first[e + shift], v) for e, v in second.items() if e + shift in first]
        if len({v for _, v in common}) < SHARED or len(common) < min(len(first), len(second)) - abs(shift):
            continue
        apart = [b - a for a, b in common]
        unit = max(float(last_digit(v)) for pair in common for v in pair)
        if max(apart) - min(apart) < unit / 2 and (shift == 0 or abs(apart[0]) < unit / 2):
            return f"moved by {shift} epochs" if shift else f"plus {apart[0]:.6g}"
    return None

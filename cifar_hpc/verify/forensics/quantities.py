"""Rules on what else a row prints: error, top-5 accuracy, seconds per epoch, deviation between runs."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from math import sqrt

from cifar_hpc.collection.metrics import MAIN
from cifar_hpc.collection.reproduction import Reported, Row
from cifar_hpc.verify.forensics.finding import Broken, Strength
from cifar_hpc.verify.forensics.printed import bounds, share


def error_is_the_rest(row: Row) -> Iterator[Broken]:
    """Checks that accuracy and error on one test set are 100 % together, whatever both were averaged over."""
    reported = row.reproduction.reported
    accuracy, error = reported.test_accuracy_percent, reported.error_percent
    if accuracy is None or error is None:
        return
    least, most = (share(accuracy)[end] + share(error)[end] for end in (0, 1))
    if not least <= 1 <= most:
        yield (
            {"test_accuracy_percent": accuracy, "error_percent": error},
            f"accuracy and error must be 100 % together, but {accuracy} and {error} are {accuracy + error:g}",
            "contradicts",
        )


def top5_holds_top1(row: Row) -> Iterator[Broken]:
    """Checks that top-5 accuracy is at least the accuracy: the likeliest class is among the five likeliest.

    That holds for each image, so for means over images, batches and runs as long as both have the same.
    """
    reported = row.reproduction.reported
    top5, error = reported.top5_accuracy_percent, reported.error_percent
    if top5 is None:
        return
    if row.test_set is not None and row.test_set.classes <= 5 and share(top5)[1] < 1:
        told = f"top-5 accuracy over {row.test_set.classes} classes is 100, but {top5} is printed"
        yield {"top5_accuracy_percent": top5}, told, "impossible"
    least, printed = Fraction(0), ""
    if reported.test_accuracy_percent is not None:
        least, printed = share(reported.test_accuracy_percent)[0], f"the accuracy {reported.test_accuracy_percent}"
    elif error is not None:
        least, printed = 1 - share(error)[1], f"what the error {error} leaves"
    if share(top5)[1] < least:
        yield (
            {"top5_accuracy_percent": top5, "test_accuracy_percent": 100 * float(least)},
            f"top-5 accuracy is at least the accuracy, but {top5} is less than {printed}",
            "impossible",
        )


def seconds_per_epoch_add_up(row: Row) -> Iterator[Broken]:
    """Checks that epochs times seconds per epoch are no more than the training's seconds, and no less than half."""
    reported = row.reproduction.reported
    each, total, epochs = reported.seconds_per_epoch, reported.training_seconds, reported.epochs
    if each is None or total is None or epochs is None:
        return
    least, most = (epochs * seconds for seconds in bounds(each))
    if strength := compare_with_total(least, most, total):
        yield (
            {"seconds_per_epoch": each, "training_seconds": total, "epochs": epochs},
            f"epochs must add up to the training time, but {epochs} of {each} s are {epochs * each:g} s of {total} s",
            strength,
        )


def compare_with_total(least: float, most: float, total: float) -> Strength | None:
    """Judges the seconds that epochs take together against those of the training, `total`; null where they fit.

    They cannot take longer than it does. It may take longer, by evaluation and whatever else passes before, between and
    after the epochs: more than as much again is unusual.
    """
    shortest, longest = bounds(total)
    if least > longest:
        return "contradicts"
    return "unusual" if shortest > 2 * most else None


def deviation_is_possible(row: Row) -> Iterator[Broken]:
    """Checks that percentages of mean m scatter by √(m (100 - m)) at most, of k runs by √(k / (k - 1)) times that.

    Proof: with all x between 0 and 100, x² is at most 100 x, so the variance is at most 100 m - m². Those that reach it
    are 0 and 100.
    """
    reported = row.reproduction.reported
    deviation, mean = reported.std_percent, _main(reported)
    if deviation is None or mean is None:
        return
    low, high = bounds(mean)
    nearest = min(max(50.0, low), high)  # to where the most is possible
    widest = nearest * (100 - nearest)
    runs = reported.runs or 2
    most = sqrt(widest * (runs / (runs - 1) if runs > 1 else 1))
    if bounds(deviation)[0] > most:
        yield (
            {"std_percent": deviation, "mean_percent": mean},
            f"runs between 0 and 100 % with a mean of {mean} scatter by at most {most:.2f}, but {deviation} is printed",
            "impossible",
        )


def _main(reported: Reported) -> float | None:
    """Picks the percentage whose deviation a row prints."""
    return next((value for key in MAIN if (value := getattr(reported, key)) is not None), None)


QUANTITY_RULES: tuple[Callable[[Row], Iterator[Broken]], ...] = (
    error_is_the_rest,
    top5_holds_top1,
    seconds_per_epoch_add_up,
    deviation_is_possible,
)

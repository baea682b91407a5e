"""Reads what Keras, Lightning and the usual PyTorch scripts print while they train: one line for each epoch."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from cifar_hpc.transcribe.found import listed
from cifar_hpc.transcribe.quantities import SPLIT_WORD
from cifar_hpc.transcribe.tables import Line, Table

_EPOCH = re.compile(
    r"(?<!per )(?<!best )(?<!/)\bep(?:och)?\b['\"]?[\s:#=\[(]*(\d+)\]?(?:\s*(?:/|of)\s*\[?(\d+))?\]?", re.I
)
_TUTORIAL = re.compile(r"\s*\[\s*(\d+),\s*\d+\]\s*loss\b")
_VALUE = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:nan|inf)\b"
_CLOCK = r"\d+\s?h\w*\s*\d+\s?m\w*\s*\d+(?:\.\d+)?\s?s|\d+\s?m\w*\s*\d+(?:\.\d+)?\s?s|\d+:\d\d(?::\d\d)?(?:\.\d+)?"
_PAIR = re.compile(
    r"(?P<name>[A-Za-z][\w@./]*(?:(?:[ -]|\s?\()[A-Za-z@][\w@./]*\)?){0,4})['\"]?\s*(?P<mark>[:=]|\bis\b)?\s*"
    rf"(?:(?P<hits>\d+)\s*/\s*(?P<of>\d+)\s*\((?P<share>[\d.]+)\s*%\)|tensor\((?P<tensor>{_VALUE})|(?P<clock>{_CLOCK})|(?P<value>{_VALUE}))"
    r"(?P<unit>\s*(?:%|s(?:ec(?:onds|s)?)?\b|min(?:utes)?\b))?(?![\w:])"
    rf"(?:\s*\(\s*(?P<mean>{_VALUE})\s*\))?"
)
_METRIC = re.compile(
    r"(?:best of all )?(?:(?:train(?:ing)?|val(?:id(?:ation)?)?|test(?:ing)?)[ _])?(?:avg |average |mean )?"
    r"(?:loss|acc(?:uracy)?(?:@[15])?|prec@[15]|top-?[15]|error)$",
    re.I,
)
"""Names after which a number may follow without a colon."""
_BETWEEN = r"[|,;\t]|\s-\s|\s\s"
_BEGINS, _ENDS = re.compile(rf"(?:^|{_BETWEEN})\s*$"), re.compile(rf"\s*$|\s*(?:{_BETWEEN})")
"""What stands before and behind a name and its number that are alone between two marks, as in `| LR 0.1 |`."""
_NAMELESS = re.compile(rf"(?:^|{_BETWEEN})\s*((?:{_VALUE})\s*(?:%|s|sec|min|m|h)?)\s*(?=$|{_BETWEEN})")
_STEP = re.compile(r"\b(?:step|batch|iter(?:ation)?)s?\b\s*[:#=\[(]*\s*\d+|\[\s*\d+\s*[/,]\s*\d+", re.I)
_OF_STEPS = re.compile(r"\[\s*(\d+)\s*/\s*(\d+)\s*\]")
_KERAS = re.compile(r"^\s*(\d+)/(\d+)\s*(?:\[[=>.\s]*\]|[\u2500-\u259f][\u2500-\u259f ]*|-)\s(.*)$")
_BAR = re.compile(r"^(?P<head>.*?)\s*\d+%\|[^|]*\|\s*(?P<at>\d+)/(?P<of>\d+)\s*\[(?P<clock>[\d:]+)<(?P<tail>.*)$")
_RESULT = re.compile(rf"^[\s│┃|]*([A-Za-z][\w/@-]*)[\s│┃|]+({_VALUE})[\s│┃|]*$")
_TOOK = re.compile(
    r"\b(?:training (?:completed?|finished|took|time|done)|total (?:training |elapsed )?time|finished training)"
    r"\D{0,20}?"
    r"(\d+\s*h\D*\d+\s*m\w*\D*\d+(?:\.\d+)?\s*s|\d+\s*m\w*\s*\d+(?:\.\d+)?\s*s|\d+:\d\d:\d\d(?:\.\d+)?"
    r"|\d+(?:\.\d+)?\s*(?:s|sec|secs|seconds|min|minutes|h|hours)\b)",
    re.I,
)
_NETWORK = re.compile(rf"accuracy of the (?:network|model)[^:]*test[^:]*:\s*({_VALUE}\s*%)", re.I)
_COUNT = re.compile(r"%\s*\((\d+)/(\d+)\)(?:\s+(\d+)/(\d+))?\s*$")
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_IGNORED = {"eta", "v_num", "epoch", "step", "max_epochs"}


@dataclass
class _Run:
    """One training: for each epoch the printed values by name."""

    planned: int | None = None
    values: dict[int, dict[str, str]] = field(default_factory=dict)
    places: dict[int, int] = field(default_factory=dict)
    texts: dict[int, list[str]] = field(default_factory=dict)
    several: dict[str, None] = field(default_factory=dict)
    nameless: dict[str, None] = field(default_factory=dict)


class _Log:
    """What has been read so far, and where in the training the next line stands."""

    def __init__(self) -> None:
        self.runs: list[_Run] = []
        self.epoch: int | None = None
        self.split = ""
        self.steps: int | None = None  # a full Keras bar with another number is an evaluation's
        self.count: re.Match[str] | None = None  # with fewer images than here another pass begins
        self.phase = 0
        self.keras = self.of_steps = self.results = self.unmarked = False

    def begin(self, epoch: int, planned: int | None) -> None:
        """Goes to an epoch; one that is earlier than the last begins another training."""
        if not self.runs or (self.epoch is not None and epoch < self.epoch):
            self.runs.append(_Run(planned))
        if epoch != self.epoch or not self.runs[-1].values:
            self.split, self.steps, self.count, self.phase = "", None, None, 0
        self.epoch = epoch
        self.runs[-1].planned = planned or self.runs[-1].planned

    def take(self, name: str, value: str, at: int, text: str, running: bool = False) -> None:
        """Adds a value to the epoch; of a running one the last counts."""
        if self.epoch is None or name.lower() in _IGNORED:
            return
        run = self.runs[-1]
        values = run.values.setdefault(self.epoch, {})
        run.places.setdefault(self.epoch, at)
        if not running and values.get(name, value) != value:
            run.several[name] = None
        values[name] = value
        texts = run.texts.setdefault(self.epoch, [])
        if text not in texts:
            texts[:] = [*texts[-2:], text]


def looks_like_log(text: str) -> bool:
    """Checks whether lines of a text name an epoch or fill a bar, and print values by name."""
    lines = [line for _, line in _screen(text)]
    marks = (_EPOCH.search, _KERAS.match, _BAR.match, _TUTORIAL.match, _COUNT.search)
    named = any(mark(line) for line in lines for mark in marks)
    return named and any(pair for line in lines for pair in _pairs(_EPOCH.sub(" ", line), ""))


def read_log(text: str) -> list[Table]:
    """Reads the trainings in a log, each as a table with a line for each epoch."""
    log = _Log()
    for at, line in _screen(text):
        _read_line(log, at, line)
    return [_table(run, log) for run in log.runs if run.values]


def _screen(text: str) -> Iterator[tuple[int, str]]:
    """Yields the lines that a terminal showed, with their numbers in the file."""
    for at, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        shown = ""
        for part in re.split(r"[\r\b]+", _COLOURS.sub("", line)):
            if re.fullmatch(r"\s*\d+/\d+\s*", part):  # a counter that is written over its bar
                shown = f"{shown.rstrip()} {part.strip()}"
                continue
            if shown.strip():
                yield at, shown
            shown = part
        if shown.strip():
            yield at, shown


def _read_line(log: _Log, at: int, line: str) -> None:
    bar = _BAR.match(line)
    found = _EPOCH.search(bar["head"] if bar else line)
    if found and re.search(r"\bbest\b", line[: found.start()], re.I):  # as "best accuracy 57 % at epoch 2" says
        found = None
    if found is None and (step := _TUTORIAL.match(line)):
        log.begin(int(step[1]), None)
    if found:
        log.begin(int(found[1]), int(found[2]) if found[2] else None)
        log.results = False
    if "est metric" in line:
        log.results = True
    elif bar:
        _read_bar(log, at, line, bar, found is not None)
    elif keras := _KERAS.match(line):
        _read_keras(log, at, line, keras)
    elif log.results and (result := _RESULT.match(line)):
        log.take(result[1], result[2], at, line.strip())
    elif took := _TOOK.search(line):
        log.take("total training time", took[1], at, line.strip())
    elif network := _NETWORK.search(line):
        log.take("test accuracy", network[1], at, line.strip())
    else:
        _read_plain(log, at, line, line[: found.start()] + " " + line[found.end() :] if found else line)


def _read_bar(log: _Log, at: int, line: str, bar: re.Match[str], of_epoch: bool) -> None:
    """Reads a bar of tqdm, which Lightning's is too; what stands behind a full one is the epoch's."""
    if bar["at"] != bar["of"] or re.search("sanity|dataloader", bar["head"], re.I):
        return
    split = SPLIT_WORD.search(bar["head"])
    for name, value in _pairs(bar["tail"], _part(split[1]) if split else ""):
        log.take(name, value, at, line.strip(), running=True)
    if of_epoch and (split is None or split[1].lower().startswith("train")):
        parts = [int(part) for part in bar["clock"].split(":")]
        seconds = sum(part * 60**power for power, part in enumerate(reversed(parts)))
        log.take("seconds", f"{seconds} s", at, line.strip(), running=True)


def _read_keras(log: _Log, at: int, line: str, found: re.Match[str]) -> None:
    """Reads a bar of Keras, or its one line an epoch; a second full one in an epoch is an evaluation."""
    done, steps = int(found[1]), int(found[2])
    log.keras = True
    if done != steps or re.search(r"\bETA\b", found[3]):
        return
    if log.epoch is None or (log.unmarked and log.steps == steps):
        log.begin(int(log.epoch or 0) + 1, None)
        log.unmarked = True
    evaluation = "evaluate " if log.steps not in (None, steps) else ""
    log.steps = log.steps or steps
    if not evaluation and (seconds := re.search(r"(?<![\w.:])((?:\d+h ?)?(?:\d+m ?)?\d+(?:\.\d+)?s)\b(?!/)", found[3])):
        log.take("seconds", seconds[1], at, line.strip(), running=True)
    for name, value in _pairs(found[3], ""):
        log.take(evaluation + name, value, at, line.strip(), running=True)


def _read_plain(log: _Log, at: int, line: str, rest: str) -> None:
    """Reads a line that a script prints."""
    if alone := re.fullmatch(rf"\W*{SPLIT_WORD.pattern}\w*\W*", rest, re.I):
        log.split = _part(alone[1])
        return
    if re.search(r"\bbest\b", rest, re.I):  # which is no value of this epoch
        rest = re.sub(r"\bbest\b(?=[ _]\w)", "best of all", rest, flags=re.I)
    split = "test" if rest.lstrip().startswith("*") else log.split  # as the ImageNet example sums up a test
    pairs, running = list(_pairs(rest, split)), False
    counts = _COUNT.search(rest)
    if counts and not SPLIT_WORD.search(rest):
        _count(log, counts)
        running = True
        part = ("train", "test")[min(log.phase, 1)]
        full = counts[3] == counts[4]
        pairs = [(f"{part} {name}", value) for name, value in pairs if full and _METRIC.search(name)]
    elif _STEP.search(rest):
        pairs, running = list(_means_of_last_step(rest)), True
        log.of_steps = log.of_steps or not pairs
    for name, value in pairs:
        log.take(name, value, at, line.strip(), running)
    if pairs and log.runs:
        log.runs[-1].nameless |= dict.fromkeys(f"{value} at line {at}" for value in _NAMELESS.findall(rest))


def _count(log: _Log, counts: re.Match[str]) -> None:
    """Goes to the test behind the training, of scripts that count the images so far: each pass begins with few again.

    Args:
        log: the log so far.
        counts: a match of right answers, images and, where there is a bar, steps and all steps.
    """
    before, bar = log.count, counts[3] is not None
    log.count = counts
    if before is None:
        if log.epoch is None:
            log.begin(1, None)
            log.unmarked, log.count = True, counts
        return
    images, last = int(counts[2]), int(before[2])
    filled = bar and before[3] == before[4] and before[0] != counts[0]
    log.phase += images < last or filled or (log.unmarked and not bar and images > last)
    if log.unmarked and log.phase > 1:
        log.begin(int(log.epoch or 0) + 1, None)
        log.count = counts


def _means_of_last_step(rest: str) -> Iterator[tuple[str, str]]:
    """Yields the means so far, in brackets behind the last step's values: at that step they are the epoch's."""
    steps = _OF_STEPS.search(rest)
    if steps is None or int(steps[1]) < int(steps[2]) - 1:
        return
    split = SPLIT_WORD.search(rest)
    for found in _PAIR.finditer(rest):
        if found["mean"] and _METRIC.search(found["name"]):
            yield (
                f"{_part(split[1]) if split else 'train'} {found['name']}",
                found["mean"] + (found["unit"] or "").strip(),
            )


def _pairs(text: str, split: str) -> Iterator[tuple[str, str]]:
    """Yields names and their values in a line; a name without a part of the data takes the one named before it."""
    found: list[tuple[str, str, str]] = []  # the part in the text, the name, the value
    end = 0
    for pair in _PAIR.finditer(text):
        # With one blank before it `is` has become part of the name.
        name = re.sub(r"\s+is$", "", pair["name"])
        if pair["mark"] is None and name == pair["name"]:
            metric = _METRIC.search(name)
            if metric is not None:
                name = metric[0]
            elif not (_BEGINS.search(text[: pair.start()]) and _ENDS.match(text[pair.end() :])):
                continue
        inside, before = SPLIT_WORD.search(name.replace("_", " ")), SPLIT_WORD.search(text[end : pair.end("name")])
        hits, of = pair["hits"], pair["of"]
        if hits is not None:
            exact = re.fullmatch("10+", of) and int(hits) <= int(of)
            value = f"{_percent(hits, of)}%" if exact else f"{pair['share']}%"
        else:
            value = (pair["tensor"] or pair["clock"] or pair["value"]) + (pair["unit"] or "").strip()
        found.append(("" if inside or not before else _part(before[1]), name, value))
        end = pair.end()
    names = {name.lower().replace("_", " ") for _, name, _ in found}
    carried = split
    for index, (part, name, value) in enumerate(found):
        if own := SPLIT_WORD.search(name.replace("_", " ")):
            # Only a word of its own carries on: `val_loss` says nothing of what follows, nor does any name where one
            # without a part came first.
            if " " in name and (index == 0 or carried):
                carried = _part(own[1])
            yield name, value
            continue
        carried = part or carried
        full = f"{carried} {name}".strip()
        yield (name if full.lower() in names or not _METRIC.search(name) else full), value


def _part(word: str) -> str:
    """Gives each part of the data one word."""
    return {"tr": "train", "va": "val", "te": "test"}[word.lower()[:2]]


def _percent(hits: str, of: str) -> str:
    """Turns hits out of a power of ten into percent, with all digits of the count."""
    places = len(of) - 3
    return f"{int(hits) / 10**places:.{max(places, 0)}f}"


def _table(run: _Run, log: _Log) -> Table:
    names = dict.fromkeys(name for values in run.values.values() for name in values if name not in run.several)
    notes = []
    if run.several:
        notes.append(f"{', '.join(run.several)} has several values in one epoch, so none of them is the epoch's")
    if run.nameless:
        notes.append(f"without a name, and not taken: {listed(run.nameless)}")
    if log.unmarked:
        notes.append("the log names no epochs, so they are counted")
    if log.of_steps:
        notes.append("values of single steps are passed over: they are no epoch's")
    lines = [
        Line(
            f"line {run.places[epoch]}",
            (str(epoch), *(values.get(name, "") for name in names)),
            "\n".join(run.texts[epoch]),
        )
        for epoch, values in run.values.items()
    ]
    return Table(("epoch", *names), tuple(lines), tuple(notes), True, log.keras, run.planned)

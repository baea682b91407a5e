"""What a command prints on a terminal, where lines are wrapped, and elsewhere, where they are not."""

import re

import pytest

from cifar_hpc import output
from tests.conftest import COLLECTION, ROOT, Command, Terminal

KEPT = str(ROOT / "results" / "ghugre_sequential")


@pytest.mark.parametrize(
    "line",
    [
        "rows", "audit", f"verify {KEPT}", f"verify --recompute {KEPT}", "claims", "doctor", "verify nothing",
        "fit -c nothing", "audit nobody", "identify luo_workload1_vgg",
    ],
)  # fmt: skip
def test_a_terminal_wraps_what_is_one_line_elsewhere(line: str, terminal: Terminal, command: Command) -> None:
    plain = command(*line.split())
    shown = terminal(80, *line.split())
    assert shown.split() == f"{plain.out}{plain.err}".split()  # in whatever lines
    copied = r"`[^`]{40,}`|python -m cifar_hpc|/\S{60,}"  # what stays whole for whoever copies it
    assert not [each for each in shown.splitlines() if len(each) > 80 and not re.search(copied, each)]


def test_on_a_terminal_of_no_size_nothing_is_wrapped(terminal: Terminal, command: Command) -> None:
    # mpirun gives its processes one, and what they write to it may end in a file.
    assert terminal(0, "audit") == command("audit").out


def test_elsewhere_each_finding_is_one_line(command: Command) -> None:
    lines = command("audit").out.splitlines()
    assert all(re.match(r"\w+ \(|    would be explained|\w+, hint: |\w+ is |\d+ findings", line) for line in lines)
    assert max(map(len, lines)) > 80


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        ("short", ["short"]),
        ("one two three four five six", ["one two three four", "    five six"]),
        ("  note: one two three four", ["  note: one two", "      three four"]),
        ("data   one two three four", ["data   one two three", "       four"]),
        ("a label as long    one two", ["a label as long", "    one two"]),
        ("end with `fit --resume x` now", ["end with", "    `fit --resume x`", "    now"]),
        ("Run: python -m cifar_hpc verify runs/x", ["Run:", "    python -m cifar_hpc verify runs/x"]),
        ("a-very-long-word-that-is-one", ["a-very-long-word-that-is-one"]),
        ("", [""]),
    ],
)
def test_lines_hang_and_commands_stay_whole(line: str, lines: list[str]) -> None:
    assert output.wrapped(line, 20) == lines


def test_rows_has_names_in_full_and_a_state(terminal: Terminal, command: Command) -> None:
    shown = terminal(80, "rows")
    assert max(map(len, shown.splitlines())) <= 80
    assert [line.split()[0] for line in shown.splitlines()[1:26]] == list(COLLECTION.rows)
    states = r"judged: (reproduced|plausible|above|below|inconclusive|not comparable), \d+ seeds?\*?|"
    states += r"judged: no accuracy to compare|timed: \d+ s an epoch|partly: epoch \d+.*|not yet run"
    assert all(re.search(rf"  ({states})$", line) for line in shown.splitlines()[1:26])
    wide = terminal(120, "rows")
    assert all(row.model in wide for row in COLLECTION.rows.values())


def test_rows_looks_the_same_with_rich(terminal: Terminal, command: Command) -> None:
    pytest.importorskip("rich")
    lines = [line.rstrip() for line in terminal(80, "rows").splitlines()]
    assert lines == command("rows").out.splitlines()

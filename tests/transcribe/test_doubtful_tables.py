"""Tables that nobody made for machines: merged cells, epochs twice, brackets, words, commands given again."""

import itertools
from pathlib import Path

import pytest
import yaml

from cifar_hpc.transcribe.printed import UnreadableError, read_cell
from cifar_hpc.transcribe.quantities import meaning, without_spread
from tests.conftest import REPRODUCTIONS, Command
from tests.transcribe.conftest import Transcribe, read_back, shown

LABELS = {
    "one of two": (
        "Dataset,Model,Test acc (%)\nCIFAR-10,A,91.0\n,B,70.0\nSVHN,A,90\n,B,80\n",
        ["CIFAR-10, A", "CIFAR-10, B", "SVHN, A", "SVHN, B"],
        "empty cells of Dataset are taken as merged and filled from above: line 3 (CIFAR-10), line 5 (SVHN)",
    ),
    "inner of three": (
        "|Dataset|Method|Seed|Test acc|\n|-|-|-|-|\n|C|A|1|91|\n|||2|92|\n||B|1|93|\n",
        ["C, A, Seed 1", "C, A, Seed 2", "C, B, Seed 1"],
        "empty cells of Method are taken as merged and filled from above: line 4 (A)",
    ),
    "ditto": ("Model,Config,Test acc\nA,x,91\n〃,y,92\n", ["A, x", "A, y"], "filled from above: line 3 (A)"),
    "nothing above": ("Dataset,Model,Test acc\n,A,91\nC,B,92\n", ["A", "C, B"], ""),
    "the only one": ("Model,Test acc (%)\nA,91\nB,92\n,70.0\n", ["A", "B", "row 3"], "line 4 names no Model"),
    "a dash": ("Network,Test acc (%)\n–,91\n", ["row 1"], "line 2 names no Network, so it is called row 1"),
    "no label at all": ("Epochs,Test acc (%)\n5,91\n,92\n", ["Epochs 5", "row 2"], "line 3 names no label"),
    "turned": ("Metric,A,,B\nTest accuracy,91,92,93\n", ["A", "row 2", "B"], "column #3 names no label"),
}


@pytest.mark.parametrize("name", LABELS)
def test_rows_keep_what_merged_cells_say(name: str, transcribe: Transcribe, mine: Path) -> None:
    table, labels, note = LABELS[name]
    done = transcribe(table)
    assert done.status == 0, done.err
    assert list(read_back(mine)) == labels
    assert note in done.out


def test_one_label_for_several_rows_is_told(transcribe: Transcribe) -> None:
    done = transcribe("Model,Test acc\nA,91\nB,92\nA,93\n,94\n,95\n")
    assert "several rows have the same label: A (row 1, row 3)\n" in done.out


def test_trainings_whose_name_is_merged_over_their_epochs(transcribe: Transcribe, mine: Path) -> None:
    done = transcribe("Model,Epoch,Test acc\nA,1,50.10\n,2,57\nB,1,58\n,2,60.20\n")
    assert done.status == 0, done.err
    rows = [line for line in shown(read_back(mine)).splitlines() if line[0] != " "]
    assert rows == ["A: epochs 2, test_accuracy_percent 57", "B: epochs 2, test_accuracy_percent 60.20"]


GROUPED = {
    "in the first cell": ("{0}\t\t\n", "Model\tTest acc (%)\tF1 (%)\n", "{}\t{}\t{}\n"),
    "in the middle": (",{0},\n", "Model,Test acc (%),F1 (%)\n", "{},{},{}\n"),
    "in all cells": ("{0},{0},{0}\n", "Model,Test acc (%),F1 (%)\n", "{},{},{}\n"),
    "alone": ("{0}\n", "Model;Test acc (%);F1 (%)\n", "{};{};{}\n"),
    "slanted": ("| *{0}* |||\n", "| Model | Test acc (%) | F1 (%) |\n|---|---|---|\n", "| {} | {} | {} |\n"),
    "under a head of two lines": ("{0},,\n", "Model,CIFAR,\n,Test acc (%),F1 (%)\n", "{},{},{}\n"),
    "beside merged cells": ("{0},,,\n", "Dataset,Model,Test acc (%),F1 (%)\n", ",{},{},{}\n"),
}


@pytest.mark.parametrize("name", GROUPED)
def test_a_line_that_heads_a_group_is_part_of_the_labels(name: str, transcribe: Transcribe, mine: Path) -> None:
    group, head, line = GROUPED[name]
    first = [line.format("A", "93.10", "93.00"), line.format("B", "92.00", "92.10")]
    done = transcribe(head + group.format("CIFAR-10") + "".join(first) + group.format("SVHN") + "".join(first))
    assert done.status == 0, done.err
    assert list(read_back(mine)) == ["CIFAR-10, A", "CIFAR-10, B", "SVHN, A", "SVHN, B"]
    assert done.out.count(" heads the lines below it, whose labels begin with it: ") == 2
    assert shown(read_back(mine)).count("test_accuracy_percent 93.10, f1_percent 93.00") == 2


UNDER_GROUPS = {
    "TSV": "Model\tCIFAR-10\t\tSVHN\t\n\tTest acc (%)\tF1\tTest acc\tF1\nA\t93.10\t93.00\t95.50\t95.40\n",
    "in another order": "Model,CIFAR-10,CIFAR-10,SVHN,SVHN\n,F1,Test acc,Test acc (%),F1\nA,93.00,93.10,95.50,95.40\n",
    "Markdown": "|Model|CIFAR-10||SVHN||\n|-|-|-|-|-|\n||Acc|F1|Acc|F1|\n|A|93.10|93.00|95.50|95.40|\n",
    "LaTeX": r"""R\&D & prose.
\begin{table} \caption{Test results.}
\begin{tabular}{lrrrr} \toprule
& \multicolumn{2}{c}{\textbf{CIFAR-10}} & \multicolumn{2}{c}{SVHN} \\ \cmidrule(lr){2-3}
Model & Test acc (\%) & F1 & Test acc & F1 \\ \midrule
A~\cite{he} & $\mathbf{93.10}$ & 93.00$^\dagger$ & 95.50\,\% & {\bf 95.40} \\[2pt] \bottomrule
\end{tabular}
\end{table}
""",
}


@pytest.mark.parametrize("name", UNDER_GROUPS)
def test_columns_under_groups_of_a_head_are_rows_of_their_own(name: str, transcribe: Transcribe, mine: Path) -> None:
    done = transcribe(UNDER_GROUPS[name])
    assert done.status == 0, done.err
    assert shown(read_back(mine)) == (
        "CIFAR-10, A: test_accuracy_percent 93.10, f1_percent 93.00\n"
        "SVHN, A: test_accuracy_percent 95.50, f1_percent 95.40"
    )
    assert "each line is taken once for each of CIFAR-10, SVHN, which stand over the columns" in done.out


@pytest.mark.parametrize("parts", [("Train", "Test"), ("Training", "Validation set"), ("Dev", "Testing (final)")])
def test_parts_of_the_data_over_columns_are_of_one_row(
    parts: tuple[str, str], transcribe: Transcribe, mine: Path
) -> None:
    assert transcribe(f"Model,{parts[0]},,{parts[1]},\n,Loss,Acc,Loss,Acc\nA,0.10,91.10,0.20,92.20\n").status == 0
    (group,) = read_back(mine).values()
    assert list(group["reported"].values()) == ["91.10", "92.20"]


def test_trainings_side_by_side_are_curves_of_their_own(transcribe: Transcribe, mine: Path) -> None:
    head = "Epoch,ResNet,,VGG,\n,Train acc,Test acc,Train acc,Test acc\n"
    assert transcribe(f"{head}1,50.10,49.00,40.00,39.00\n2,60.00,58.50,50.00,48.50\n").status == 0
    lines = shown(read_back(mine)).splitlines()
    assert lines[1] == "  epoch 1, train_accuracy_percent 50.10, test_accuracy_percent 49.00"
    assert lines[5] == "  epoch 2, train_accuracy_percent 50.00, test_accuracy_percent 48.50"


def test_times_in_several_units_are_not_one_quantity(transcribe: Transcribe, mine: Path) -> None:
    table = "Model,Before,,After,\n,Test acc,Time (s),Test acc,Time (min)\nA,91.10,60,92.20,2\n"
    assert "would both be training_seconds; leave out all but one" in transcribe(table).sentence()
    assert not list(mine.glob("smith*"))


def test_tables_of_latex_are_parted(transcribe: Transcribe, mine: Path) -> None:
    one = "\\begin{tabular}{lr}\nModel & Test acc \\\\\nA & 91.%d0 \\\\\n\\end{tabular}\n"
    assert "holds 2 tables; name one with --table, from 1 to 2" in transcribe(one % 1 + one % 2).sentence()
    assert transcribe(one % 1 + one % 2, "--table", "2").status == 0
    assert shown(read_back(mine)) == "A: test_accuracy_percent 91.20"
    (file,) = mine.glob("smith*")
    assert "# Transcribed from table.csv, line 7:\n#   A & 91.20" in file.read_text()


@pytest.mark.parametrize(
    ("head", "cells", "found"),
    [
        ("Test acc,F1", "92.00,92.10 ± 0.10", "test_accuracy_percent 92.00, f1_percent 92.10"),
        ("Test acc,F1", ",92.10 ± 0.10", "f1_percent 92.10, std_percent 0.10"),
        ("F1,Test acc", "92.10 ± 0.10,92.00 ± 0.20", "test_accuracy_percent 92.00, f1_percent 92.10, std_percent 0.20"),
    ],
)
def test_a_deviation_is_the_accuracys(head: str, cells: str, found: str, transcribe: Transcribe, mine: Path) -> None:
    done = transcribe(f"Model,{head}\nA,{cells}\n")
    assert shown(read_back(mine)) == f"A: {found}"
    assert ("± 0.10 behind f1_percent is not taken" in done.out) == ("std_percent 0.10" not in found)


def test_lines_that_head_trainings_tell_them_apart(transcribe: Transcribe, mine: Path) -> None:
    done = transcribe("Epoch,Test acc (%)\nResNet,\n1,49.00\n2,58.50\nVGG,\n1,39.00\n2,48.50\n")
    assert done.status == 0, done.err
    assert {label: len(row["reported"]["curve"]) for label, row in read_back(mine).items()} == {"ResNet": 2, "VGG": 2}


def test_a_run_without_numbers_heads_nothing(transcribe: Transcribe, mine: Path) -> None:
    done = transcribe("Model,Test acc\nA,91\nB,\nC,92\n* our own\n")
    assert list(read_back(mine)) == ["A", "C"]
    assert "line 3 has no numbers and is passed over: B\n" in done.out
    assert "line 5 has no numbers and is passed over: * our own\n" in done.out


def test_a_table_in_a_frame_is_read(transcribe: Transcribe, mine: Path) -> None:
    rule = "+-------+----------+\n"
    head, lines = "| Model | Test acc |\n", "| A     | 93.10    |\n| B     | 92.00    |\n"
    assert transcribe(rule + head + rule.replace("-", "=") + lines + rule).status == 0
    assert shown(read_back(mine)) == "A: test_accuracy_percent 93.10\nB: test_accuracy_percent 92.00"


def test_what_a_log_prints_without_a_colon_is_told(transcribe: Transcribe, mine: Path) -> None:
    line = "Epoch {} | Train Loss 1.20 | Test Acc 55.50 | LR 0.10 | Memory 4.50 GB | 12.30s\n"
    done = transcribe(line.format(1) + line.format(2), name="train.log")
    assert shown(read_back(mine)).count("train_loss 1.20, test_accuracy_percent 55.50") == 2
    assert "not taken: LR; --columns" in done.out
    assert "without a name, and not taken: 12.30s at line 1, 12.30s at line 2" in done.out
    timed = line.replace("| 12.30s", "| Time 12.30s")
    assert transcribe(timed.format(1) + timed.format(2), "--where", "timed", name="train.log").status == 0
    assert shown(read_back(mine)).count("seconds 12.30") == 2


@pytest.mark.parametrize("flags", [(), ("--kind", "curve")])
@pytest.mark.parametrize(
    ("epochs", "first", "again"), [((1, 1, 2), 2, 3), ((1, 2, 1), 2, 4), ((1, 2, 3, 3), 4, 5), ((0, 1, 0), 2, 4)]
)
def test_an_epoch_that_stands_twice(
    epochs: tuple[int, ...], first: int, again: int, flags: tuple[str, ...], transcribe: Transcribe, mine: Path
) -> None:
    lines = "".join(f"{epoch},{40 + at}.0,50.1\n" for at, epoch in enumerate(epochs))
    sentence = transcribe(f"Epoch,Train acc (%),Test acc (%)\n{lines}", *flags).sentence()
    assert f"epoch {epochs[first - 2]} stands on line {first} and again on line {again}; " in sentence
    assert not list(mine.glob("smith*"))


def test_epochs_out_of_order_are_told_and_put_in_order(transcribe: Transcribe, mine: Path) -> None:
    for epochs in itertools.permutations((1, 2, 3)):
        lines = "".join(f"{epoch},{40 + epoch}.0\n" for epoch in epochs)
        done = transcribe(f"Epoch,Test acc (%)\n{lines}", "--where", str(epochs))
        assert done.status == 0, done.err
        assert ("put in order" in done.out) == (list(epochs) != sorted(epochs))
        assert shown(read_back(mine)).count("\n  epoch 1, test_accuracy_percent 41.0\n  epoch 2") == len(
            read_back(mine)
        )


def test_lines_without_an_epoch_and_steps_are_told(transcribe: Transcribe) -> None:
    done = transcribe("Epoch,Test acc\n1,40\n,41\n2,42\n", "--kind", "curve")
    assert "without an epoch, and passed over: line 3" in done.out
    steps = transcribe("epoch,step,train_loss\n0,1,2.1\n0,2,2.0\n1,3,1.9\n1,4,1.8\n", name="steps.csv").sentence()
    assert "has several values of train_loss in one epoch, so none of them is the epoch's" in steps


@pytest.mark.parametrize(
    "head",
    ["Test acc (std)", "Test acc (mean (std))", "Mean (s.d.) test accuracy", "Test acc, mean (SD)", "Test acc ±",
     "Test accuracy (standard deviation)"],
)  # fmt: skip
def test_a_head_says_that_brackets_hold_deviations(head: str, transcribe: Transcribe, mine: Path) -> None:
    done = transcribe(f'Model,"{head}"\nA,91.20 (0.30)\nB,90.10% (.25%)†\n', "--runs", "3")
    assert done.status == 0, done.err
    assert shown(read_back(mine)) == (
        "A: test_accuracy_percent 91.20, runs 3, std_percent 0.30\n"
        "B: test_accuracy_percent 90.10, runs 3, std_percent 0.25"
    )


@pytest.mark.parametrize(
    "table",
    [
        '"Table 1. Standard deviations of 3 runs in brackets.",\nModel,Test acc\nA,91.20 (0.30)\n',
        "Table 1: mean (std)\n\n|Model|Test acc|\n|-|-|\n|A|91.20 (0.30)|\n",
        "|Model|Test acc|\n|-|-|\n|A|91.20 (0.30)|\n\nIn brackets: st. dev.\n",
    ],
)
def test_a_caption_says_it_too(table: str, transcribe: Transcribe, mine: Path) -> None:
    assert transcribe(table).status == 0
    assert shown(read_back(mine)) == "A: test_accuracy_percent 91.20, std_percent 0.30"


def test_brackets_of_which_nobody_says_are_asked_once(transcribe: Transcribe, mine: Path) -> None:
    table = "Model,Test acc\nA,91.20 (0.30)\nB,90.10 (0.25)\nC,90\n"
    assert "--brackets std, or --brackets ignore" in transcribe(table).sentence()
    assert transcribe(table, "--brackets", "std").status == 0
    assert shown(read_back(mine)).count("std_percent") == 2
    assert transcribe(table, "--brackets", "ignore", "--replace").status == 0
    assert "std" not in shown(read_back(mine))
    assert (
        "line 2, Test acc: 91.20(30) may be ± 30" in transcribe(table.replace(" (0.3", "(3"), "--brackets", "std").err
    )


@pytest.mark.parametrize("head", ["Acc (std)", "acc std", "Std. dev. of accuracy"])
def test_a_column_of_deviations_is_one(head: str) -> None:
    assert meaning(head).kind == "std"
    assert meaning(without_spread(head)).kind == "accuracy"


@pytest.mark.parametrize("about", ["~", "≈", "about ", "ca. ", "approx. ", "Around ", r"$\approx$ ", r"\sim"])
def test_approximate_values_are_told(about: str, transcribe: Transcribe, mine: Path) -> None:
    done = transcribe(f"Model,Test acc\nA,{about}90.10\nB,91.30\n")
    assert shown(read_back(mine)) == "A: test_accuracy_percent 90.10\nB: test_accuracy_percent 91.30"
    assert "approximate, and taken as printed: " in done.out


@pytest.mark.parametrize("word", ["NaN", "-", "n/a", "diverged", "did not converge", "OOM", "-inf", "failed†"])
def test_words_in_place_of_numbers_are_told_and_cost_no_other_cell(
    word: str, transcribe: Transcribe, mine: Path
) -> None:
    done = transcribe(f"Model,Test acc,F1\nA,{word},80.1\nB,90.20,81.0\n")
    assert shown(read_back(mine)) == "A: f1_percent 80.1\nB: test_accuracy_percent 90.20, f1_percent 81.0"
    assert f"left out, as they are no numbers: {word} at line 2 (Test acc)" in done.out


NO_NUMBERS = ["９３.10", "٩٣", "९३.1", "0x60", "1_0.5", "1_000", "9３.1", "0b11", "93.1.2", "½", "9O.1"]


@pytest.mark.parametrize("cell", NO_NUMBERS)
def test_only_digits_as_people_print_them_are_numbers(cell: str, transcribe: Transcribe) -> None:
    assert f"line 2, Test acc: {cell} is no number that" in transcribe(f"Model,Test acc\nA,{cell}\nB,90\n").sentence()


@pytest.mark.parametrize(
    ("cell", "digits"),
    {".5": "0.5", ".50": "0.50", "-.5": "-0.5", "5.": "5", "0.50": "0.50", "1'204.5": "1204.5"}.items(),
)
def test_decimals_alone_are_a_number(cell: str, digits: str) -> None:
    found = read_cell(cell)
    assert found is not None
    assert found.digits == digits
    with pytest.raises(UnreadableError):
        read_cell(f"{cell}x")


REPORT = """
              precision    recall  f1-score   support

{classes}
    accuracy                           0.81      {images}
   macro avg       0.85      0.80      0.83      {images}
weighted avg       0.86      0.82      0.84      {images}
"""


@pytest.mark.parametrize("sizes", [(1000, 1000), (980, 1135, 1032), (1, 2, 3, 4)])
@pytest.mark.parametrize("around", ["{}", "Epoch 3 is over.\nTest:\n{}\nDone.\n"])
def test_a_classification_report_is_read(
    sizes: tuple[int, ...], around: str, transcribe: Transcribe, mine: Path, command: Command
) -> None:
    names = ("plane", "big truck", "3", "class 4")
    classes = "".join(f"{n:>12}       0.80      0.74      0.77      {s}\n" for n, s in zip(names, sizes, strict=False))
    done = transcribe(around.format(REPORT.format(classes=classes, images=sum(sizes))), name="report.txt")
    assert done.status == 0, done.err
    (label, group), *others = read_back(mine).items()
    assert (label, others) == ("report", [])
    assert group["reported"] == {
        "test_accuracy_percent": 81, "precision_percent": 85, "recall_percent": 80, "f1_percent": 83,
        "averages": "macro",
    }  # fmt: skip
    each = sizes[0] if len(set(sizes)) == 1 else list(sizes)
    assert group["test_set"] == {"images": sum(sizes), "classes": len(sizes), "class_images": each}
    assert command("audit", "--collection", mine).status in (0, 1)


def test_a_log_with_a_classification_report_behind_it(transcribe: Transcribe, mine: Path) -> None:
    report = REPORT.format(classes="a 0.80 0.74 0.77 10\nb 0.80 0.74 0.77 10\n", images=20)
    log = f"Epoch 1/1 - loss: 1.10, acc: 41.10\n{report}"
    assert "its classification report is passed over; --format classification takes" in transcribe(log).out
    assert shown(read_back(mine)).startswith("table: epochs 1, train_accuracy_percent 41.10\n")
    assert transcribe(log, "--format", "classification", "--where", "end").status == 0
    assert "end: test_accuracy_percent 81," in shown(read_back(mine))
    sentence = transcribe(report + "\nOf the others:\n" + report, "--where", "both").sentence()
    assert "holds 2 classification reports; name one with --table, from 1" in sentence


def test_a_test_set_against_the_support_is_refused(transcribe: Transcribe) -> None:
    text = REPORT.format(classes="a 0.80 0.74 0.77 10\nb 0.80 0.74 0.77 10\n", images=20)
    for flags in (("--images", "30", "--classes", "2"), ("--class_images", "10", "11")):
        assert "with its support" in transcribe(text, *flags).sentence()
    assert transcribe(text, "--class_images", "10", "10").status == 0
    assert "so no test set is taken" in transcribe(text.replace(" 10\n", " 11\n"), "--where", "other").out


GERMAN = "Modell,Genauigkeit,Präzision,Rückruf,F1\nA,91.10,92,93,91\nB,91.20,92,93,92\n"


def test_a_table_of_unknown_heads_is_asked_about_before_anything_is_written(transcribe: Transcribe, mine: Path) -> None:
    sentence = transcribe(GERMAN).sentence()
    assert "nothing known (Genauigkeit, Präzision, Rückruf)" in sentence
    assert '--columns "Genauigkeit=KEY"' in sentence
    assert not list(mine.glob("smith*"))
    assert transcribe(GERMAN, "--columns", "Genauigkeit=test_accuracy_percent").status == 0
    assert shown(read_back(mine)).startswith("A: test_accuracy_percent 91.10, f1_percent 91\n")


def test_rows_are_replaced_where_that_is_asked_for(transcribe: Transcribe, mine: Path) -> None:
    assert transcribe(GERMAN, "--columns", "F1=f1_percent").status == 0
    old = {path.name: path.read_text() for path in mine.glob("smith*")}
    again = ("--columns", "Genauigkeit=test_accuracy_percent")
    assert "add --replace, which keeps the old one as smith_table_row1.yaml.before" in transcribe(GERMAN, *again).err
    done = transcribe(GERMAN, *again, "--replace")
    assert "smith_table_row2.yaml is replaced, and kept as smith_table_row2.yaml.before\n" in done.out
    assert {name: (mine / f"{name}.before").read_text() for name in old} == old
    assert shown(read_back(mine)).count("test_accuracy_percent") == 2
    assert "is replaced" not in transcribe(GERMAN, *again, "--replace").out  # the same once more
    assert transcribe(GERMAN, "--columns", "F1=ignore", "Rückruf=recall_percent", "--replace").status == 0
    assert len(list(mine.glob("*.before2"))) == 2  # nothing that was kept is lost


def test_only_rows_of_the_same_table_are_replaced(transcribe: Transcribe, mine: Path) -> None:
    assert transcribe("Epoch,Test acc\n10,91\n20,92\n", "--kind", "rows").status == 0
    done = transcribe("Epoch,Test acc\n10,91\n20,92\n", "--kind", "curve", "--replace")
    assert "and left as they are: smith_table_row1.yaml, smith_table_row2.yaml" in done.out
    file = mine / "smith_table_row2.yaml"
    file.write_text(file.read_text().replace("Transcribed from table", "From a table"))
    before = {path: path.read_bytes() for path in mine.iterdir()}
    assert "row2.yaml exists already and was not transcribed from table.csv" in transcribe(
        "Epoch,Test acc\n10,81\n20,82\n", "--kind", "rows", "--replace"
    ).sentence()  # fmt: skip
    assert {path: path.read_bytes() for path in mine.iterdir()} == before


def test_a_replacement_that_the_reader_refuses_changes_nothing(transcribe: Transcribe, mine: Path) -> None:
    table = "Model,Test acc\nA,91\nB,92\n"
    assert transcribe(table).status == 0
    before = {path: path.read_bytes() for path in mine.iterdir()}
    flags = ("--images", "100", "--classes", "10", "--class_images", "20", "--replace")
    assert transcribe(table, *flags).status == 2
    assert {path: path.read_bytes() for path in mine.iterdir()} == before


@pytest.mark.parametrize(
    ("report", "table", "row"),
    [("anna", "anna.csv", "anna_row1"),
     ("anna", "Anna 2.csv", "anna_anna2_row1"), ("anna", "anna_b.csv", "anna_b_row1"),
     ("he", "heads.csv", "he_heads_row1"), ("anna-müller", "müller.csv", "anna-müller_müller_row1"),
     ("a-b", "a b.csv", "a-b_row1"), ("claims", "claims.csv", "claims_row1")],
)  # fmt: skip
def test_no_name_is_doubled(report: str, table: str, row: str, transcribe: Transcribe, mine: Path) -> None:
    done = transcribe("Model,Test acc\nA,91\n", name=table, report=report)
    assert done.status == 0, done.err
    assert (mine / f"{row}.yaml").exists()


def test_a_training_is_not_called_by_its_files_name(transcribe: Transcribe, mine: Path) -> None:
    log = "Epoch 1/2 - loss: 1.1, acc: 41.10\nEpoch 2/2 - loss: 1.0, acc: 42.10\n"
    assert transcribe(log, name="smith.log").status == 0
    assert list(read_back(mine)) == ["smith"]
    assert (mine / "smith_run1.yaml").exists()


@pytest.mark.parametrize("names", [("plane", "car  ", "bird "), ("a   ", "b", "ship")])
def test_every_class_of_the_tutorial_is_told(names: tuple[str, ...], transcribe: Transcribe) -> None:
    lines = "".join(f"Accuracy for class: {name} is {50 + at}.3 %\n" for at, name in enumerate(names))
    done = transcribe(
        f"[1,  2000] loss: 2.173\nAccuracy of the network on the 10000 test images: 55 %\n{lines}", name="t.log"
    )
    assert f"not taken: {', '.join(map(str.strip, names))};" in done.out


@pytest.mark.parametrize("text", ["test accuracy is 91.20", "Test accuracy  is 91.20 %", "test_acc is 91.20"])
def test_values_behind_is_are_taken(text: str, transcribe: Transcribe, mine: Path) -> None:
    assert transcribe(f"Epoch 1: train loss: 1.10, {text}\n", name="t.log").status == 0
    assert "test_accuracy_percent 91.20" in shown(read_back(mine))


def test_very_many_lines_are_summed_up(transcribe: Transcribe, mine: Path) -> None:
    table = "Dataset,Model,Test acc\n" + "".join(f"{'D' * (n % 3 == 0)},M{n % 9},9{n % 10}.1\n" for n in range(200))
    done = transcribe(table)
    assert len(done.out.splitlines()) < 45
    assert "and 170 more rows" in done.out
    assert len(list(mine.glob("smith*"))) == 200
    done = transcribe(table, "--replace", "--images", "100", "--classes", "10")
    assert "and 170 more replaced" in done.out
    refused = transcribe(table.replace(".1\n", "x1\n"), "--where", "more")
    assert len(refused.err.splitlines()) == 31


@pytest.mark.parametrize("name", ["Müller Anna", "a/b", "a b", "-a", "a.b", "a#b", "", "_a"])
def test_an_id_is_refused_alike_by_hand_and_by_command(
    name: str, transcribe: Transcribe, mine: Path, command: Command
) -> None:
    right = "is no id of a report; it may have letters, digits, _ and -, such as"
    if not name.startswith("-"):
        assert right in transcribe("Model,Test acc\nA,91\n", report=name).sentence()
    (mine / "collection.yaml").write_text(yaml.safe_dump({"reports": {name: {"title": "A"}}}, allow_unicode=True))
    assert (
        f'collection.yaml:2: reports has the id "{name}", which {right}' in command("audit", "--collection", mine).err
    )


@pytest.mark.parametrize("name", ["anna-müller", "Smith_2", "2024", "李"])
def test_an_id_of_any_letters_goes_everywhere(
    name: str, transcribe: Transcribe, mine: Path, command: Command, tmp_path: Path
) -> None:
    assert transcribe("Model,Test acc\nA,91\n", report=name).status == 0
    assert command("report", "--collection", mine, "--out", tmp_path / "page").status == 0
    page = (tmp_path / "page" / "report.md").read_text(encoding="utf-8")
    assert f"[{name}](#{name})" in page
    assert f'<a id="{name}"></a>\n\n## {name}\n' in page


@pytest.mark.parametrize(
    ("each", "end"),
    [
        ("Epoch {}: loss 1.50 | acc 5{}.00%\n", "Best accuracy 57.00% at epoch 2\n"),
        ("Epoch {}: loss 1.50 | acc 5{}.00%\n", "Best accuracy 57.00% at epoch 1\n"),
        ("Epoch {}: loss 1.50, acc: 5{}.00%, best acc: 57.00%\n", ""),
        ("Epoch {}: loss 1.50, acc: 5{}.00%\nSaving, best acc: 57.00%\n", ""),
    ],
)
def test_the_best_so_far_is_no_value_of_the_epoch(each: str, end: str, transcribe: Transcribe, mine: Path) -> None:
    done = transcribe(each.format(1, 1) + each.format(2, 2) + end, name="train.log")
    assert shown(read_back(mine)).endswith(
        "  epoch 1, train_loss 1.50, train_accuracy_percent 51.00\n"
        "  epoch 2, train_loss 1.50, train_accuracy_percent 52.00"
    )
    assert "not taken: best of all acc" in done.out


@pytest.mark.parametrize(
    ("report", "table"), [("2024", "5.log"), ("1", "0.log"), ("0x6", "0.log"), ("Größe", "2ß.log")]
)
def test_an_id_that_looks_like_a_number_stays_a_text(
    report: str, table: str, transcribe: Transcribe, mine: Path, command: Command
) -> None:
    assert transcribe("Epoch 1/1 - loss: 1.10, acc: 41.10\n", name=table, report=report).status == 0
    (file,) = mine.glob("*_*.yaml")
    assert yaml.safe_load(file.read_text(encoding="utf-8"))["reproduction"]["row"] == file.stem
    assert command("audit", report, "--collection", mine).status == 0


def test_epochs_of_the_table_are_stated_there(transcribe: Transcribe, mine: Path) -> None:
    base = next(path for path in sorted(REPRODUCTIONS.glob("*.yaml")) if "\nmodel:" in path.read_text())
    assert transcribe("Model,Epochs,Test acc\nA,7,91.10\nB,,92\n", "--where", "Table 2", "--base", base).status == 0
    stated, other = (group["settings"].get("epochs") for group in read_back(mine).values())
    assert stated == {"origin": "stated", "where": "Table 2, row 1"}
    assert other != {"origin": "stated", "where": "Table 2, row 2"}

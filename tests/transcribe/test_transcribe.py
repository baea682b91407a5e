"""Tables and logs as they are printed: every digit in the rows' files, and nothing guessed."""

import shutil
from pathlib import Path

import pytest
import yaml

from tests.conftest import REPRODUCTIONS, Command, Refuse
from tests.transcribe.conftest import PRINTED, Transcribe, read_back, shown

EXPECTED = {path.stem: path.read_text(encoding="utf-8") for path in (PRINTED.parent / "expected").iterdir()}
"""For each printed file a line of flags that answer what it leaves open, then what its rows must hold, written by hand:
the digits as printed, but for fractions, in percent, and times, in seconds."""


@pytest.mark.parametrize("table", sorted(EXPECTED))
def test_every_printed_digit_is_kept(table: str, transcribe: Transcribe, mine: Path, command: Command) -> None:
    flags, _, rows = EXPECTED[table].partition("\n")
    done = transcribe(table, *flags.split())
    assert done.status == 0, done.err
    assert shown(read_back(mine)) == rows.rstrip()
    audit = command("audit", "smith", "--collection", mine)
    assert audit.status in (0, 1), audit.err  # the reader takes the files


def test_all_printed_tables_are_tried() -> None:
    assert set(EXPECTED) == {path.name for path in PRINTED.iterdir()}
    assert len(EXPECTED) >= 12


def test_columns_that_are_nothing_known_are_told(transcribe: Transcribe) -> None:
    done = transcribe("units.csv")
    assert "not taken: Params (M); --columns" in done.out
    assert "† at line 4" in done.out  # the mark beside a number


def test_columns_are_what_the_user_says(transcribe: Transcribe, mine: Path) -> None:
    done = transcribe("Net,Hits,Acc (%)\nA,81.50,90.10\n", "--columns", "Hits=test_accuracy_percent", "Acc=ignore")
    assert done.status == 0, done.err
    assert shown(read_back(mine)) == "A: test_accuracy_percent 81.50"


def test_columns_of_one_name_are_told_apart_by_number(transcribe: Transcribe, mine: Path) -> None:
    table = "Model,Acc,Acc\nA,99.10,81.50\n"
    assert (
        "several columns Acc; --columns takes their numbers, #2, #3"
        in transcribe(table, "--columns", "Acc=test_accuracy_percent").sentence()
    )
    done = transcribe(table, "--columns", "#2=train_accuracy_percent", "#3=test_accuracy_percent")
    assert done.status == 0, done.err
    assert shown(read_back(mine)) == "A: train_accuracy_percent 99.10, test_accuracy_percent 81.50"


REFUSED = {
    "both percent and fraction": (
        "Model,Test Acc\nA,0.86\nB,0.91\n",
        "",
        "Test Acc may be in percent or fractions of 1",
    ),
    "percent in the head alone": (
        "Model,Test Acc (%)\nA,0.86\n",
        "",
        "though its head says percent, may be in percent",
    ),
    "a fraction among percentages": ("Model,Test Acc\nA,86.2\nB,0.91\n", "", "has 0.91 among percentages"),
    "a fraction beside a percent sign": ("Model,Test Acc\nA,86.2%\nB,0.91\n", "", "has 0.91 among percentages"),
    "of which images": ("Model,Acc\nA,86.2\n", "", '--columns "Acc=test_accuracy_percent"'),
    "comma": ("Model;Training time (s);Test acc (%)\nA;1,204;86\n", "", "add --decimal comma or --decimal point"),
    "comma and point": (
        "Model;Test acc (%)\nA;86,1\nB;86.2\n",
        "",
        "86,1 has a decimal comma and 86.2 a decimal point",
    ),
    "twice": ("Model,Test Acc,Test accuracy\nA,86.1,86.2\n", "", "would both be test_accuracy_percent"),
    "unquoted": (
        "Model,Test Acc,Time (s)\nA,86.1,1,204.5\n",
        "",
        "line 2 has 4 cells and the head 3; a number with a comma",
    ),
    "short": ("Model,Test Acc,Time (s)\nA,86.1,12\nB,86.1\n", "", "line 3 has 2 cells and the head 3"),
    "unreadable": ("Model,Test Acc\nA,8x6\n", "", "line 2, Test Acc: 8x6 is no number that can be told for sure"),
    "bound": ("Model,Test Acc\nA,>86\n", "", ">86 is no number"),
    "range": ("Model,Test Acc\nA,86 - 87\n", "", "86 - 87 is no number"),
    "brackets": ("Model,Test Acc\nA,86.2 (0.3)\n", "", "86.2 (0.3) at line 2 may be a mean"),
    "clock": ("Model,Test Acc,Time (s)\nA,86.2,12:34\n", "", "12:34 may be minutes and seconds"),
    "above 100": ("Model,Test Acc\nA,862.1\n", "", "862.1 is no percentage between 0 and 100"),
    "no fraction": ("Model,Test Acc\nA,86.2\n", "--unit Test Acc=fraction", "which is no fraction of 1"),
    "epochs": ("Model,Epochs,Test Acc\nA,1.5,86.1\n", "", "1.5 is no whole number of at least 1"),
    "curve or rows": ("Epoch,Test Acc\n10,80.1\n20,84.3\n", "", "add --kind curve or --kind rows"),
    "no quantity": ("Model,Weight\nA,86.2\n", "", "no column that is known to be a quantity, only Model, Weight"),
    "key": ("Model,Test Acc\nA,86.2\n", "--columns Acc=accuracy", "a column may be epochs, train_accuracy_percent"),
    "column": (
        "Model,Test Acc\nA,86.2\n",
        "--columns Top=test_accuracy_percent",
        "has no column Top for --columns; it has",
    ),
    "no pair": ("Model,Test Acc\nA,86.2\n", "--columns Acc", 'must be as --columns "Acc=test_accuracy_percent"'),
    "unit": ("Model,Test Acc\nA,86.2\n", "--unit percentage", "must be percent or fraction"),
    "empty": (" \n", "", "holds nothing"),
    "no table": ("The accuracy was 86.2 on the test set.\n", "", "holds no table"),
    "two tables": (
        "|M|Test Acc|\n|-|-|\n|A|86.1|\n\n|M|Test Acc|\n|-|-|\n|A|86.1|\n",
        "",
        "holds 2 tables; name one with --table",
    ),
    "third table": ("|M|Test Acc|\n|-|-|\n|A|86.1|\n", "--table 3", "--table 3 is none"),
    "no numbers": ("Model,Test Acc\nA,n/a\n", "", "prints no number"),
    "steps alone": ("Epoch [1/2], Step [100/500], Loss: 1.2\n", "", "prints no value of a whole epoch"),
    "test set": (
        "Model,Test Acc\nA,86.2\n",
        "--images 100 --classes 10 --class_images 20",
        "class_images is 20; it must be",
    ),
    "half a test set": ("Model,Test Acc\nA,86.2\n", "--images 100", "A test set needs --images and --classes"),
    "base": ("Model,Test Acc\nA,86.2\n", "--base collection.yaml", "has no trainer and no model and no data"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_certain_is_asked_and_nothing_written(name: str, transcribe: Transcribe, mine: Path) -> None:
    table, flags, sentence = REFUSED[name]
    # A flag's value may have spaces in it.
    parts = [
        part for flag in flags.split("--") if flag for part in (f"--{flag.split()[0]}", flag.strip().partition(" ")[2])
    ]
    if name in ("test set", "half a test set"):
        parts = flags.split()
    if name == "base":
        parts = ["--base", str(mine / "collection.yaml")]
    done = transcribe(table, *parts, name="table.txt")
    assert done.status == 2
    assert sentence in done.err
    assert all(line.startswith("cifar_hpc: ") for line in done.err.splitlines())  # a sentence for each fault
    assert [path.name for path in mine.iterdir()] == ["collection.yaml"]


ANSWERED = {
    "small": (
        "Model,Test Acc\nA,86.2\nB,0.91\n",
        "--unit percent",
        "A: test_accuracy_percent 86.2\nB: test_accuracy_percent 0.91",
    ),
    "percent": ("Model,Test Acc\nA,0.86\n", "--unit percent", "A: test_accuracy_percent 0.86"),
    "fraction": ("Model,Test Acc\nA,0.8600\n", "--unit fraction", "A: test_accuracy_percent 86.00"),
    "one column": (
        "Model,Test Acc,Test error\nA,0.9910,0.90\n",
        "--unit percent Test_Acc=fraction",
        "A: test_accuracy_percent 99.10, error_percent 0.90",
    ),
    "comma": (
        "Model;Training time (s);Test acc (%)\nA;1,204;86\n",
        "--decimal comma",
        "A: test_accuracy_percent 86, training_seconds 1.204",
    ),
    "point": (
        "Model;Training time (s);Test acc (%)\nA;1,204;86\n",
        "--decimal point",
        "A: test_accuracy_percent 86, training_seconds 1204",
    ),
    "rows": (
        "Epoch,Test Acc\n10,80.10\n20,84.3\n",
        "--kind rows",
        "Epoch 10: epochs 10, test_accuracy_percent 80.10\nEpoch 20: epochs 20, test_accuracy_percent 84.3",
    ),
    "second table": (
        "|M|Test Acc|\n|-|-|\n|A|86.1|\n\n|M|Test Acc|\n|-|-|\n|B|87.10|\n",
        "--table 2",
        "B: test_accuracy_percent 87.10",
    ),
    "runs": (
        "Model,Test Acc\nA,86.10 ± 0.30\n",
        "--runs 3",
        "A: test_accuracy_percent 86.10, runs 3, std_percent 0.30",
    ),
}


@pytest.mark.parametrize("name", ANSWERED)
def test_what_is_asked_can_be_answered(name: str, transcribe: Transcribe, mine: Path) -> None:
    table, flags, rows = ANSWERED[name]
    done = transcribe(table, *(flag.replace("Test_Acc", "Test Acc") for flag in flags.split()))
    assert done.status == 0, done.err
    assert shown(read_back(mine)) == rows


CELLS = {
    "9 624.68": "9624.68",
    "9\u202f624.68": "9624.68",
    "9'624.68": "9624.68",
    '"1,009,624.680"': "1009624.680",
    "1:02:03": "3723",
    "1h 2m 3.50s": "3723.50",
    "160.4 min": "9624",
    "0.50 h": "1800",
    "250 ms": "0.250",
    "$9624.68$": "9624.68",
    r"\textbf{9624.60}": "9624.60",
    "**9624.60**": "9624.60",
    "9624.60†": "9624.60",
    "9624.60 [12]": "9624.60",
    "9624.60^a": "9624.60",
    "9624.60<sup>1</sup>": "9624.60",
    "9624.60 s (-3.1%)": "9624.60",
    "9624.60 ↓": "9624.60",
    "9.62460e+03": "9.62460e+03",
    "−": None,
    "N/A": None,
    "—": None,
}


@pytest.mark.parametrize("cell", CELLS)
def test_cells_are_read_as_people_write_them(cell: str, transcribe: Transcribe, mine: Path) -> None:
    done = transcribe(f"Model,Test Acc (%),Training time (s)\nA,86.20,{cell}\n")
    assert done.status == 0, done.err
    time = f", training_seconds {CELLS[cell]}" if CELLS[cell] else ""
    assert shown(read_back(mine)) == f"A: test_accuracy_percent 86.20{time}"


def test_nothing_is_overwritten(transcribe: Transcribe, mine: Path) -> None:
    assert transcribe("units.csv", "--where", "Table 2").status == 0
    before = {path: path.read_bytes() for path in mine.iterdir()}
    assert {path.name for path in before} > {"smith_table2_row1.yaml", "smith_table2_row3.yaml"}
    assert "exists already, and nothing is overwritten" in transcribe("units.csv", "--where", "Table 2").sentence()
    assert {path: path.read_bytes() for path in mine.iterdir()} == before


def test_a_new_report_is_added_beside_the_others(transcribe: Transcribe, mine: Path) -> None:
    done = transcribe("units.csv", report="jones")
    assert done.status == 0, done.err
    text = (mine / "collection.yaml").read_text()
    assert text.startswith("# Mine.\n")
    assert yaml.safe_load(text) == {"reports": {"smith": {"title": "On networks"}, "jones": {"title": "jones"}}}


def test_the_test_set_is_what_the_flags_say(transcribe: Transcribe, mine: Path) -> None:
    counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]  # MNIST's
    done = transcribe("units.csv", "--class_images", *map(str, counts))
    assert done.status == 0, done.err
    assert read_back(mine)["LeNet-5"]["test_set"] == {"images": 10000, "classes": 10, "class_images": counts}
    done = transcribe("across.csv", "--class_images", "1000", "--classes", "10")
    assert done.status == 0, done.err
    assert read_back(mine)["CUDA"]["test_set"] == {"images": 10000, "classes": 10, "class_images": 1000}


def test_a_base_gives_the_experiment(transcribe: Transcribe, mine: Path, command: Command, tmp_path: Path) -> None:
    base = min(
        REPRODUCTIONS.glob("*.yaml"), key=lambda path: ("trainable_parameters: 122570" not in path.read_text(), path)
    )
    done = transcribe("pytorch.log", "--base", base)
    assert done.status == 0, done.err
    (file,) = mine.glob("smith_*.yaml")
    row, own = yaml.safe_load(file.read_text()), yaml.safe_load(base.read_text())
    assert {**row["trainer"], "max_epochs": 0} == {**own["trainer"], "max_epochs": 0}
    assert (row["trainer"]["max_epochs"], row["model"], row["data"]) == (4, own["model"], own["data"])
    assert row["reproduction"]["trainable_parameters"] == own["reproduction"]["trainable_parameters"]
    assert "test_set" not in row["reproduction"]
    trained = command(
        "fit", "--collection", mine, "-c", file.stem, "-c", "cpu", "-c", "smoke", "--run_dir", tmp_path / "run"
    )
    assert trained.status == 0, trained.err


def test_several_trainings_in_one_log_are_several_rows(transcribe: Transcribe, mine: Path) -> None:
    log = "".join(f"Epoch {e}/2 - loss: 1.{n}{e}0, acc: 4{n}.{e}0\n" for n in (1, 2) for e in (1, 2))
    assert transcribe(log, name="log.txt").status == 0
    assert [path.stem for path in sorted(mine.glob("smith_*"))] == ["smith_log_run1", "smith_log_run2"]
    assert shown(read_back(mine)).count("epochs 2, train_accuracy_percent") == 2


def test_a_log_that_ends_early_has_no_last_epoch(transcribe: Transcribe, mine: Path) -> None:
    done = transcribe("Epoch 1/10 - loss: 1.20, acc: 44.10\nEpoch 2/10 - loss: 1.10, acc: 50.10\n", name="log.txt")
    assert "is to have 10 epochs and ends with 2" in done.out
    assert shown(read_back(mine)).splitlines()[0] == "log: epochs 10"


def test_other_encodings(transcribe: Transcribe, mine: Path, command: Command) -> None:
    table = "Modell;Test Acc (%)\nGrößer;86,20 ± 0,30\n"
    for number, encoding in enumerate(("utf-16", "utf-8-sig", "cp1252")):
        path = mine.parent / f"table{number}.csv"
        path.write_text(table, encoding=encoding)
        flags = ("--encoding", "cp1252") if encoding == "cp1252" else ()
        done = command("transcribe", path, "--report", "smith", "--collection", mine, *flags)
        assert done.status == 0, done.err
        (file,) = mine.glob(f"smith_table{number}*.yaml")
        assert yaml.safe_load(file.read_text(encoding="utf-8"))["reproduction"]["label"] == "Größer"
    path.write_text(table, encoding="cp1252")
    refused = command("transcribe", path, "--report", "smith", "--collection", mine, "--where", "again")
    assert "is not in utf-8; name its encoding with --encoding" in refused.sentence()


def test_the_packaged_reports_are_left_alone(refuse: Refuse, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    shutil.copy(PRINTED / "units.csv", table)
    assert "no collection" in refuse("transcribe", table, "--report", "smith", "--collection", tmp_path)
    assert not list(REPRODUCTIONS.glob("smith*"))


def test_the_packaged_reports_get_no_more(command: Command, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("Model,Test Acc\nA,86.2\n")
    told = command("transcribe", "table.csv", "--report", "x").sentence()
    assert "holds the packaged reports" in told
    assert "--collection DIR; `init DIR` makes one" in told
    (tmp_path / "collection.yaml").write_text("reports: {}\n")
    assert "`--collection .` for this folder" in command("transcribe", "table.csv", "--report", "x").sentence()
    assert not list(REPRODUCTIONS.glob("x_*"))

"""The commands that a page prints make its records again."""

import re
import shlex

import pytest
import yaml

from cifar_hpc.cli import main
from cifar_hpc.collection.folder import configuration_file
from cifar_hpc.collection.source import read_yaml
from cifar_hpc.report import contents
from cifar_hpc.report.again import _ENGINE
from tests.conftest import ROOT


def test_what_a_record_ran_on_is_in_its_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    tried = set()
    for section in [row for report in contents.gather().reports for row in report.rows]:
        for evidence in section.evidence:
            for record in evidence.records:
                line = next(c for c in evidence.commands if re.search(rf"\b{record.seed}\b", c) and " fit " in c)
                words = shlex.split(line.partition(" fit ")[2].partition(" --seed_everything")[0])
                assert configuration_file(words[1]) == section.row.path
                ran = read_yaml(record.path.with_name("config.yaml"))["trainer"]
                if record.shared_from or tuple(words) in tried:
                    continue
                tried.add(tuple(words))
                with pytest.raises(SystemExit):
                    main(["fit", *words, "--print_config"])
                again = yaml.safe_load(capsys.readouterr().out)["trainer"]
                for key, usual in _ENGINE.items():
                    assert again.get(key, usual) == ran.get(key, usual), (line, key)
    assert tried

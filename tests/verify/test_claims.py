"""Claims judged from made-up records with known answers, and claims.yaml against the reports."""

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from cifar_hpc.collection.folder import choosing
from cifar_hpc.errors import UserError
from cifar_hpc.records.record import Record
from cifar_hpc.verify import audit, claims, leads
from cifar_hpc.verify.claims_evidence import evidence
from cifar_hpc.verify.claims_file import Claim, Contradiction, read_claims
from cifar_hpc.verify.forensics.finding import Finding
from cifar_hpc.verify.leads import Lead, lead
from tests import made_up
from tests.conftest import COLLECTION, EXPECTED, REPRODUCTIONS, Command, Refuse, reports_in

FAST, SLOW = "ghugre_parallel", "ghugre_sequential"


def make_claim(**changes: Any) -> Claim:
    content = {
        "id": "made_up",
        "report": "ghugre",
        "where": "here",
        "statement": "as printed",
        "quantity": "seconds_per_epoch",
        "ahead": [FAST],
        "behind": [SLOW],
    }
    return Claim(**(content | changes))


def make_record(
    row: str | None, seconds: float = 10.0, accuracy: float = 0.7, seed: int = 1, epochs: int = 3, **changes: Any
) -> Record:
    path = Path(f"{row}/seed{seed}")
    return made_up.record(row, path, seconds=seconds, accuracy=accuracy, seed=seed, epochs=epochs, **changes)


def judge(claim: Claim, *records: Record, findings: tuple[Finding, ...] = ()) -> claims.JudgedClaim:
    by_row = {name: [r for r in records if r.name == name] for name in claim.rows}
    return claims.judge_claim(claim, by_row, findings, COLLECTION)


def runs(row: str, seconds: list[float]) -> list[Record]:
    return [make_record(row, value, seed=seed) for seed, value in enumerate(seconds)]


@pytest.mark.parametrize(
    ("fast", "slow", "verdict"),
    [
        ([10.0, 10.1, 9.9], [109.0, 110.0, 108.0], "reproduced"),  # 10.9 is reported
        ([10.0, 10.1, 9.9], [200.0, 201.0, 199.0], "above"),
        ([10.0, 10.1, 9.9], [50.0, 51.0, 50.5], "below"),
        ([10.0, 10.1, 9.9], [119.0, 120.0, 121.0], "inconclusive"),  # on the edge of 10 %
        ([10.0, 10.1, 9.9], [80.0, 109.0, 150.0], "inconclusive"),  # scatters
        ([10.0], [109.0], "inconclusive"),  # one run each: 22 % either way
        ([10.0], [50.0], "below"),
        ([10.0, 10.1], [200.0], "above"),
    ],
)
def test_speed_ups_with_known_answers(fast: list[float], slow: list[float], verdict: str) -> None:
    found = judge(make_claim(says="by"), *runs(FAST, fast), *runs(SLOW, slow))
    assert found.verdict == verdict
    assert found.reported == pytest.approx(10.91, abs=0.005)
    means = [math.exp(sum(map(math.log, side)) / len(side)) for side in (fast, slow)]
    assert found.measured == pytest.approx(means[1] / means[0])
    assert found.measured is not None
    assert found.interval is not None
    assert found.interval[0] < found.measured < found.interval[1]
    assert len(found.records) == len(fast) + len(slow)


def test_whole_trainings_count_their_epochs() -> None:
    # 15 epochs of 100 s are a quarter of 50 epochs of 7.5 s, turned round
    records = (*runs(FAST, [7.5] * 3), *runs(SLOW, [100.0, 100.1, 99.9]))
    found = judge(make_claim(quantity="training_seconds", says="by", reported=4), *records)
    assert (found.verdict, found.reported) == ("reproduced", 4)
    assert found.measured == pytest.approx(4, abs=0.01)


@pytest.mark.parametrize(
    ("says", "ahead", "behind", "verdict"),
    [
        ("ahead", [0.75, 0.751, 0.752], [0.70, 0.701, 0.702], "reproduced"),
        ("ahead", [0.70, 0.701, 0.702], [0.75, 0.751, 0.752], "below"),
        ("ahead", [0.70, 0.72], [0.70, 0.71], "inconclusive"),
        ("ahead", [0.75], [0.70], "reproduced"),
        ("ahead", [0.71], [0.70], "inconclusive"),
        ("not behind", [0.695, 0.696, 0.697], [0.70, 0.701, 0.702], "reproduced"),  # half a point of two
        ("not behind", [0.65, 0.651, 0.652], [0.70, 0.701, 0.702], "below"),
        ("not behind", [0.68], [0.70], "inconclusive"),
        ("up to", [0.75, 0.751, 0.752], [0.70, 0.701, 0.702], "reproduced"),
        ("up to", [0.90, 0.901, 0.902], [0.70, 0.701, 0.702], "above"),
        ("up to", [0.70, 0.701, 0.702], [0.75, 0.751, 0.752], "below"),
        ("up to", [0.71], [0.70], "inconclusive"),
    ],
)
def test_accuracies_with_known_answers(says: str, ahead: list[float], behind: list[float], verdict: str) -> None:
    claim = make_claim(quantity="test_accuracy_percent", says=says, reported=10)
    records = [make_record(FAST, accuracy=value, seed=seed) for seed, value in enumerate(ahead)]
    records += [make_record(SLOW, accuracy=value, seed=seed) for seed, value in enumerate(behind)]
    assert judge(claim, *records).verdict == verdict


def test_a_ranking_rests_on_its_closest_pair() -> None:
    claim = make_claim(quantity="test_accuracy_percent", behind=[SLOW, "aamir_table1"])
    best, worst = ([make_record(row, accuracy=a, seed=s) for s in range(3)] for row, a in ((FAST, 0.9), (SLOW, 0.5)))
    rival = [make_record("aamir_table1", accuracy=a, seed=s) for s, a in enumerate((0.901, 0.900, 0.899))]
    found = judge(claim, *best, *worst, *rival)
    assert found.verdict == "inconclusive"
    assert found.measured == pytest.approx(0.0)
    assert judge(claim, *best, *worst).verdict == "inconclusive"
    assert judge(claim, *best, *worst).measured is None  # nothing of the rival


def test_runs_of_one_seed_are_one_piece_of_evidence() -> None:
    claim = make_claim(quantity="test_accuracy_percent")
    one = [make_record(FAST, accuracy=0.9, seed=1), make_record(SLOW, accuracy=0.5, seed=1)]
    again = [*one, make_record(FAST, accuracy=0.9, seed=1, config_sha256="0" * 64)]
    assert judge(claim, *one).interval == judge(claim, *again).interval


def test_prefixes_are_compared_at_the_epoch_of_the_claim() -> None:
    claim = make_claim(quantity="train_accuracy_percent", epoch=2)
    longer = make_record(FAST, accuracy=0.9, epochs=5)
    prefix = make_record(SLOW, accuracy=0.5, tier="prefix", changed_from_row={"trainer.max_epochs": [15, 3]})
    assert judge(claim, longer, prefix).verdict == "reproduced"
    found = judge(make_claim(quantity="train_accuracy_percent", epoch=4), longer, prefix)
    assert (found.verdict, found.reason) == ("not comparable", f"{SLOW}/seed1 does not reach epoch 4")
    found = judge(make_claim(quantity="train_accuracy_percent"), longer, prefix)
    assert (found.verdict, found.reason) == ("not comparable", f"{SLOW}/seed1 is not the whole run")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"hardware__cpu": "another"}, "no one machine"),
        ({"seconds": 0.0}, "times no epoch"),
        ({"hardware__cores": 64}, "no one machine"),
        ({"software__torch": "1.0"}, "no one machine"),
        ({"hardware__precision": "bf16-mixed"}, "no one machine"),
        ({"changed_from_row": {"model.init_args.optimizer.init_args.lr": [0.001, 0.1]}}, "changes model"),
        ({"changed_from_row": {"data.sample": [False, True]}, "tier": "smoke"}, "less than the whole dataset"),
        (
            {"hardware__accelerator": "cuda", "hardware__gpu": "Tesla V100"},
            "with gpu Tesla V100, and the claim is about T4",
        ),
    ],
)
def test_seconds_that_cannot_be_compared(changes: dict[str, Any], told: str) -> None:
    claim = make_claim(says="by", requires={FAST: {"gpu": "T4"}})
    records = [*runs(FAST, [10.0, 10.1, 9.9]), *runs(SLOW, [109.0, 110.0, 108.0])]
    assert judge(claim, *records).verdict == "reproduced"
    unfit = [make_record(FAST, **changes), *records[3:]]
    found = judge(claim, *unfit)
    assert (found.verdict, found.measured) == ("not comparable", None)
    assert told in found.reason


def test_the_hardware_that_a_claim_is_about_may_differ() -> None:
    gpu: dict[str, Any] = {"hardware__accelerator": "cuda", "hardware__gpu": "NVIDIA Tesla T4"}
    records = [make_record(FAST, 10.0, seed=s, **gpu) for s in range(3)] + runs(SLOW, [109.0, 110.0, 108.0])
    about = {FAST: {"accelerator": "cuda", "gpu": "T4"}, SLOW: {"accelerator": "cpu"}}
    assert judge(make_claim(says="by", requires=about), *records).verdict == "reproduced"
    assert judge(make_claim(says="by"), *records).verdict == "not comparable"


def test_the_machine_with_most_records_is_taken() -> None:
    here = [*runs(FAST, [10.0, 10.1, 9.9]), *runs(SLOW, [20.0, 20.2, 19.8])]
    there = [make_record(row, 1.0, seed=9, hardware__cpu="another") for row in (FAST, SLOW)]
    found = evidence(make_claim(), {row: [r for r in here + there if r.name == row] for row in (FAST, SLOW)})
    assert {r.hardware.cpu for row in found.records.values() for r in row} == {made_up.REAL["hardware"]["cpu"]}


def test_without_records_a_claim_is_undecided_and_says_what_to_do() -> None:
    found = judge(make_claim(says="by"))
    assert (found.verdict, found.measured, found.interval) == ("inconclusive", None, None)
    assert found.reason == f"nothing is measured yet for {FAST}, {SLOW}"
    assert found.commands == tuple(f"python -m cifar_hpc fit -c {row}" for row in (FAST, SLOW))


def test_a_contradiction_must_be_found() -> None:
    claim = make_claim(contradicted_by=Contradiction("some_rule", [3, 3.5]))
    finding = Finding("ghugre", None, "here", "some_rule", {"a": 3.5, "b": 3}, "because", "contradicts")
    found = judge(claim, *runs(FAST, [10.0]), *runs(SLOW, [20.0]), findings=(finding,))
    assert (found.verdict, found.reason) == ("contradicted by its own report", "because")
    assert found.measured == pytest.approx(2)  # what is measured is told all the same
    other = Finding("ghugre", None, "here", "some_rule", {"a": 3.5, "b": 3, "c": 1}, "other", "contradicts")
    for wrong in ((), (other,)):
        with pytest.raises(UserError, match="finds no such thing"):
            judge(claim, findings=wrong)


@pytest.mark.parametrize("runs_each", [1, 2, 3, 5])
def test_error_rate(runs_each: int) -> None:
    # Truth on the margin's edge, where errors are likeliest: each wrong answer at most once in twenty.
    rng = np.random.default_rng(runs_each)
    prior = leads.PRIOR_SPREAD_LOG_SECONDS
    first, second = (rng.normal(mean, prior, size=(10_000, runs_each)) for mean in (math.log(2.2), 0.0))
    found = [lead(a.tolist(), b.tolist(), prior) for a, b in zip(first, second, strict=True)]
    for verdicts in (
        [leads.judge_by(one, math.log(2), math.log(1.1)) for one in found],
        [leads.judge_up_to(one, math.log(2), math.log(1.1)) for one in found],
        [leads.judge_ahead([one], least=math.log(2.2)) for one in found],
    ):
        for wrong in ("reproduced", "above", "below"):
            assert verdicts.count(wrong) / len(verdicts) <= 0.05


def test_error_rate_of_rankings() -> None:
    # Three rivals as good as the one that is said to be best.
    rng = np.random.default_rng(0)
    verdicts = []
    for _ in range(3_000):
        best, *rivals = rng.normal(70, 0.7, size=(4, 3)).tolist()
        verdicts.append(leads.judge_ahead([lead(best, rival, 0.7, pairs=3) for rival in rivals]))
    for wrong in ("reproduced", "below"):
        assert verdicts.count(wrong) / len(verdicts) <= 0.05


def test_welch() -> None:
    # t of 4 degrees of freedom leaves 2.5 % beyond 2.776 (any table); equal sizes and spreads give n + m - 2.
    found = lead([1.0, 2.0, 3.0], [0.0, 1.0, 2.0], prior=1)
    assert found.value == pytest.approx(1)
    assert found.half_width == pytest.approx(2.776 * math.sqrt(2 / 3), rel=1e-3)
    assert lead([1.0], [0.0], prior=0.5).half_width == pytest.approx(1.96 * 0.5 * math.sqrt(2), rel=1e-3)
    assert lead([1.0, 1.0], [1.0, 1.0], prior=1) == Lead(0.0, 0.0)
    assert lead([1.0, 2.0], [1.0, 2.0], 1, pairs=3).half_width > lead([1.0, 2.0], [1.0, 2.0], 1).half_width
    with pytest.raises(ValueError, match="both sides"):
        lead([], [1.0], prior=1)


# What the file says of the reports.


@pytest.fixture(scope="module")
def judged() -> dict[str, claims.JudgedClaim]:
    with choosing(str(REPRODUCTIONS)):
        return {claim.claim: claim for claim in claims.judge_everything().claims}


@pytest.mark.parametrize(("claim", "reported"), EXPECTED["leads"].items())
def test_reported_values(judged: dict[str, claims.JudgedClaim], claim: str, reported: float | None) -> None:
    found = judged[claim].reported
    assert found == (None if reported is None else pytest.approx(reported, rel=1e-3))


def test_what_the_reports_themselves_contradict(judged: dict[str, claims.JudgedClaim]) -> None:
    findings = audit.audit(COLLECTION)[0]
    contradicted = {name: claim for name, claim in judged.items() if claim.verdict == "contradicted by its own report"}
    assert set(contradicted) == set(EXPECTED["contradicted"])
    for claim in contradicted.values():
        (finding,) = [f for f in findings if f.sentence == claim.reason]
        assert finding.report == claim.report
        assert set(claim.rows) & set(finding.rows)


def test_each_report_has_claims_about_its_own_rows(judged: dict[str, claims.JudgedClaim]) -> None:
    assert {claim.report for claim in judged.values()} == set(COLLECTION.reports)
    for claim in judged.values():
        assert all(row.startswith(f"{claim.report}_") for row in claim.rows)
        assert len(claim.commands) == len(claim.rows)
        for line in claim.commands:
            names = re.findall(r"-c (\S+)", line)
            assert names
            assert all(name in COLLECTION.rows or name in COLLECTION.recipes for name in names)


# The command.


def test_command(command: Command, tmp_path: Path) -> None:
    beginning: dict[str, Any] = {
        "epochs__planned": 10,
        "tier": "smoke",
        "changed_from_row": {"trainer.max_epochs": [10, 3]},
    }
    for row, seconds in (("luo_workload1_googlenet", 20.0), ("luo_workload1_vgg", 10.0)):
        record = make_record(row, seconds, **beginning)
        folder = tmp_path / "results" / record.name / "seed1"
        made_up.write(folder, record)
    done = command("claims", "luo", "--json", "-")
    assert done.status == 0, done.err
    found = {claim["claim"]: claim for claim in json.loads(done.out)["claims"]}
    assert {name: claim["verdict"] for name, claim in found.items()} == {
        "luo_googlenet_more_accurate": "not comparable",  # three epochs of ten
        "luo_vgg_faster": "reproduced",
        "luo_p100_against_k40m": "inconclusive",
    }
    assert found["luo_vgg_faster"]["measured"] == pytest.approx(2)
    bad = tmp_path / "results" / "luo_workload1_vgg" / "seed2"
    bad.mkdir()
    (bad / "result.json").write_text("{}", encoding="utf-8")
    done = command("claims", "luo")
    assert "no record of schema 1" in done.sentence()
    assert "luo_vgg_faster: reproduced" in done.out


def status_of(verdicts: list[str]) -> int:
    one = judge(make_claim(says="by"))
    return claims.claims_status([claims.JudgedClaim(**(vars(one) | {"verdict": verdict})) for verdict in verdicts])


@pytest.mark.parametrize(
    ("verdicts", "status"),
    [
        (["reproduced", "inconclusive"], 0),
        (["reproduced", "above"], 1),
        (["below"], 1),
        (["contradicted by its own report", "reproduced"], 1),
        (["inconclusive", "not comparable"], 3),
        ([], 3),
    ],
)
def test_exit_status(verdicts: list[str], status: int) -> None:
    assert status_of(verdicts) == status


def test_a_claims_statement_and_reason_are_a_line_each(judged: dict[str, claims.JudgedClaim]) -> None:
    for claim in judged.values():
        lines = claims.as_text(claim).splitlines()
        assert f"  {claim.where}: {claim.statement}" in lines
        assert not claim.reason or f"  {claim.reason}" in lines


def test_unknown_report_is_told(refuse: Refuse) -> None:
    assert "There is no report nobody" in refuse("claims", "nobody")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"ahead": ["nobody"]}, "the claim one names nobody, which is neither a row nor a recipe"),
        ({"behind": []}, "must name at least one row ahead and one behind"),
        ({"quantity": "speed"}, 'claims[0].quantity is "speed"; it must be one of'),
        ({"reported": "fast"}, 'claims[0].reported is "fast"; it must be a number'),
        ({"reported": -1}, "has the reported -1"),
        ({"epoch": 3}, "compares seconds"),
        ({"says": "by", "behind": [SLOW, "aamir_table1"]}, "compares one row with one, but it names 3"),
        ({"requires": {"aamir_table1": {"threads": 4}}}, "requires something of aamir_table1"),
        ({"requires": {FAST: {"colour": 4}}}, "requires colour of ghugre_parallel; it may require accelerator"),
        ({"contradicted_by": {"rule": "x"}}, "numbers"),
        ({"base": "ashraf_batch_size_64"}, "has the base ashraf_batch_size_64, which is no row"),
        ({"verdict": "reproduced"}, "claims[0] has the key verdict"),
        ({"where": ...}, "claims[0] misses the key where"),
        ({"report": "us"}, "has the report us; it must be one of "),
    ],
)
def test_malformed_claims_are_told(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    content = vars(make_claim(id="one")) | changes
    content = {key: value for key, value in content.items() if value is not ...}
    found, (mistake,) = read_claims(reports_in(tmp_path, claims={"claims": [content]}))
    assert mistake.startswith(f"{tmp_path / 'claims.yaml'}:")
    assert told in mistake
    assert not found


def test_two_claims_of_one_id_are_told(tmp_path: Path) -> None:
    found, (mistake,) = read_claims(reports_in(tmp_path, claims={"claims": [vars(make_claim())] * 2}))
    assert "two claims have the id made_up" in mistake
    assert len(found) == 1


def test_patterns_stand_for_the_other_recipes_of_a_study(tmp_path: Path) -> None:
    claim = make_claim(quantity="test_accuracy_percent", ahead=["study_2"], behind=["study_*"])
    for recipes, told in (((), "study_*, which no recipe"), ((1,), "study_2, which is neither"), ((1, 2, 4), "")):
        for number in recipes:
            (tmp_path / "study").mkdir(exist_ok=True)
            recipe = {"data": {"batch_size": 1}, "reproduction": {"row": None, "recipe": f"study_{number}"}}
            (tmp_path / "study" / f"{number}.yaml").write_text(yaml.safe_dump(recipe))
        found, mistakes = read_claims(reports_in(tmp_path, claims={"claims": [vars(claim)]}))
        assert any(told in mistake for mistake in mistakes) if told else not mistakes
    assert found[0].behind == ["study_1", "study_4"]


def make_study_record(value: int, accuracy: float, **changes: Any) -> Record:
    study = {"recipe": f"ashraf_batch_size_{value}", "model__class_path": "cifar_hpc.models.AlexNet"}
    return make_record(None, accuracy=accuracy, epochs=100, **(study | changes))


def test_a_study_is_judged_network_by_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other_network = {"model__class_path": "cifar_hpc.models.ResNet50"}
    records = [make_study_record(value, 0.87 if value == 128 else 0.80) for value in (32, 64, 128, 256, 512)]
    records += [make_study_record(value, 0.50 if value == 128 else 0.90, **other_network) for value in (32, 64, 128)]
    for number, record in enumerate(records):  # where `make sweep` puts them, and where `fit` does
        name = "ashraf_batch_size" if number % 2 else record.name
        folder = tmp_path / "runs" / name / str(number) / "seed1"
        made_up.write(folder, record)
    monkeypatch.chdir(tmp_path)
    found = {claim.claim: claim for claim in claims.judge_everything(["ashraf"]).claims}
    alexnet, resnet = (found[f"ashraf_batch_size_128_best_{net}"] for net in ("alexnet", "resnet50"))
    assert (alexnet.verdict, len(alexnet.records)) == ("reproduced", 5)
    assert alexnet.measured == pytest.approx(7)
    assert resnet.verdict == "inconclusive"
    assert resnet.reason == "nothing is measured yet for ashraf_batch_size_256, ashraf_batch_size_512"
    assert resnet.commands[0] == ("python -m cifar_hpc fit -c ashraf_cifar10_resnet50 -c ashraf_batch_size_128")


def test_a_shorter_run_of_a_recipe_is_none_of_the_study() -> None:
    claim = make_claim(
        quantity="test_accuracy_percent", ahead=["ashraf_batch_size_128"], behind=["ashraf_batch_size_64"]
    )
    base = COLLECTION.row("ashraf_cifar10_alexnet")
    records = {r.name: [r] for r in (make_study_record(128, 0.9), make_study_record(64, 0.8, epochs__done=3))}
    assert evidence(claim, records, base).reason == "nothing is measured yet for ashraf_batch_size_64"

"""Configurations with one thing wrong: told in one sentence, or taken; nothing else."""

import copy
import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import COLLECTION, REPRODUCTIONS, ROOT
from tests.faults import holder_of, numbers, places
from tests.faults.conftest import Faulty

STUDY = next(iter(COLLECTION.recipes.values())).relative_to(REPRODUCTIONS).with_suffix("")
ROWS = [*{row.reproduction.report: name for name, row in COLLECTION.rows.items() if row.trains}.values(), str(STUDY)]
"""One of each report, and a value of a study."""
OVERLAYS = sorted((ROOT / "configs").glob("*.yaml"))
BRIEF = ["--data.sample=true", "--data.eval_batch_size=50", "--trainer.max_epochs=1", "--run_dir=run",
         "--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1", "--trainer.logger=false"]  # fmt: skip

VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2.5, 1e308, float("nan"), float("inf"),
    10**30, "", "x", "x" * 5_000, "null",
    "\x1b[31m", "\u202eabc", "a\x07b", "<script>|", [], {}, [[]], [None], {"a": 1},
    {"class_path": "os.system"}, {None: None},
    {"class_path": "torch.nn.Linear"}, {"class_path": 3},
    {"class_path": "torch.optim.SGD", "init_args": 5}, {1: 2},
    [1] * 1_000, "cifar_hpc.models.SmallCNN", "/dev/zero", ".", "!!python/name:os.system", "${oc.env:HOME}", {"": ""},
)  # fmt: skip

TEXTS: tuple[bytes, ...] = (
    b"[" * 100_000, b"{a: " * 100_000, b"- " * 50_000, b"a: &a [x,x]\n",
    b"!!python/object/apply:os.system ['touch ran']",
    b"a: !!python/object/new:os.system ['touch ran']", b"!!int x", b"a: 2024-99-99", b"a: !!timestamp x",
    b"\xff\xfe\x00",
    b"\x00", b"a: b: c", b"%YAML 9.9\n---\na: 1", b"a: 1\n---\nb: 2", b"a: *b", b"&a [*a]", b"? [a]\n: b", b"", b"#",
    b"1" * 5_000, b"a: " + b"1" * 5_000, b"<<: [1]", b"a: !!bool x", b"a: !!binary x", b"{a: 1, a: 2}", b"\t", b"null",
    b"x" * 2_000_000, b"a: &a {x: y}\nb: &b {<<: [*a, *a]}\nc: &c {<<: [*b, *b]}", b"trainer: null",
    b"reproduction: []",
    b"reproduction: {reported: true}", b"model: 5", b"data: []", b"seed_everything: {}", b"a: '" + b"[" * 90_000 + b"'",
    b"trainer: {callbacks: '" + b"[" * 90_000 + b"'}", b"model: " + b"{class_path: x, init_args: " * 200,
    b"a0: &a0 x\n" + b"\n".join(b"a%d: &a%d [%s]" % (i, i, b", ".join([b"*a%d" % (i - 1)] * 9)) for i in range(1, 30)),
)  # fmt: skip


def mutate(content: dict[str, Any], rng: random.Random) -> None:
    """Puts one wrong thing into a configuration."""
    groups = [key for key in content if key in ("trainer", "model", "data", "reproduction", "seed_everything")]
    group = rng.choice(groups)
    place = rng.choice(places({group: content[group]}))
    holder, last = holder_of(content, place), place[-1]
    kind = rng.randrange(6)
    if kind == 0:
        del holder[last]
    elif kind == 1 and isinstance(holder, dict):
        holder[rng.choice(("unknown", "Last", 5, None, "a.b", str(last) + "x"))] = holder.pop(last)
    else:
        holder[last] = copy.deepcopy(rng.choice(VALUES))


def spoil(text: bytes, rng: random.Random) -> bytes:
    """Cuts, changes or adds bytes."""
    content = bytearray(text)
    kind = rng.randrange(4)
    at = rng.randrange(len(content))
    if kind == 0:
        del content[at:]
    elif kind == 1:
        content[at] = rng.randrange(256)
    elif kind == 2:
        content[at:at] = rng.choice(TEXTS)[:200_000]
    else:
        lines = content.split(b"\n")
        rng.shuffle(lines)
        content = bytearray(b"\n".join(lines))
    return bytes(content)


@pytest.mark.parametrize("number", numbers(500, sample=40))
def test_a_mutated_configuration_is_told_or_taken(number: int, faulty: Faulty, tmp_path: Path) -> None:
    rng = random.Random(number)
    source = REPRODUCTIONS / f"{ROWS[0] if rng.random() < 0.7 else rng.choice(ROWS)}.yaml"
    text = source.read_bytes()
    if rng.random() < 0.7:
        content = yaml.safe_load(text)
        for _ in range(rng.choice((1, 1, 2))):
            mutate(content, rng)
        if rng.random() < 0.5 and isinstance(content.get("reproduction"), dict):
            content["reproduction"]["row"] = None
        text = yaml.safe_dump(content, allow_unicode=rng.random() < 0.5).encode()
    else:
        text = spoil(text, rng)
    file = tmp_path / source.name
    file.write_bytes(text)
    base = [] if source.stem in ROWS else ["-c", REPRODUCTIONS / "ghugre_sequential.yaml"]
    overlay = ["-c", rng.choice(OVERLAYS)] if rng.random() < 0.2 else []
    # What a large network takes for its row's batches is no fault; a batch size that was mutated stays.
    size = yaml.safe_load(source.read_bytes())["data"]["batch_size"]
    few = ["--data.batch_size=8"] if f"batch_size: {size}".encode() in text else []
    ended = faulty("fit", *base, "-c", file, *overlay, *BRIEF, *few).check()
    if ended.status == 2:
        assert not (tmp_path / "run" / "result.json").exists() or "run" in ended.err
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("number", numbers(len(TEXTS), sample=len(TEXTS)))
def test_a_text_that_is_no_configuration_is_told(number: int, faulty: Faulty, tmp_path: Path) -> None:
    (tmp_path / "odd.yaml").write_bytes(TEXTS[number])
    row = ["-c", REPRODUCTIONS / "ghugre_sequential.yaml"]
    for flag in ("-c", "--trainer", "--model", "--data"):
        ended = faulty("fit", *row, flag, "odd.yaml", *BRIEF).check()
        assert ended.status in (0, 2)
        assert len(ended.err.splitlines()) == 1 or ended.status == 0, ended.err
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("number", numbers(len(VALUES), sample=8))
def test_a_wrong_value_on_the_command_line_is_told(number: int, faulty: Faulty, tmp_path: Path) -> None:
    rng = random.Random(number)
    config = yaml.safe_load((REPRODUCTIONS / "ghugre_sequential.yaml").read_text())
    names = [".".join(map(str, place)) for place in places(config) if not any(isinstance(part, int) for part in place)]
    value = VALUES[number]
    text = value if isinstance(value, str) else yaml.safe_dump(value, default_flow_style=True).split("\n")[0]
    row = ["-c", REPRODUCTIONS / "ghugre_sequential.yaml"]
    faulty("fit", *row, *BRIEF, f"--{rng.choice(names)}={text}").check()
    faulty("fit", *row, *BRIEF, f"--{rng.choice(names)}", "[" * 100_000).check()

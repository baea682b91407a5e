"""Writes the tables of docs/scaling.md, between their marks, from docs/measurements and the model.

python docs/scripts/scaling_tables.py
"""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch

from cifar_hpc import models
from cifar_hpc.bench.peak import training_flops
from cifar_hpc.bench.scaling_model import (
    BACKWARD_SHARE,
    BYTES_PER_GRADIENT,
    Device,
    Link,
    rate_that_gives,
    strong_speed_up,
    weak_speed_up,
)
from cifar_hpc.bench.scaling_page import grid_text
from cifar_hpc.collection.folder import chosen
from cifar_hpc.report.markdown import between

DOCS = Path(__file__).parents[1]
DEVICES = [2**n for n in range(11)]
ETHERNET = Link(1.25e9, 50e-6)
"""10 Gbit/s, and a usual latency of TCP within a rack."""
INFINIBAND = Link(6.8e9, 2e-6)
"""FDR on four lanes: 56 Gbit/s, coded 64/66; ashraf's."""
P100_FLOPS, K40M_FLOPS, P100_BYTES, K40M_BYTES = 9.519e12, 4.291e12, 732e9, 288e9
"""As luo gives them, single precision."""
GPU_SHARE = 0.3
"""Of its peak that a GPU is assumed to reach."""
NETWORKS: dict[str, Callable[[], torch.nn.Module]] = {
    "SmallCNN": models.SmallCNN,
    "SeparableMiniXception": models.SeparableMiniXception,
    "PlainMiniXception": models.PlainMiniXception,
    "GoogLeNet": models.GoogLeNet,
    "ResNet18, ImageNet's stem": models.ResNet18,
    "ResNet18, CIFAR's stem": lambda: models.ResNet18(stem="cifar"),
    "VGG16": models.VGG16,
    "ResNet50, ImageNet's stem": models.ResNet50,
    "ResNet50, CIFAR's stem": lambda: models.ResNet50(stem="cifar"),
    "AlexNet, at 224 pixels": models.AlexNet,
}


def measured(name: str) -> Any:
    """A file of docs/measurements."""
    return json.loads((DOCS / "measurements" / f"{name}.json").read_text(encoding="utf-8"))


def table(heads: list[str], rows: list[list[str]]) -> str:
    """In Markdown, with numbers to the right."""
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def short(value: float) -> str:
    """In three digits."""
    return f"{value:,.0f}" if value >= 999.5 else f"{value:.3g}"


def grid(row: str) -> str:
    """The grid that was measured of a row."""
    return f"```\n{grid_text(measured(f'scaling_{row}'))}\n```"


def two_processes() -> str:
    """What the model says of two processes here, from times of one, and what they did."""
    found, rows = measured("scaling_machine"), []
    exchanges = {(each["row"], each["precision"]): each for each in measured("scaling_exchange")["exchanges"]}
    for step in found["steps"]:
        total, half = found["sums_ms"][step["row"]], step["half_beside_another_ms"]
        exposed = max(0.0, total - BACKWARD_SHARE * half)
        between = exchanges[step["row"], step["precision"]]
        waited = between["wait_ms"] + between["sum_ms"]
        ddp = next(
            point
            for point in measured(f"scaling_{step['row']}")["points"]
            if (point["precision"], point["processes"], point["threads"]) == (step["precision"], 2, 1)
        )
        low, high = ddp["speed_up_quartiles"]
        rows.append(
            [
                step["row"],
                step["precision"],
                *(f"{step[name]:.1f}" for name in ("whole_ms", "half_ms", "half_beside_another_ms")),
                f"{total:.1f}",
                f"{between['wait_ms']:.1f} + {between['sum_ms']:.1f}",
                f"{step['whole_ms'] / (half + total):.2f}–{step['whole_ms'] / (half + exposed):.2f}",
                f"{step['whole_ms'] / (half + waited):.2f}",
                f"{ddp['speed_up']:.2f} ({low:.2f}–{high:.2f})",
            ]
        )
    times = ["whole batch", "half of it", "half, beside another", "sum alone", "between steps: wait + sum"]
    return table(["row", "precision", *times, "model", "model, exchange as between steps", "measured"], rows)


@cache
def described() -> list[dict[str, Any]]:
    """Each network's size, work, and speed on one core."""
    found = []
    for each in measured("scaling_networks")["networks"]:
        with torch.device("meta"):
            network = NETWORKS[each["network"]]()
        parameters = sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
        batch = int(chosen().row(each["row"]).config["data"]["batch_size"])
        found.append({**each, "batch": batch, "parameters": parameters, "flops": training_flops(network)})
    return found


def networks() -> str:
    """Sizes, work and speeds."""
    return table(
        ["network", "batch", "parameters", "gradients, MB", "training, GFLOP an image", "images/s of one core"],
        [
            [
                each["network"],
                str(each["batch"]),
                f"{each['parameters']:,}",
                f"{BYTES_PER_GRADIENT * each['parameters'] / 1e6:.2f}",
                short(each["flops"] / 1e9),
                short(each["images_per_second"]),
            ]
            for each in described()
        ],
    )


def predictions(device_of: Callable[[dict[str, Any]], Device], link: Link, weak: bool) -> str:
    """Speed-ups of each network; exchange after and during the backward pass."""
    rule, rows = weak_speed_up if weak else strong_speed_up, []
    for each in described():
        cells = []
        for n in DEVICES:
            model = (each["batch"], n, BYTES_PER_GRADIENT * each["parameters"], device_of(each), link)
            after, during = (short(rule(*model, overlap)) for overlap in (False, True))
            even = weak or each["batch"] % n == 0
            cells.append((after if after == during else f"{after}–{during}") if even else "")
        rows.append([each["network"], *cells])
    return table(["network", *map(str, DEVICES)], rows)


def one_core(each: dict[str, Any]) -> Device:
    """As measured."""
    return Device(each["images_per_second"])


def one_gpu(each: dict[str, Any]) -> Device:
    """As assumed."""
    return Device(GPU_SHARE * P100_FLOPS / each["flops"])


def ashraf() -> str:
    """The speed of one GPU at which ResNet-50 would scale as ashraf says."""
    rows = []
    for each in described():
        if not each["network"].startswith("ResNet50"):
            continue
        for weak in (False, True):
            for speed_up in (3.0, 3.5):
                cells = []
                for overlap in (False, True):
                    rate = rate_that_gives(
                        speed_up, 128, 4, BYTES_PER_GRADIENT * each["parameters"], INFINIBAND, weak, overlap
                    )
                    cells.append(f"{rate:,.0f} ({100 * rate * each['flops'] / P100_FLOPS:.0f} %)")
                rows.append([each["network"], "each GPU's" if weak else "all GPUs'", f"{speed_up:g}", *cells])
    return table(["network", "batch of 128 is", "speed-up", "exchange after", "exchange during"], rows)


def luo() -> str:
    """What luo's two times imply of a step, and of the work done in it."""
    rows, steps = [], 50_000 // 100
    seconds = {}
    for gpu, peak in (("p100", P100_FLOPS), ("k40m", K40M_FLOPS)):
        reported = chosen().row(f"luo_workload2_{gpu}").reproduction.reported
        seconds[gpu] = (reported.training_seconds or 0) / (reported.epochs or 1) / steps
        rate = 100 / seconds[gpu]
        with torch.device("meta"):
            work = rate * training_flops(models.VGG16())
        rows.append(
            [
                gpu.upper(),
                f"{1000 * seconds[gpu]:.2f}",
                f"{rate:,.0f}",
                f"{work / 1e12:.1f}",
                f"{peak / 1e12:.2f}",
                f"{work / peak:.2f}",
            ]
        )
    ratio = seconds["k40m"] / seconds["p100"]
    explained = []
    for what, faster in (("FLOP/s", P100_FLOPS / K40M_FLOPS), ("bytes/s of memory", P100_BYTES / K40M_BYTES)):
        fixed = (faster * seconds["p100"] - seconds["k40m"]) / (faster - 1)
        explained.append([what, f"{faster:.2f}", f"{ratio:.2f}", f"{1000 * fixed:.1f}"])
    heads = ["GPU", "ms a step", "images/s", "TFLOP/s that VGG16 needs", "its peak", "needed over peak"]
    return (
        table(heads, rows)
        + "\n\n"
        + table(
            ["if time goes with", "P100 over K40m", "reported", "fixed time of a step that explains it, ms"], explained
        )
    )


TABLES: dict[str, Callable[[], str]] = {
    "grid ghugre_sequential": lambda: grid("ghugre_sequential"),
    "grid shahrin_table2_row3": lambda: grid("shahrin_table2_row3"),
    "two processes": two_processes,
    "networks": networks,
    "cores, strong": lambda: predictions(one_core, ETHERNET, weak=False),
    "cores, weak": lambda: predictions(one_core, ETHERNET, weak=True),
    "gpus, strong": lambda: predictions(one_gpu, INFINIBAND, weak=False),
    "gpus, weak": lambda: predictions(one_gpu, INFINIBAND, weak=True),
    "ashraf": ashraf,
    "luo": luo,
}


def with_tables(page: str) -> str:
    """The page with its tables as they should be."""
    for name, make in TABLES.items():
        page = between(page, f"<!-- {name} -->", "<!-- end -->", make())
    return page


if __name__ == "__main__":
    page = DOCS / "scaling.md"
    page.write_text(with_tables(page.read_text(encoding="utf-8")), encoding="utf-8")

"""The command `doctor`: what this machine offers, and what is wrong with it."""

import argparse
import os
import sys
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cifar_hpc import machine
from cifar_hpc.data import arrays
from cifar_hpc.data.datasets import DATASETS
from cifar_hpc.errors import UserError
from cifar_hpc.output import tell, write_json_output
from cifar_hpc.records import environment

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "KMP_AFFINITY",
    "GOMP_CPU_AFFINITY",
    "CUDA_VISIBLE_DEVICES",
)
_OPTIONAL = ("deepspeed", "mpi4py", "dask")
_REFUSED_LIGHTNING = ("2.6.2", "2.6.3")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `doctor`."""
    parser.add_argument("--json", metavar="FILE", help="write JSON to FILE (- for standard output)")
    parser.add_argument("--root", type=Path, help="where datasets live (default: CIFAR_HPC_DATA or the cache)")


def run(arguments: argparse.Namespace) -> int:
    """Carries out `doctor`."""
    return command(arguments.json, arguments.root)


def command(json_file: str | None, root: Path | None) -> int:
    """Prints or writes the findings.

    Returns:
        0 when nothing is wrong, 1 when something is.
    """
    found = examine(root)
    if json_file is not None:
        write_json_output(found, json_file)
    if json_file != "-":
        tell(as_text(found))
    return 1 if found["problems"] else 0


def examine(root: Path | None) -> dict[str, Any]:
    """Collects the findings as plain data; `problems` holds one sentence each."""
    with machine.importing_for_good():
        import torch

    problems = []
    cores, threads = machine.usable_cores(), torch.get_num_threads()
    if threads > cores:
        problems.append(f"torch would use {threads} threads on {cores} cores; set trainer.threads to {cores}")
    if threads < cores and os.environ.get("OMP_NUM_THREADS"):
        problems.append(
            f"OMP_NUM_THREADS={os.environ['OMP_NUM_THREADS']} leaves {cores - threads} of {cores} cores idle; "
            "unset it or set trainer.threads"
        )
    software = environment.software()
    if software.get("lightning") in _REFUSED_LIGHTNING:
        problems.append(f"lightning {software['lightning']} was a malicious release; install 2.6.6 or later")
    gpus = [_gpu(index) for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    data = {name: _dataset(name, root, problems) for name in DATASETS}
    missing = [name for name in DATASETS if not arrays.is_stored(name, root)]
    if len(missing) == len(DATASETS):  # with one of the two, the rows of that one can run
        folder = arrays.data_root(root)
        problems += [
            f"there is no {name} under {folder}; run `{arrays.fetch_command(name, folder)}`" for name in missing
        ]
    return {
        "python": sys.version.split()[0],
        "cpu": machine.cpu_model(),
        "cores": cores,
        "threads": threads,
        "memory_gib": machine.memory_gib(),
        "instructions": machine.instructions(),
        "usable_instructions": list(machine.usable_instructions()),
        "fast_precision": asdict(machine.choose_precision("auto", on_cpu=not gpus)),
        "gpus": gpus,
        "environment": {name: os.environ[name] for name in _THREAD_VARIABLES if name in os.environ},
        "software": software,
        "optional": {name: _installed(name) for name in _OPTIONAL},
        "data_root": str(arrays.data_root(root)),
        "data": data,
        "problems": problems,
    }


def as_text(found: dict[str, Any]) -> str:
    """Formats the findings for a terminal."""
    instructions = [name for name, there in found["instructions"].items() if there]
    missing = [name for name, there in found["instructions"].items() if not there]
    software, fast = found["software"], found["fast_precision"]
    lines = [
        f"processor    {found['cpu']}, {found['cores']} cores, {found['memory_gib']} GiB",
        f"instructions {', '.join(instructions) or 'none known'}" + (f" (not {', '.join(missing)})" if missing else ""),
        *_limited(found),
        f"fast         -c fast takes {fast['name']}: {fast['why']}",
        f"threads      {found['threads']} in each process",
        f"GPUs         {', '.join(gpu['name'] for gpu in found['gpus']) or 'none that torch can use'}",
        "software     " + ", ".join(f"{k} {v}" for k, v in software.items() if v and not k.startswith("git")),
        "optional     " + ", ".join(f"{k} {v or 'not installed'}" for k, v in found["optional"].items()),
        f"data         {found['data_root']}",
        *(f"             {name}: {state}" for name, state in found["data"].items()),
    ]
    lines += [f"environment  {name}={value}" for name, value in found["environment"].items()]
    lines += [f"problem      {problem}" for problem in found["problems"]] or ["problems     none"]
    return "\n".join(lines)


def _limited(found: dict[str, Any]) -> list[str]:
    """Writes a line on what ONEDNN_MAX_CPU_ISA takes away; none where it takes nothing."""
    left_out = [name for name, there in found["instructions"].items() if there]
    left_out = [name for name in left_out if name not in found["usable_instructions"]]
    return [f"             left out by ONEDNN_MAX_CPU_ISA: {', '.join(left_out)}"] if left_out else []


def _gpu(index: int) -> dict[str, Any]:
    import torch

    properties = torch.cuda.get_device_properties(index)
    return {
        "name": properties.name,
        "memory_gib": round(properties.total_memory / 2**30, 1),
        "bf16": torch.cuda.is_bf16_supported(),
    }


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _dataset(name: str, root: Path | None, problems: list[str]) -> str:
    if not arrays.is_stored(name, root):
        return "not fetched"
    try:
        arrays.load(name, root)
    except UserError as error:
        problems.append(str(error))
        return "damaged"
    return "sound"

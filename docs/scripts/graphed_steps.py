"""What a CUDA graph of a training step gives: seconds of an epoch's training, replayed, launched one by one, and stock.

    python docs/scripts/graphed_steps.py ROW -c gpu

Each way is a `fit` of three epochs in a process of its own; shown are the last two, which no first step slows down.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

_LAUNCHED = (
    "from cifar_hpc.speed import step_loop; step_loop.can_replay; "  # fails where the name is gone
    "step_loop.can_replay = lambda *arguments: False; "
)
_FIT = "import sys; from cifar_hpc.cli import main; sys.exit(main(sys.argv[1:]))"
_WAYS = {
    "replayed": ("", []),
    "launched one by one": (_LAUNCHED, []),
    "stock": ("", ["--trainer.kernels", "stock"]),
}


def main(row: str, flags: list[str]) -> None:
    """Measures each way once, one after another."""
    for way, (before, more) in _WAYS.items():
        with tempfile.TemporaryDirectory() as folder:
            run_dir = Path(folder) / "run"
            arguments = ["fit", "-c", row, *flags, *more, "--trainer.max_epochs", "3", "--run_dir", str(run_dir)]
            subprocess.run([sys.executable, "-c", before + _FIT, *arguments], check=True, stdout=subprocess.DEVNULL)
            found = json.loads((run_dir / "result.json").read_text())
            seconds = [f"{point['train_seconds']:.2f}" for point in found["curve"][1:]]
            print(f"{row:32} {way:20} {' '.join(seconds)} s an epoch", flush=True)
    print(found["hardware"]["gpu"], found["hardware"]["precision"])


main(sys.argv[1], sys.argv[2:])

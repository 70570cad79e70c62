"""The card of a run, README.md: what it is, for whoever finds the folder, and YAML by which the hub shows its tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from xtl.files import write_text
from xtl.foreign import for_markdown
from xtl.runs.folder import TABLES
from xtl.runs.journal import SUMS, read_sums

CARD = "README.md"
GROUP = ["model", "task", "source_lang", "target_lang"]
CELL = ["module", "source_layer", "target_layer"]


def write_card(folder: Path, manifest: dict[str, Any], n_done: int) -> Path:
    """Write the card of a run, whole, from what is in its tables now.

    Args:
        folder: of the run.
        manifest: the run's.
        n_done: pairs that are whole.

    Raises:
        InputError: it can't be written.
    """
    return write_text(folder / CARD, run_card(folder, manifest, n_done), make_folder=False)


def run_card(folder: Path, manifest: dict[str, Any], n_done: int) -> str:
    """The card's text."""
    study = manifest["study"]
    asked = [f"{task['name']} ({', '.join(task['directions'])})" for task in study["tasks"]]
    lines = [
        "# A run of xtl",
        "",
        "Cross-lingual latent transplantation ([arXiv 2412.12686](https://arxiv.org/abs/2412.12686)): a row of `cells` is one "
        "transplant of one question, a row of `vanilla` the same question without one.",
        "",
        f"- models: {for_markdown(', '.join(_model(manifest, model) for model in study['models']))}",
        f"- tasks: {for_markdown('; '.join(asked))}",
        f"- score: {for_markdown(study.get('score', 'likelihood'))}",
        f"- modules: {for_markdown(', '.join(study.get('modules', [])))}",
        *([f"- **control**: {for_markdown(study['control'])}, not the real run"] if study.get("control") else []),
        f"- pairs: {n_done} of {manifest['pairs']}",
        "",
        *_figures(folder),
        "```python",
        "import xtl",
        "",
        'run = xtl.open_run("this folder")  # xarray: example x module x source_layer x target_layer',
        "```",
        "",
        "Any reader of Parquet reads the tables; `study.yaml` says what was asked, `manifest.json` of which weights.",
    ]
    return front_matter(manifest) + "\n".join(lines) + "\n"


def front_matter(manifest: dict[str, Any]) -> str:
    """The YAML that the hub reads: a configuration a table."""
    configs = [{"config_name": table, "data_files": f"{table}/*.parquet"} for table in TABLES]
    about = {"pretty_name": "xtl: " + ", ".join(str(task["name"]) for task in manifest["study"]["tasks"]),
             "tags": ["xtl", "activation-patching", "interpretability"], "configs": configs}  # fmt: skip
    return "---\n" + yaml.safe_dump(about, sort_keys=False, allow_unicode=True) + "---\n\n"


def _model(manifest: dict[str, Any], spec: dict[str, Any]) -> str:
    """A model's name, with the beginning of its weights' hash where one of its name was loaded."""
    known = [
        one for one in manifest["models"].values() if one.get("name") == spec["name"] and one.get("weights_sha256")
    ]
    return f"{spec['name']} (weights {str(known[0]['weights_sha256'])[:12]})" if known else str(spec["name"])


def _figures(folder: Path) -> list[str]:
    """A table of what came of it, a row a model, task and direction; nothing where there are no gains."""
    cells, vanilla = (
        _means(folder, "cells", [*GROUP, *CELL], "gain"),
        _means(folder, "vanilla", GROUP, "vanilla_correct"),
    )
    if cells is None:
        return []
    rows = ["| model | task | direction | n | vanilla right | mean gain of all cells | best cell (in sample: too high) |",
            "|---|---|---|---|---|---|---|"]  # fmt: skip
    for key, part in cells.groupby(GROUP, sort=False):
        best = part.sort_values("mean", ascending=False, kind="stable").iloc[0]
        right = "" if vanilla is None else _right(vanilla, key)
        cell = f"{best['module']} {best['source_layer']} -> {best['target_layer']}: {best['mean']:+.3g}"
        model, task, source, target = key
        words = [model, task, f"{source}->{target}", part["count"].max(), right, f"{part['mean'].mean():+.3g}", cell]
        rows.append("| " + " | ".join(map(for_markdown, words)) + " |")
    return [*rows, "", "Whether a gain is real, a control and held-out cells say (`xtl summary`), not this table.", ""]


def _right(vanilla: pd.DataFrame, key: Any) -> str:
    found = vanilla[(vanilla[GROUP] == list(key)).all(axis=1)]["mean"]
    return "" if found.empty else f"{found.iloc[0]:.0%}"


def _means(folder: Path, table: str, keys: list[str], value: str) -> pd.DataFrame | None:
    """Mean and count of a column by keys, file by file; None where no file has it."""
    parts = []
    ours = [folder / file for file in sorted(read_sums(folder / SUMS)) if file.startswith(f"{table}/")]
    for file in ours:
        if value in pq.read_schema(file).names:
            read = pq.read_table(file, columns=[*keys, value])
            read = read.set_column(len(keys), value, read[value].cast(pa.float64()))
            parts.append(read.group_by(keys).aggregate([(value, "sum"), (value, "count")]).to_pandas())
    if not parts:
        return None
    sums = pd.concat(parts).groupby(keys, sort=False)[[f"{value}_sum", f"{value}_count"]].sum().reset_index()
    return sums.assign(mean=sums[f"{value}_sum"] / sums[f"{value}_count"], count=sums[f"{value}_count"])

"""Tables as the paper prints them: a row a method, a column a language, then their mean and spread."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from xtl.errors import InputError, check_choice
from xtl.protocols.run import language_of
from xtl.runs.files import write_text

FORMATS = (".csv", ".tex")


def accuracy_table(results: xr.Dataset, measure: str = "accuracy") -> pd.DataFrame:
    """Vanilla and each cell, by language: for results of few cells (`fixed`, `select`).

    Args:
        results: from a protocol.
        measure: "accuracy" (percent right; for a score that is not right or wrong its mean, in percent), "score" (as it is) or
            "similarity" (of the distribution over options, in percent).

    Returns:
        A row for vanilla, for each cell and for its difference, and `n`; a column a language, `mean` and `sd` (over languages).

    Raises:
        InputError: the results don't have the measure.
    """
    cells, vanilla, factor = values(results, measure)
    rows = {"vanilla": by_language(results, vanilla, factor)}
    for name, column in _cells(cells):
        rows[name] = by_language(results, column, factor)
        rows[f"{name}, gain"] = rows[name] - rows["vanilla"]
    return finish(results, rows)


def upper_bound(results: xr.Dataset) -> pd.DataFrame:
    """Instance-aware upper bounds, by module and language: an instance counts if some cell of a set solves it.

    With no correction for chance: the more cells, the more are solved by luck (`xtl.stats.layer_upper_bounds` takes it off).

    Args:
        results: from `pairwise`, with right or wrong answers.

    Returns:
        In percent: vanilla; for each module (and for both) the mean over source rows, the best one, the same for target columns,
        and the whole map; and `n`. A column a language, `mean` and `sd` (over languages).

    Raises:
        InputError: results without right and wrong.
    """
    if "correct" not in results:
        raise InputError("results have no variable 'correct': an upper bound counts instances that are right or wrong")
    correct = results["correct"]
    rows = {"vanilla": by_language(results, results["vanilla_correct"].values)}
    modules = [[str(name)] for name in correct["module"].values]
    if len(modules) > 1:
        modules.append([name for (name,) in modules])
    for names in modules:
        part = correct.sel(module=names)
        label = " or ".join(names)
        for dim, other, what in (
            ("source_layer", "target_layer", "source row"),
            ("target_layer", "source_layer", "target column"),
        ):
            solved = part.any([other, "module"]).transpose("example", dim).values
            each = pd.DataFrame({index: by_language(results, solved[:, index]) for index in range(solved.shape[1])})
            rows[f"{label}, {what} (mean)"] = each.mean(axis=1)
            rows[f"{label}, {what} (best)"] = each.max(axis=1)
        rows[f"{label}, whole map"] = by_language(results, part.any(["module", "source_layer", "target_layer"]).values)
    return finish(results, rows)


def values(results: xr.Dataset, measure: str) -> tuple[xr.DataArray, np.ndarray, float]:
    """A measure of the cells and of vanilla, and what to multiply it by: 100 for percent."""
    names = {"accuracy": ("correct", "score"), "score": ("score",), "similarity": ("similarity",)}
    found = [name for name in names[check_choice("measure", measure, names)] if name in results]
    in_nats = results.attrs.get("score_unit") == "nats"
    if not found or (measure == "accuracy" and found[0] == "score" and in_nats):
        raise InputError(f"results have no {measure}; they have: {', '.join(map(str, results.data_vars))}")
    return results[found[0]], results[f"vanilla_{found[0]}"].values, 1.0 if measure == "score" else 100.0


def by_language(results: xr.Dataset, one_each: np.ndarray, factor: float = 100.0) -> pd.Series:
    """Mean over the instances of each language, times `factor`."""
    each = pd.Series(factor * np.asarray(one_each, dtype=float))
    return each.groupby(language_of(results).values, sort=False).mean()


def finish(results: xr.Dataset, rows: dict[str, pd.Series]) -> pd.DataFrame:
    """The table, with mean and spread over languages and the number of instances."""
    table = pd.DataFrame(rows).T
    languages = list(table.columns)
    counts = pd.Series(language_of(results).values).value_counts()
    table["mean"] = table[languages].mean(axis=1)
    table["sd"] = table[languages].std(axis=1, ddof=1) if len(languages) > 1 else np.nan
    table.loc["n"] = [*(counts[language] for language in languages), counts.sum(), np.nan]
    table.attrs = {
        name: results.attrs[name] for name in ("task", "split", "score", "model", "protocol") if name in results.attrs
    }
    return table


def _cells(cells: xr.DataArray) -> list[tuple[str, np.ndarray]]:
    """Each cell's name and values."""
    columns = cells.stack(cell=["module", "source_layer", "target_layer"]).transpose("example", "cell")
    names = ["chosen" if m == "chosen" else f"{m} {i} -> {j}" for m, i, j in columns["cell"].values]
    return [(name, columns.values[:, index]) for index, name in enumerate(names)]


def write_table(table: pd.DataFrame, path: str | Path) -> Path:
    """Write a table as CSV (full precision) or LaTeX (`booktabs`, one decimal), by the file's suffix, whole or not at all.

    Raises:
        InputError: another suffix.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise InputError(f"path {str(path)!r} has no known suffix; valid: {', '.join(FORMATS)}")
    if path.suffix == ".csv":
        text = table.to_csv(index_label="method")
    else:
        caption = ", ".join(str(value) for value in table.attrs.values())
        text = (
            table.style.format(precision=1, na_rep="--", escape="latex")
            .format_index(escape="latex", axis=0)
            .format_index(escape="latex", axis=1)
            .to_latex(hrules=True, caption=_escape(caption) or None, position_float="centering")
        )
    return write_text(path, text)


def _escape(text: str) -> str:
    return "".join("\\" + char if char in "&%$#_{}" else char for char in text)

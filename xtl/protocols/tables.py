"""Tables as the paper prints them: a row a method, a column a language, then their mean and spread."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from xtl.errors import InputError, check_choice, known_keywords
from xtl.files import write_text
from xtl.foreign import for_latex, frame_for_csv
from xtl.protocols.run import language_of
from xtl.results import Maps, as_results
from xtl.results.units import UNITS

FORMATS = (".csv", ".tex")


@known_keywords()
def accuracy_table(results: Maps, measure: str = "accuracy") -> pd.DataFrame:
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
    results = as_results(results)
    cells, vanilla, factor = values(results, measure)
    rows = {"vanilla": by_language(results, vanilla, factor)}
    for name, column in _cells(cells):
        rows[name] = by_language(results, column, factor)
        rows[f"{name}, gain"] = rows[name] - rows["vanilla"]
    return finish(results, rows, measure)


@known_keywords()
def upper_bound(results: Maps, measure: str = "accuracy") -> pd.DataFrame:
    """Instance-aware upper bounds, by module and language: an instance counts if some cell of a set solves it.

    Of a score that is not right or wrong, an instance counts with the best of the set's cells. There is no correction for chance:
    the more cells, the more are solved by luck (`xtl.stats.layer_upper_bounds` takes it off).

    Args:
        results: from `pairwise`.
        measure: as for `accuracy_table`.

    Returns:
        In percent (of a score in nats: in nats): vanilla; for each module (and for both) the mean over source rows, the best one,
        the same for target columns, and the whole map; and `n`. A column a language, `mean` and `sd` (over languages).

    Raises:
        InputError: the results don't have the measure.
    """
    results = as_results(results)
    cells, vanilla, factor = values(results, measure)
    rows = {"vanilla": by_language(results, vanilla, factor)}
    modules = [[str(name)] for name in cells["module"].values]
    if len(modules) > 1:
        modules.append([name for (name,) in modules])
    for names in modules:
        part = cells.sel(module=names)
        label = " or ".join(names)
        for dim, other, what in (
            ("source_layer", "target_layer", "source row"),
            ("target_layer", "source_layer", "target column"),
        ):
            best = part.max([other, "module"]).transpose("example", dim).values
            each = pd.DataFrame({index: by_language(results, best[:, index], factor) for index in range(best.shape[1])})
            rows[f"{label}, {what} (mean)"] = each.mean(axis=1)
            rows[f"{label}, {what} (best)"] = each.max(axis=1)
        whole = part.max(["module", "source_layer", "target_layer"])
        rows[f"{label}, whole map"] = by_language(results, whole.values, factor)
    return finish(results, rows, measure)


def values(results: xr.Dataset, measure: str) -> tuple[xr.DataArray, np.ndarray, float]:
    """A measure of the cells and of vanilla, and what to multiply it by: 100 for percent."""
    names = {"accuracy": ("correct", "score"), "score": ("score",), "similarity": ("similarity",)}
    found = [name for name in names[check_choice("measure", measure, names)] if name in results]
    in_nats = results.attrs.get("score_unit") in UNITS.values()
    if not found or (measure == "accuracy" and found[0] == "score" and in_nats):
        raise InputError(f"results have no {measure}; they have: {', '.join(map(str, results.data_vars))}")
    return results[found[0]], results[f"vanilla_{found[0]}"].values, 1.0 if measure == "score" else 100.0


def by_language(results: xr.Dataset, one_each: np.ndarray, factor: float = 100.0) -> pd.Series:
    """Mean over the instances of each language, times `factor`."""
    each = pd.Series(factor * np.asarray(one_each, dtype=float))
    return each.groupby(language_of(results).values, sort=False).mean()


def measure_of(results: xr.Dataset, score: str | None) -> str:
    """What a table of results shows that were scored so: `similarity`, `accuracy`, or the `score` itself where it is in nats."""
    if score == "distribution":
        return "similarity"
    return "score" if "correct" not in results and results.attrs.get("score_unit") in UNITS.values() else "accuracy"


def finish(results: xr.Dataset, rows: dict[str, pd.Series], measure: str = "accuracy") -> pd.DataFrame:
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
    if measure == "similarity":
        table.attrs["score"] = "similarity to the human distribution (100 x (1 - Jensen-Shannon distance))"
    return table


def _cells(cells: xr.DataArray) -> list[tuple[str, np.ndarray]]:
    """Each cell's name and values."""
    columns = cells.stack(cell=["module", "source_layer", "target_layer"]).transpose("example", "cell")
    names = ["chosen" if m == "chosen" else f"{m} {i} -> {j}" for m, i, j in columns["cell"].values]
    return [(name, columns.values[:, index]) for index, name in enumerate(names)]


@known_keywords()
def write_table(table: pd.DataFrame, path: str | Path) -> Path:
    """Write a table as CSV (full precision) or LaTeX (`booktabs`, one decimal), by the file's suffix, whole or not at all.

    Raises:
        InputError: another suffix.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise InputError(f"path {str(path)!r} has no known suffix; valid: {', '.join(FORMATS)}")
    if path.suffix == ".csv":
        text = frame_for_csv(table).to_csv(index_label="method")
    else:
        caption = ", ".join(str(value) for value in table.attrs.values())
        text = (
            table.style.format(precision=1, na_rep="--", escape="latex")
            .format_index(for_latex, axis=0)
            .format_index(for_latex, axis=1)
            .to_latex(hrules=True, caption=for_latex(caption) or None, position_float="centering")
        )
    return write_text(path, text)

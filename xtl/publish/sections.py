"""What a report shows of results: a section a model, task and direction, with a map a module and measure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from xtl.errors import InputError
from xtl.languages import arrow
from xtl.publish.pack import pack, quantised, shares
from xtl.publish.twins import Twin, make_twins
from xtl.results import GAIN_DIMS, Maps, as_parts, per_example, score_unit, with_directions
from xtl.results.details import OPTION, option_texts
from xtl.stats.examples import split_groups

MEASURES = {
    "gain": "mean gain",
    "accuracy": "change of accuracy",
    "changed": "share of answers that changed",
}
"""What a map can show, and what to call it."""
MAX_TEXT = 4000
"""Characters of a prompt or an answer that the page keeps."""


@dataclass(frozen=True)
class Section:
    """The examples of one model, task and direction.

    Attributes:
        model, task, direction: names; "" for an unknown model or task.
        languages: source and target language.
        data: the results, dims `example, module, source_layer, target_layer`.
        maps: by measure (a key of `MEASURES`), means `[module, source_layer, target_layer]` over the examples.
        unit: of the gain.
        control: results of the control of these examples; None where there is none.
        twins: by measure, real minus control.
    """

    model: str
    task: str
    direction: str
    languages: tuple[str, str]
    data: xr.Dataset = field(repr=False)
    maps: dict[str, Float[np.ndarray, "modules sources targets"]] = field(repr=False)
    unit: str
    control: xr.Dataset | None = field(default=None, repr=False)
    twins: dict[str, Twin] = field(default_factory=dict, repr=False)

    @property
    def key(self) -> tuple[str, str, str]:
        """Model, task and direction."""
        return self.model, self.task, self.direction

    @property
    def n(self) -> int:
        """Examples."""
        return self.data.sizes["example"]

    @property
    def modules(self) -> list[str]:
        """Names of the modules."""
        return [str(name) for name in self.data["module"].values]

    @property
    def layers(self) -> tuple[list[int], list[int]]:
        """Source layers and target layers."""
        return self.data["source_layer"].values.tolist(), self.data["target_layer"].values.tolist()

    @property
    def name(self) -> str:
        """Task and direction, as a heading."""
        return ", ".join(part for part in (self.task, arrow(self.direction)) if part)

    @property
    def chance(self) -> float | None:
        """Share that guessing among the options gets right; None where answers are not options."""
        if "options" not in self.data.coords or "vanilla_correct" not in self.data:
            return None
        counts = [len(options) for options in _options(self.data)]
        return float(np.mean([1 / count for count in counts])) if min(counts, default=0) > 1 else None


def make_sections(results: Maps, control: Maps | None = None) -> list[Section]:
    """The sections of results, in their order.

    Args:
        results: from `xtl.sweep`, `xtl.sweep_many` or `xtl.open_run`; several Datasets may have other modules, layers or scores.
        control: of the same examples and cells, from `xtl.controls.run` or a run made with `--control`; a section that it does
            not hold has no twins.

    Raises:
        InputError: nothing in it that a map can show; a control of none of the sections, or of other examples or cells.
    """
    sections = [section for part in as_parts(results) for section in _sections_of(part)]
    if control is None:
        return sections
    held = {section.key: section for part in as_parts(control) for section in _sections_of(part)}
    if not any(section.key in held for section in sections):
        theirs, ours = ("; ".join(dict.fromkeys(", ".join(filter(None, key)) for key in keys)) for keys in (
            held, (section.key for section in sections)))  # fmt: skip
        raise InputError(f"control is of {theirs or 'nothing'}, and not of the results' {ours}")
    return [_with_control(section, held[section.key]) if section.key in held else section for section in sections]


def _with_control(section: Section, control: Section) -> Section:
    """A section with its control and twins, once that is known to be its control."""
    if "gain" in section.data:
        split_groups(section.data, control.data, by=None, measures=(), min_instances=1)
    twins = make_twins(section.data, control.data, section.maps, control.maps)
    return replace(section, control=control.data, twins=twins)


def _sections_of(results: xr.Dataset) -> Iterable[Section]:
    shown = next((name for name in ("gain", "correct", "text") if name in results), "gain")
    data = with_directions(results, measure=shown)
    if "task" not in data.coords:
        data = data.assign_coords(task=str(data.attrs.get("task") or ""))
    tasks = per_example(data, "task")
    keys = list(zip(tasks, map(str, data["direction"].values), strict=True))
    for task, direction in dict.fromkeys(keys):
        chosen = [k for k, key in enumerate(keys) if key == (task, direction)]
        part = data.isel(example=chosen).load()
        languages = tuple(per_example(part, name)[0] for name in ("source_lang", "target_lang"))
        model = str(results.attrs.get("model") or "")
        yield Section(model, task, direction, languages, part, _maps(part), score_unit(results))  # type: ignore[arg-type]


def _maps(part: xr.Dataset) -> dict[str, np.ndarray]:
    maps = {}
    if "gain" in part:
        maps["gain"] = part["gain"].astype("float64").mean("example", skipna=True).values
    if "correct" in part and "vanilla_correct" in part:
        vanilla = part["vanilla_correct"].astype("float64").mean("example")
        maps["accuracy"] = (part["correct"].astype("float64").mean("example") - vanilla).values
    if not maps and "text" in part:
        maps["changed"] = (part["text"] != part["vanilla_text"]).mean("example").values
    if not maps:
        raise InputError("results have nothing to map: no 'gain', no 'correct' with 'vanilla_correct', no 'text'")
    return {name: np.asarray(values, dtype="float64") for name, values in maps.items()}


def overview(sections: Sequence[Section], kept: Sequence[int]) -> str:
    """The maps of all sections and what they are, packed; what the page needs before anything is clicked."""
    arrays: dict[str, np.ndarray] = {}
    described = []
    for index, (section, n_kept) in enumerate(zip(sections, kept, strict=True)):
        vanilla = section.data["vanilla_correct"].values if "vanilla_correct" in section.data else None
        described.append(
            {
                "name": section.name,
                "direction": section.direction,
                "languages": [code.replace("_", "-") for code in section.languages],  # as HTML writes them
                "model": section.model,
                "task": section.task,
                "modules": section.modules,
                "sources": section.layers[0],
                "targets": section.layers[1],
                "unit": section.unit,
                "n": section.n,
                "kept": n_kept,
                "vanilla": None if vanilla is None else int(vanilla.sum()),
                "measures": list(section.maps),
                "chosen": _chosen(section),
                "control": "" if section.control is None else str(section.control.attrs.get("control") or "control"),
            }
        )
        arrays |= {f"{index}/{name}": values.astype("float32").ravel() for name, values in section.maps.items()}
        for name, twin in section.twins.items():
            arrays[f"{index}/{name}/twin"] = twin.mean.astype("float32").ravel()
            arrays[f"{index}/{name}/p"] = twin.p.astype("float32").ravel()
    return pack({"sections": described}, arrays)


def _chosen(section: Section) -> str:
    """Whether the page knows which option was chosen: "kept", "left out" of a run that could have kept it, or "" """
    if "option_logprob" in section.data:
        return "kept"
    return "left out" if section.chance is not None else ""


def _options(data: xr.Dataset) -> list[list[str]]:
    """Texts of the options of each example; none where they are not known."""
    return [_texts_of(text) for text in per_example(data, "options")]


def _texts_of(text: str) -> list[str]:
    try:
        return [str(option) for option in option_texts(text)]
    except (ValueError, TypeError, KeyError):
        return []


def instances(section: Section, n: int) -> str:
    """The first `n` examples of a section with what every cell did to them, packed."""
    part = section.data.isel(example=slice(n))
    texts = {name: per_example(part, name) for name in ("example", "source", "target", "gold")}
    rows: list[dict[str, Any]] = [
        {name: cut(values[k].strip() if name == "gold" else values[k]) for name, values in texts.items()}
        for k in range(part.sizes["example"])
    ]
    for name, short in (("vanilla_score", "score"), ("vanilla_correct", "correct"), ("vanilla_text", "text")):
        if name in part:
            for row, value in zip(rows, part[name].values.tolist(), strict=True):
                row[short] = _plain(value)
    arrays: dict[str, np.ndarray] = {}
    content: dict[str, Any] = {"rows": rows}
    if "gain" in part:
        arrays["gain"], content["step"] = quantised(part["gain"].values.astype("float64").ravel())
    if "correct" in part:
        arrays["correct"] = part["correct"].values.astype("uint8").ravel()
    if "text" in part:
        flat = [cut(str(text)) for text in part["text"].values.ravel()]
        known = {text: k for k, text in enumerate(dict.fromkeys(flat))}
        content["texts"] = list(known)
        arrays["text"] = np.array([known[text] for text in flat], "uint16" if len(known) < 2**16 else "uint32")
    if "option_logprob" in part and "options" in part.coords:
        content["n_options"] = part.sizes[OPTION]
        arrays["option"] = shares(
            np.exp(part["option_logprob"].transpose("example", *GAIN_DIMS, OPTION).values)
        ).ravel()
        before = np.exp(part["vanilla_option_logprob"].transpose("example", OPTION).values.astype("float64"))
        for row, options, probabilities in zip(rows, _options(part), before.tolist(), strict=True):
            row["options"] = [cut(text.strip()) for text in options]
            row["before"] = [_plain(share) for share in probabilities[: len(options)]]
    return pack(content, arrays)


def cut(text: str) -> str:
    """A text of at most `MAX_TEXT` characters; what can't be written as UTF-8 is shown as its code."""
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]} … (cut: {len(text):,} characters)"


def _plain(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, float):
        return round(value, 5) if np.isfinite(value) else None
    return cut(str(value))

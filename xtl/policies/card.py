"""A policy's card: what it writes, how it was chosen, what it gained, made from the policy's own numbers."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from xtl.foreign import for_markdown
from xtl.policies.fields import Fields
from xtl.policies.record import Chosen, HeldOut, ModelRecord

NAMES = {
    "gain": "gain over vanilla",
    "control_gain": "the same write from the control's source, over vanilla",
    "gain_over_control": "gain over the control",
    "accuracy": "share right",
    "vanilla_accuracy": "share right, vanilla",
    "accuracy_gain": "share right over vanilla",
    "control_accuracy": "share right, control",
    "accuracy_over_control": "share right over the control",
}
"""What the figures of `HeldOut` are called."""


def policy_card(policy: Fields) -> str:
    """The README.md of a policy's folder."""
    lines = [
        "# " + for_markdown(str(policy)),
        "",
        "A policy of [xtl](https://arxiv.org/abs/2412.12686): one cross-lingual transplant.",
        "",
    ]
    lines += [*_model(policy.model), *_chosen(policy.chosen), *_held_out(policy.held_out), *_use(policy)]
    return front_matter(policy) + "\n".join(lines) + "\n"


def front_matter(policy: Fields) -> str:
    """The YAML that the hub reads."""
    languages = [code for code in dict.fromkeys([policy.source_lang, policy.target_lang]) if code]
    about = {"library_name": "xtl", "tags": ["xtl", "activation-patching", "interpretability"]}
    return "---\n" + yaml.safe_dump(about | ({"language": languages} if languages else {}), sort_keys=False) + "---\n\n"


def _model(model: ModelRecord | None) -> list[str]:
    if model is None:
        return ["Which model it is for was not said.", ""]
    weights = str(model.identity.get("weights_sha256", "unknown"))[:12]
    form = ", ".join(str(model.identity[part]) for part in ("backend", "dtype") if part in model.identity)
    return [
        f"For {for_markdown(model.name)} ({model.n_layers} layers; {for_markdown(form)}; weights {for_markdown(weights)}); "
        "another model refuses it.",
        "",
    ]


def _chosen(chosen: Chosen | None) -> list[str]:
    if chosen is None:
        return ["How it was chosen was not said.", ""]
    where = f", part {for_markdown(chosen.split)}" if chosen.split else ""
    mean = "" if chosen.in_sample is None else f"; its mean there, which flatters, is {chosen.in_sample:.3g}"
    how = f"strategy {for_markdown(chosen.strategy)}, by {for_markdown(chosen.choose_by)}"
    return [f"Chosen on {chosen.n} examples of {for_markdown(chosen.task)}{where}: {how}{mean}.", ""]


def _held_out(held: HeldOut | None) -> list[str]:
    if held is None:
        return ["**Not measured** on instances that it was not chosen on.", ""]
    how = {
        "halves": "cells chosen on one half of the instances and measured on the other, many times: what choosing so gains",
        "unseen": "this write, on other instances",
    }[held.how]
    control = (
        f"control {for_markdown(held.control)}"
        if held.control
        else "**no control was run**, so that luck is not taken off"
    )
    rows = [
        f"| {NAMES.get(name, for_markdown(name))} | {_in_unit(name, held.unit, values)} |"
        for name, values in held.figures.items()
    ]
    more = ["", for_markdown(held.reason)] if held.reason else []
    return [f"Held out ({how}; n = {held.n}; {control}):", "", "| | mean [95%] |", "|---|---|", *rows, *more, ""]


def _in_unit(name: str, unit: str, values: Sequence[float | None]) -> str:
    """A figure: shares in per cent, the rest in the score's unit."""
    mean, low, high = values
    assert mean is not None
    share, sign = "accuracy" in name, "+" if "gain" in name or "over" in name else ""
    times, form, suffix = (100, ".0f", "%") if share else (1, ".2f", f" {for_markdown(unit)}")
    ends = "" if low is None or high is None else f" [{times * low:{sign}{form}}, {times * high:{sign}{form}}]"
    return f"{times * mean:{sign}{form}}{suffix}{ends}"


def _use(policy: Fields) -> list[str]:
    source = ', source="the same prompt in the source language"' if policy.needs_source else ""
    return [
        "```python",
        "import xtl",
        "",
        'policy = xtl.Policy.load("this folder")  # or xtl.Policy.from_hub("owner/name")',
        f"with policy.applied(model{source}):",
        "    model.generate(prompt, max_new_tokens=20)",
        "```",
    ]

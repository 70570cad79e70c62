"""`Policy`: what is written where, on which model, how it was chosen, and what it gained on instances that it was not chosen on.

A map says what every transplant does to one question; a policy is the one transplant that somebody settled on, so that a
colleague can use it:

>>> import torch
>>> policy = Policy("attn", target_layer=2, vector=torch.ones(8), alpha=0.5, operation="add", source_lang="en", target_lang="es")
>>> print(policy)
attn at layer 2: own + 0.5 x a fixed vector of 8 numbers, en->es
>>> Policy("attn", target_layer=13, source_layer=12).needs_source
True
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xtl.backend import Model
from xtl.errors import known_fields, known_keywords
from xtl.pairs import Prompt
from xtl.policies.applying import applied, made_for
from xtl.policies.choosing import best_cell
from xtl.policies.fields import Fields
from xtl.policies.folder import load_policy, save_policy
from xtl.policies.hub import policy_from_hub, push_policy
from xtl.results import Maps


@known_fields
@dataclass(frozen=True, eq=False)
class Policy(Fields):
    """One write: what, where, on which model, how it was chosen, and what it gained.

    Its attributes are those of [`Fields`][xtl.policies.fields.Fields].

    Raises:
        InputError: a value that no policy can have. What depends on the model is checked where it is applied.

    Example:
        >>> policy = xtl.Policy.for_model(model, module="attn", source_layer=12, target_layer=13)  # doctest: +SKIP
        >>> with policy.applied(model, source="Country: France. Capital:"):  # doctest: +SKIP
        ...     model.generate("País: Francia. Capital:", max_new_tokens=5)
    """

    @classmethod
    @known_keywords(name="Policy.for_model")
    def for_model(cls, model: Model, **what: Any) -> Policy:
        """A policy for a loaded model, checked against it; layers may count from the end.

        Args:
            model: from `xtl.load_model`.
            **what: the other attributes of a `Policy`.

        Raises:
            InputError: a layer or head that the model doesn't have, a vector of another shape, an argument that nobody knows, ...
        """
        return made_for(cls, model, what)

    @classmethod
    @known_keywords(name="Policy.from_maps")
    def from_maps(
        cls,
        model: Model,
        results: Maps,
        *,
        control: Maps | None = None,
        direction: str | None = None,
        strategy: str = "overall",
        choose_by: str = "gain",
        n_splits: int = 200,
        seed: int = 0,
    ) -> Policy:
        """The best cell of a result, as a policy that reads the source prompt.

        The cell is chosen on all examples. Its own mean there is too high, so what stands in the policy as `held_out` is what
        *choosing so* gains: cells chosen on one half of the instances and measured on the other (`xtl.stats.held_out`).

        Args:
            model: that the results are of.
            results: from `xtl.sweep_many` or a run.
            control: the same of a control.
            direction: such as "en->es"; may be left out where there is one.
            strategy: by which the cell is chosen.
            choose_by: "gain" or "accuracy".
            n_splits: random halvings.
            seed: of the halvings.

        Raises:
            InputError: results of another model, of a control or of several directions; see `xtl.stats.held_out`.

        Example:
            >>> maps = xtl.concat_maps(xtl.sweep_many(model, pairs))  # doctest: +SKIP
            >>> xtl.Policy.from_maps(model, maps).save("policies/en-es")  # doctest: +SKIP
        """
        how: dict[str, Any] = {"strategy": strategy, "choose_by": choose_by, "n_splits": n_splits, "seed": seed}
        return made_for(cls, model, best_cell(model, results, control, direction, **how))

    @known_keywords(name="Policy.applied")
    def applied(self, model: Model, source: Prompt | Sequence[str] | None = None) -> AbstractContextManager[Model]:
        """While it lasts, whatever the model generates is patched; see `xtl.policies.applying.applied`."""
        return applied(self, model, source)

    @known_keywords(name="Policy.save")
    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write it to a new folder, whole or not at all; see `xtl.policies.folder.save_policy`."""
        return save_policy(self, folder)

    @classmethod
    @known_keywords(name="Policy.load")
    def load(cls, folder: str | os.PathLike[str]) -> Policy:
        """Read one from a folder, and check all of it; see `xtl.policies.folder.load_policy`."""
        return load_policy(cls, folder)

    @known_keywords(name="Policy.push_to_hub")
    def push_to_hub(self, repo: str, *, private: bool = True, token: str | None = None) -> str:
        """Put it on the Hugging Face hub; see `xtl.policies.hub.push_policy`."""
        return push_policy(self, repo, private=private, token=token)

    @classmethod
    @known_keywords(name="Policy.from_hub")
    def from_hub(cls, repo: str, *, revision: str | None = None, token: str | None = None) -> Policy:
        """Get one from the Hugging Face hub; see `xtl.policies.hub.policy_from_hub`."""
        return policy_from_hub(cls, repo, revision=revision, token=token)

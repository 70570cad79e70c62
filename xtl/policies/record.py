"""What a policy says of itself beside the write: its model, how it was chosen, what it gained; as JSON can hold it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

from xtl.errors import InputError, check_choice, check_number, check_text, check_whole, shown

R = TypeVar("R", "ModelRecord", "Chosen", "HeldOut")


@dataclass(frozen=True)
class ModelRecord:
    """The model that a policy is for.

    Attributes:
        name: what it was loaded by.
        n_layers: its layers.
        identity: from `xtl.models.identity.model_identity`: everything of it that can change a number.
        device: kind of device that the identity was taken on.
        versions: of the software.
    """

    name: str
    n_layers: int
    identity: Mapping[str, Any] = field(repr=False)
    device: str = "cpu"
    versions: Mapping[str, str | None] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        _check_kinds(self, texts=("name", "device"), wholes=("n_layers",), tables=("identity", "versions"))


@dataclass(frozen=True)
class Chosen:
    """How a policy was chosen.

    Attributes:
        task: of the instances.
        n: examples that it was chosen on.
        strategy: see `xtl.stats.STRATEGIES`; "given" where somebody named it.
        choose_by: "gain" or "accuracy".
        split: the part of the task that it was chosen on.
        in_sample: its mean there, in the unit of `choose_by`: too high.
        instances: their ids, so that nobody measures on them.
    """

    task: str
    n: int
    strategy: str
    choose_by: str = "gain"
    split: str = ""
    in_sample: float | None = None
    instances: Sequence[str] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        _check_kinds(self, texts=("task", "strategy", "choose_by", "split"), wholes=("n",))
        if self.in_sample is not None:
            check_number("in_sample", self.in_sample)
        ids = self.instances
        if isinstance(ids, str) or not all(isinstance(one, str) for one in ids):
            raise InputError(f"instances must be a list of ids, got {shown(ids)}")
        object.__setattr__(self, "instances", tuple(ids))


@dataclass(frozen=True)
class HeldOut:
    """What a policy gained on instances that it was not chosen on.

    Attributes:
        how: "halves" (chosen on one half and measured on the other, many times: the gain of choosing so) or "unseen" (this very
            policy, on other instances).
        n: examples measured on.
        unit: of the gain.
        figures: by what is measured (`gain`, `accuracy`, `control_gain`, `gain_over_control`, ...) its mean and the ends of its
            95% interval; None for an end that is not given.
        control: its name; empty where none was run.
        reason: why ends are missing, if they are.
    """

    how: str
    n: int
    unit: str
    figures: Mapping[str, Sequence[float | None]]
    control: str = ""
    reason: str = ""

    def __post_init__(self) -> None:
        _check_kinds(self, texts=("how", "unit", "control", "reason"), wholes=("n",), tables=("figures",))
        check_choice("how", self.how, ("halves", "unseen"))
        checked: dict[str, tuple[float, float | None, float | None]] = {}
        for name, values in self.figures.items():
            if not isinstance(values, (list, tuple)) or len(values) != 3:
                raise InputError(f"figures {name!r} must be a mean and two ends, got {shown(values)}")
            low, high = (None if end is None else check_number(name, end) for end in values[1:])
            checked[name] = (check_number(name, values[0]), low, high)
        object.__setattr__(self, "figures", checked)


def to_plain(record: ModelRecord | Chosen | HeldOut | None) -> dict[str, Any] | None:
    """A record as JSON holds it."""
    return None if record is None else asdict(record)


def from_plain(kind: type[R], value: object, where: str) -> R | None:
    """A record from JSON.

    Raises:
        InputError: unknown or missing keys, values of another kind.
    """
    if value is None:
        return None
    if not isinstance(value, dict):
        raise InputError(f"{where} must hold keys and values, got {shown(value, 80)}")
    known = [one.name for one in fields(kind)]
    check_keys(where, value, known)
    try:
        return kind(**value)
    except TypeError as error:  # Python names the missing ones
        raise InputError(f"{where}: {str(error).partition('() ')[2] or error}") from error


def check_keys(where: str, value: Mapping[str, Any], known: list[str]) -> None:
    """Raise `InputError` for a key that nobody knows, or one that is no text."""
    for key in value:
        check_choice(f"key of {where}:", key, known)


def _check_kinds(
    record: Any, texts: tuple[str, ...] = (), wholes: tuple[str, ...] = (), tables: tuple[str, ...] = ()
) -> None:
    for name in texts:
        check_text(name, getattr(record, name))
    for name in wholes:
        check_whole(name, getattr(record, name), 0)
    for name in tables:
        if not isinstance(getattr(record, name), Mapping):
            raise InputError(f"{name} must hold keys and values, got {shown(getattr(record, name), 80)}")

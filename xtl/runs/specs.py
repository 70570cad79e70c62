"""The parts of a study: a model and a task, as its file names them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, StrictInt, StrictStr, field_validator, model_validator

from xtl.errors import as_whole
from xtl.models.embedded import EMBEDDED


def _whole(value: Any) -> Any:
    """NumPy's whole numbers as Python's; anything else as it is, for pydantic to refuse."""
    whole = as_whole(value)
    return value if whole is None else whole


WholeNumber = Annotated[StrictInt, BeforeValidator(_whole)]
"""A whole number, and nothing that could be made one: no text, no boolean, no 1.0."""


class Strict(BaseModel):
    """Knows no keys but its own, and does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class ModelSpec(Strict):
    """A model: the arguments of `xtl.load_model`.

    Attributes:
        name: a name, a Hugging Face id, a folder or a GGUF file.
        backend: "auto", "hooked" or "bridge".
        dtype: "float32", "bfloat16", "float16" or "float64".
        device: "cpu", "cuda", ...; None takes CUDA where there is one. With workers each takes its own GPU.
        device_map: for a model larger than one device: "auto", or a mapping from module to device.
        quantization: "8bit" or "4bit".

    Whether code that comes with a model may run is no key: a file that somebody sends must not be able to allow it. It is an
    argument of `run_study`, and a flag of `xtl run`.
    """

    name: StrictStr = EMBEDDED
    backend: StrictStr = "auto"
    dtype: StrictStr = "float32"
    device: StrictStr | None = None
    device_map: StrictStr | dict[StrictStr, WholeNumber | StrictStr] | None = None
    quantization: StrictStr | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value


class TaskSpec(BaseModel):
    """A task: its name and what its `pairs` takes (a benchmark: `split`, `origin`, `folder`).

    Attributes:
        name: a name from `xtl tasks`, or a file of your own.
        directions: "en->es"; "en->*" and "*->en" for every other language. None takes the study's.
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    name: StrictStr
    directions: tuple[StrictStr, ...] | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @field_validator("directions", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return as_list(value)

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of `pairs` beside languages, limit and seed."""
        return dict(self.model_extra or {})


def as_list(value: Any) -> Any:
    """A lone value as a list of one."""
    return value if value is None or isinstance(value, (list, tuple)) else [value]

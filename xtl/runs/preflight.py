"""What can be known of a study's models before any of them is loaded: so that a wrong study is told before anything is written.

A model's configuration says how many layers it has, its tokenizer whether it has a chat template. The first model is loaded
before the run's folder is made, which finds the rest (see `xtl.runs.compute.Computer.load`).
"""

from __future__ import annotations

from typing import Any

from xtl.errors import InputError, XtlError
from xtl.layers import check_layers
from xtl.models.load import check_placement
from xtl.models.names import resolve_name
from xtl.models.read import place_of, read_config, read_tokenizer
from xtl.models.silence import silence_loading
from xtl.runs.specs import ModelSpec
from xtl.runs.study import Study


def check_models(study: Study, trust_remote_code: bool = False, elsewhere: bool = False) -> None:
    """Raise what loading a model would raise, or what its pairs would fail of, where that can be known without its weights.

    Args:
        study: with its directions spelled out.
        trust_remote_code: as for `run_study`.
        elsewhere: the models are loaded on other machines, which may have devices and files that this one lacks.

    Raises:
        InputError: layers that a model lacks, or that are named twice; a device or a package that is not there; chat=True and no
            chat template.
        ModelError: a model that isn't there, or is no decoder.
    """
    for index, spec in enumerate(study.models):
        if not elsewhere:
            check_placement(spec.backend, spec.device, spec.device_map, spec.quantization)
        try:
            n_layers = n_layers_of(spec, trust_remote_code)
            has_chat = None if index == 0 or study.chat is not True else _has_chat_template(spec, trust_remote_code)
        except XtlError:
            if elsewhere:
                continue
            raise
        check_study_layers(study, spec, n_layers)
        if has_chat is False:
            raise InputError(f"model {spec.name!r}: chat=True, but its tokenizer has no chat template; use chat='auto'")


def check_study_layers(study: Study, spec: ModelSpec, n_layers: int) -> None:
    """Raise `InputError` where a model of so many layers lacks one of the study's, or it is named twice."""
    try:
        for name in ("source_layers", "target_layers"):
            check_layers(name, getattr(study, name), n_layers)
    except InputError as error:
        raise InputError(f"model {spec.name!r}: {error}") from error


def n_layers_of(spec: ModelSpec, trust_remote_code: bool = False) -> int:
    """Layers, from the model's configuration alone; a GGUF file is converted for it, once."""
    config = _config(spec, trust_remote_code)
    return int(getattr(config, "num_hidden_layers", None) or config.get_text_config().num_hidden_layers)


def _config(spec: ModelSpec, trust_remote_code: bool) -> Any:
    with silence_loading():
        return read_config(*resolve_name(spec.name), trust_remote_code, spec.dtype)


def _has_chat_template(spec: ModelSpec, trust_remote_code: bool) -> bool:
    label, location = resolve_name(spec.name)
    if location is None:
        return False  # the embedded model is a base model
    with silence_loading():
        tokenizer = read_tokenizer(label, location, place_of(location, spec.dtype), trust_remote_code)
    return bool(getattr(tokenizer, "chat_template", None))

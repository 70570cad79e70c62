"""The YAML files of a folder of lm-evaluation-harness: what they include, the language of each, its rows, its fields."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from jinja2 import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from xtl.errors import InputError, XtlError, one_line, shown
from xtl.packages import install_hint
from xtl.tasks.base import is_language, shortest_code
from xtl.tasks.hub import DataError

SCORES = {"multiple_choice": "options", "generate_until": "answer"}
"""What a task's `output_type` means for its pairs."""
DATA_OPTIONS = ("data_files", "data_dir", "field", "delimiter", "sep", "encoding", "revision")
"""What of `dataset_kwargs` is handed on; nothing that lets code run."""
MOST_BYTES = 1_000_000


@dataclass(frozen=True)
class Code:
    """A field that is a function of the folder's own Python: its file's name, a dot, its own."""

    name: str


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, for which `!function` is a name and no more."""


_Loader.add_constructor("!function", lambda loader, node: Code(str(loader.construct_scalar(node))))


@dataclass(frozen=True)
class LanguageConfig:
    """A YAML file of one language.

    Attributes:
        path: the file.
        fields: what it says, with what it includes.
        run_code: whether fields that are code may run.
    """

    path: Path
    fields: Mapping[str, Any]
    run_code: bool

    @property
    def score(self) -> str:
        """ "options" or "answer". Raises `InputError` for other kinds of task."""
        kind = self.fields.get("output_type", "generate_until")
        if kind not in SCORES:
            raise InputError(f"{self.path}: output_type {kind!r} can't be paired; valid: {', '.join(SCORES)}")
        return SCORES[kind]

    @property
    def delimiter(self) -> str:
        """What stands between a prompt and what follows."""
        return str(self.fields.get("target_delimiter", " ") or "")

    def rows(self, split: str | None = None) -> Iterator[dict[str, Any]]:
        """The rows of a split: the test split by default, or the validation split.

        Raises:
            InputError: `datasets` is missing, a split that the file doesn't name, data that can't be read, or code.
            DataError: the hub can't be reached.
        """
        split = split or self.fields.get("test_split") or self.fields.get("validation_split")
        if not isinstance(split, str):
            raise InputError(f"{self.path} names no test_split and no validation_split; give split")
        if "custom_dataset" in self.fields:
            raise InputError(f"{self.path}: custom_dataset is code that makes rows; save them to a file and name that")
        process = self.fields.get("process_docs")
        data = self._data(split)
        rows = data if process is None else self._run(process, "process_docs", data, f"split {split}")
        if not isinstance(rows, Iterable):
            raise InputError(f"{self.path}: process_docs must give rows, got {shown(rows, 80)}")
        yield from rows

    def _data(self, split: str) -> Any:
        try:
            import datasets
        except ImportError as error:
            raise InputError(f"tasks of lm-evaluation-harness need `datasets`: {install_hint('hub')}") from error
        name, variant = self.fields.get("dataset_path"), self.fields.get("dataset_name")
        if not isinstance(name, str):
            raise InputError(f"{self.path}: dataset_path must be a text, got {name!r}")
        given = self.fields.get("dataset_kwargs") or {}
        if not isinstance(given, Mapping):
            raise InputError(f"{self.path}: dataset_kwargs must hold keys and values, got {shown(given)}")
        options = {option: given[option] for option in DATA_OPTIONS if option in given}
        if "data_files" in options:
            options["data_files"] = self._beside(options["data_files"])
        try:
            return datasets.load_dataset(name, variant, split=split, **options)
        except (ConnectionError, datasets.exceptions.DatasetNotFoundError) as error:
            raise DataError(
                f"{name} is not in the local cache, and the hub does not give it: {one_line(error)}"
            ) from error
        except (OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError) as error:
            raise InputError(f"{self.path}: the data of {name} can't be read: {one_line(error)}") from error

    def _beside(self, files: Any) -> Any:
        """Data files: as they are, or where they lie beside the YAML file."""
        if isinstance(files, str):
            here = self.path.parent / files
            return str(here) if here.exists() else files
        if isinstance(files, Mapping):
            return {split: self._beside(one) for split, one in files.items()}
        return [self._beside(one) for one in files] if isinstance(files, list) else files

    def value(self, field: str, row: Mapping[str, Any], where: str) -> Any:
        """What a field gives for a row: a column's value, a template rendered, or what stands there.

        Raises:
            InputError: the field is missing, a template fails, or it is code that may not run.
        """
        said = self.fields.get(field)
        if said is None:
            raise InputError(f"{self.path}: no {field}")
        if isinstance(said, Code):
            return self._run(said, field, row, where)
        if not isinstance(said, str):
            return said
        if said in row:
            return row[said]
        try:
            text = _template(said).render(**row)
        except Exception as error:  # whatever a template does: a filter of the wrong kind, a pattern that is none, ...
            raise InputError(f"{where}: {field} {said[:60]!r} fails: {one_line(error)}") from error
        # A number that a template writes is an index, as in lm-evaluation-harness, also where choices are numbers.
        return int(text) if field == "doc_to_target" and self.score == "options" and text.isdecimal() else text

    def _run(self, code: object, field: str, given: Any, where: str) -> Any:
        """What a function of the folder's own code makes of something."""
        function = self._function(code, field)
        try:
            return function(given)
        except Exception as error:
            raise InputError(
                f"{self.path.name}, {where}: {field} fails: {type(error).__name__}: {one_line(error)}"
            ) from error

    def _function(self, code: object, field: str) -> Callable[[Any], Any]:
        """A function of the folder's own code."""
        if not isinstance(code, Code):
            raise InputError(f"{self.path}: {field} must be a !function, got {code!r}")
        module, _, name = code.name.rpartition(".")
        path = self.path.parent / f"{module}.py"
        if not self.run_code:
            raise InputError(
                f"{self.path.name}: {field} is Python code ({path}); read it, and then allow it: "
                f"xtl.get_task('lm-eval:{self.path.parent}', run_code=True)"
            )
        function = getattr(_module(path), name, None)
        if not callable(function):
            raise InputError(f"{path} has no function {name!r}")
        return function


def read_folder(folder: Path, run_code: bool) -> tuple[str, dict[str, LanguageConfig]]:
    """What the tasks of a folder's languages are called in common, and each language's file, by code.

    Raises:
        InputError: no such folder; no file of a language; a file that is no YAML.
    """
    if not folder.is_dir():
        raise InputError(f"no folder {str(folder)!r} of lm-evaluation-harness's YAML files")
    named: dict[str, dict[str, LanguageConfig]] = {}
    for path in sorted(folder.glob("*.yaml")):
        fields = _fields(path)
        task = fields.get("task")
        pieces = task.split("_") if isinstance(task, str) else []
        for cut in range(1, len(pieces)):
            if is_language(code := "_".join(pieces[cut:])):
                config = LanguageConfig(path, fields, run_code)
                named.setdefault("_".join(pieces[:cut]), {}).setdefault(shortest_code(code), config)
    if not named:
        raise InputError(f"{str(folder)!r} has no YAML file whose task ends in a language code (task: xnli_de)")
    stem = max(named, key=lambda one: (len(named[one]), -len(one)))
    return stem, named[stem]


def _fields(path: Path, depth: int = 0) -> dict[str, Any]:
    """A file's fields over those of what it includes."""
    if depth > 8:
        raise InputError(f"{path} is included by what it includes")
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"{path} has more than {MOST_BYTES:,} bytes")
        own = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise InputError(f"{path} can't be read: {one_line(error)}") from error
    if not isinstance(own, dict):
        return {}
    included = own.pop("include", None) or []
    if not isinstance(included, (str, list)):
        raise InputError(f"{path}: include must be a file's name, or a list of them, got {shown(included)}")
    fields: dict[str, Any] = {}
    for name in [included] if isinstance(included, str) else included:
        fields |= _fields(path.parent / str(name), depth + 1)
    return fields | own


@lru_cache(maxsize=1000)
def _template(text: str) -> Any:
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
    environment.filters["regex_replace"] = lambda value, pattern, by="": re.sub(pattern, by, value)
    return environment.from_string(text)


@lru_cache(maxsize=100)
def _module(path: Path) -> Any:
    """The folder's own code, run once."""
    if not path.is_file():
        raise InputError(f"no file {str(path)!r}")
    name = f"xtl_lm_eval_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except XtlError:
        raise
    except Exception as error:
        raise InputError(f"{path} fails: {one_line(error)}") from error
    return module

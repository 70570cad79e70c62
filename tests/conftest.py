from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import jaxtyping
import pytest
import torch
from hypothesis import settings

import xtl
from tests import tiny
from xtl import cli

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)  # tiny matrices, and a worker a core: more threads would only get in each other's way

settings.register_profile("no-deadline", deadline=None)  # a busy machine may pause a test for longer than any limit
settings.load_profile("no-deadline")

NO_HOOKED = int(version("transformer-lens").split(".")[0]) >= 4
"""TransformerLens 4 has no HookedTransformer: what needs one is left out there, the rest runs on bridges (`make test-newest`)."""

DEFAULT_BACKEND = "bridge" if NO_HOOKED else "hooked"

SOURCE = "The capital of France is"
TARGET = "La capital de Francia es la bella"


APART = {"Chromium", "mkdocs", "SmolLM2", "notebooks"}
"""What a slow test may need that is no library of Python: such tests are `make test-apart`."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests of a tiny model are one worker's, which loads it once; of those, only llama's are quick. What is slow begins."""
    for item in items:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        named = {parameters.get(key) for key in ("architecture", "family", "name")}
        for name in named & set(tiny.ALL_CONFIGS):
            item.add_marker(pytest.mark.xdist_group(name))
            if name != "llama":
                item.add_marker(pytest.mark.slow("another tiny model"))
        if item.get_closest_marker("embedded") or item.get_closest_marker("ray"):
            item.add_marker(pytest.mark.slow("the embedded model or a cluster"))
        if APART & {mark.args[0] for mark in item.iter_markers("slow")}:
            item.add_marker(pytest.mark.apart)
        if NO_HOOKED and (item.get_closest_marker("hooked") or parameters.get("backend") == "hooked"):
            item.add_marker(pytest.mark.skip(reason="TransformerLens 4 has no HookedTransformer"))
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    items.sort(key=lambda item: "notebooks" not in item.nodeid)  # of all groups, these take longest


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of a tiny model, by architecture; built once."""
    built: dict[str, Path] = {}

    def get(architecture: str) -> Path:
        if architecture not in built:
            built[architecture] = tiny.build(architecture, tmp_path_factory.mktemp(architecture))
        return built[architecture]

    return get


@pytest.fixture(scope="session")
def tiny_model(tiny_folder: Callable[[str], Path]) -> Callable[..., object]:
    """A loaded tiny model, by architecture, backend and precision; loaded once, and one that is refused is refused once."""

    @functools.cache
    def load(architecture: str, backend: str, dtype: str | None) -> object:
        try:
            return xtl.load_model(tiny_folder(architecture), backend=backend, dtype=dtype)
        except xtl.XtlError as error:
            return error

    def get(architecture: str = "llama", backend: str = DEFAULT_BACKEND, dtype: str | None = None) -> object:
        if backend == "hooked" and NO_HOOKED:
            pytest.skip("TransformerLens 4 has no HookedTransformer")
        model = load(architecture, backend, dtype)
        if isinstance(model, xtl.XtlError):
            raise model
        return model

    return get


@pytest.fixture
def loaded(tiny_folder: Callable[[str], Path], tiny_model: Callable[..., object], monkeypatch) -> str:
    """Name of the tiny llama; in this process it need not be loaded again."""
    from xtl import models

    folder, model, real = str(tiny_folder("llama")), tiny_model("llama"), models.load_model

    def load(name: object = None, **options: object) -> object:
        return model if str(name) == folder else real(name, **options)

    monkeypatch.setattr(models, "load_model", load)
    return folder


@pytest.fixture
def untyped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the types that the tests check at run time: a user's mistake gets as far as the function itself."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture(scope="session")
def embedded() -> object:
    """The real embedded model, as a HookedTransformer where there is one."""
    return xtl.load_model()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Callable[..., tuple[int, str, str]]:
    """Run `xtl` in this process: (exit code, stdout, stderr)."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["xtl", *map(str, arguments)])
        capsys.readouterr()  # what was said before, such as by the fixture that builds a model
        code = 0
        try:
            cli.main()
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        return code, *capsys.readouterr()

    return call


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of the paper's data and golden outputs, named by XTL_SHARED."""
    folder = os.environ.get("XTL_SHARED")
    if not folder:
        pytest.skip("XTL_SHARED is not set: the folder with the paper's data and golden outputs")
    return Path(folder)


def stop_in_map(monkeypatch: pytest.MonkeyPatch, number: int) -> list[int]:
    """Have Ctrl-C come in this map of a sweep; return the maps that were begun."""
    from xtl.engine import driver

    return stop_in_call(monkeypatch, driver, "compute", number)


def stop_in_call(monkeypatch: pytest.MonkeyPatch, owner: object, name: str, number: int) -> list[int]:
    """Have Ctrl-C come in this call of a function; return the calls."""
    real = getattr(owner, name)
    calls: list[int] = []

    def call(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == number:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(owner, name, call)
    return calls

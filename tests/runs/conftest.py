from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def loaded(tiny_folder: Callable[[str], Path], tiny_model: Callable[..., object], monkeypatch) -> str:
    """Name of the tiny llama; in this process it need not be loaded again."""
    folder = str(tiny_folder("llama"))
    from xtl import models

    model, real = tiny_model("llama"), models.load_model

    def load(name: object = None, **options: object) -> object:
        return model if str(name) == folder else real(name, **options)

    monkeypatch.setattr(models, "load_model", load)
    return folder

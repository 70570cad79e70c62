"""What tests of models share."""

from __future__ import annotations

import pytest

from xtl.models import trust


@pytest.fixture
def own_cache(monkeypatch, tmp_path):
    """A cache, and a record of what was built, of the test's own."""
    monkeypatch.setenv("XTL_CACHE", str(tmp_path / "cache of äöü"))
    monkeypatch.setattr(trust, "record_file", lambda: tmp_path / "state" / "converted.json")

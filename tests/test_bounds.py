"""What could never work is refused before any work, in one line: sizes, lengths and depths beyond all measure."""

from __future__ import annotations

import json
import shutil

import pytest

import xtl
from xtl import files
from xtl.commands.output import check_out
from xtl.models.read import check_config_file


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_hidden_layers": 10**9}, "num_hidden_layers 1000000000; it must be from 1 to 10,000"),
        ({"num_hidden_layers": 0}, "num_hidden_layers 0; it must be from 1"),
        ({"num_hidden_layers": -1}, "num_hidden_layers -1"),
        ({"num_attention_heads": 0}, "num_attention_heads 0; it must be from 1"),
        ({"num_key_value_heads": 0}, "num_key_value_heads 0"),
        ({"hidden_size": 10**12}, "hidden_size 1000000000000"),
        ({"vocab_size": 10**15}, "vocab_size 1000000000000000"),
        ({"vocab_size": 0}, "vocab_size 0"),
        ({"max_position_embeddings": 0}, "max_position_embeddings 0"),
        ({"text_config": {"num_hidden_layers": 10**9}}, "num_hidden_layers 1000000000"),
    ],
)
def test_a_configuration_with_sizes_that_no_model_has(change, message, tiny_folder, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder("llama"), folder)
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | change))
    with pytest.raises(xtl.ModelError, match=message) as error:
        xtl.load_model(folder)
    assert "\n" not in str(error.value)


def test_a_configuration_nested_without_end(tmp_path):
    path = tmp_path / "config.json"
    path.write_text('{"a":' * 200_000 + "1" + "}" * 200_000)
    with pytest.raises(xtl.ModelError, match="nested too deeply"):
        check_config_file(path)
    with path.open("wb") as file:
        file.truncate(10**11)
    with pytest.raises(xtl.ModelError, match="more than 50 MB"):
        check_config_file(path)


def test_a_prompt_that_can_never_fit_is_refused_before_it_is_tokenised(tiny_model, monkeypatch):
    model = tiny_model("llama")
    with pytest.raises(xtl.InputError, match=r"source has 10,000,000 characters; the model's context holds") as error:
        xtl.transplant(model, source="a" * 10**7, target="b", module="attn", source_layer=0, target_layer=0)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("name", ["x" * 300, "x" * 5000, "a/" * 3000 + "b"])
def test_a_folder_whose_name_is_too_long(name, tmp_path):
    for check in (check_out, files.check_can_write):
        with pytest.raises(xtl.InputError, match="name too long") as error:
            check(tmp_path / name)
        assert len(str(error.value)) < 500
    assert not list(tmp_path.iterdir())


def test_a_folder_whose_name_has_a_nul(tmp_path):
    for check in (check_out, files.check_can_write):
        with pytest.raises(xtl.InputError, match=r"null|can.t be a folder"):
            check(tmp_path / "a\0b")


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "a").write_text("")
    with pytest.raises(xtl.InputError, match=r"^--out '.*' is a file; give a folder$"):
        check_out(tmp_path / "a")

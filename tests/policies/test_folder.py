"""A policy's folder: what comes back is what was saved, or one line says what is wrong; and nothing in it can run."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
import yaml
from safetensors.torch import save_file

import xtl
from xtl.files import sha256
from xtl.policies.folder import to_json
from xtl.policies.record import Chosen, HeldOut, ModelRecord

MODEL = ModelRecord("tiny | <b>", 4, {"backend": "hooked", "dtype": "float32", "weights_sha256": "ab" * 32})
CHOSEN = Chosen("capitals", 12, "overall", split="sample", in_sample=0.9, instances=("FR", "SE"))
HELD = HeldOut(
    "halves", 12, "nats", {"gain": (0.4, 0.1, 0.7), "control_gain": (0.3, None, None)}, "shuffled_source", "few"
)


def example(**changes):
    settings = {
        "module": "attn", "target_layer": 2, "source_layer": 1, "alpha": 0.5, "source_lang": "en", "target_lang": "es",
        "model": MODEL, "chosen": CHOSEN, "held_out": HELD,
    }  # fmt: skip
    return xtl.Policy(**settings | changes)


def fixed(**changes):
    return example(source_layer=None, vector=torch.arange(8.0), operation="add", **changes)


@pytest.fixture
def saved(tmp_path):
    return fixed().save(tmp_path / "policy")


def damage(folder, **changes):
    """Other values in its policy.json; `...` takes a key out."""
    data = json.loads((folder / "policy.json").read_text()) | changes
    kept = {name: value for name, value in data.items() if value is not ...}
    (folder / "policy.json").write_text(json.dumps(kept))


@pytest.mark.parametrize(
    "policy", [example(), fixed(), example(module="attn_head", heads=[3, (1, 2)], position=-2), xtl.Policy("mlp", 0, 1)]
)
def test_what_comes_back_is_what_was_saved(policy, tmp_path):
    folder = policy.save(tmp_path / "a" / "policy")
    back = xtl.Policy.load(folder)
    assert to_json(back, None) == to_json(policy, None)
    assert (back.vector is None and policy.vector is None) or torch.equal(back.vector, policy.vector)
    names = {path.name for path in folder.iterdir()}
    assert names == {"policy.json", "README.md"} | ({"vectors.safetensors"} if policy.vector is not None else set())
    assert [path.name for path in folder.parent.iterdir()] == ["policy"]
    assert str(back) == str(policy)


def test_own_modules_come_back(tmp_path):
    own = xtl.Module("values", read="attn.hook_v", write="attn.hook_v")
    assert xtl.Policy.load(example(module=own).save(tmp_path / "p")).module == own


def test_the_card_is_made_from_the_numbers(tmp_path):
    card = (example().save(tmp_path / "p") / "README.md").read_text(encoding="utf-8")
    head, body = card.split("---\n")[1:]
    assert yaml.safe_load(head)["language"] == ["en", "es"]
    for said in (
        "+0.40 nats [+0.10, +0.70]",
        "| +0.30 nats |",
        "shuffled\\_source",
        "n = 12",
        "12 examples of capitals",
    ):
        assert said in body
    assert "<b>" not in body
    assert "tiny \\| &lt;b>" in body
    bare = (xtl.Policy("mlp", 0, 1).save(tmp_path / "q") / "README.md").read_text(encoding="utf-8")
    assert "Not measured" in bare


def test_nothing_is_left_of_what_could_not_be_written(tmp_path, monkeypatch):
    from xtl.policies import folder

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder, "save_file", full)
    with pytest.raises(xtl.InputError, match="No space left"):
        fixed().save(tmp_path / "p")
    assert not list(tmp_path.iterdir())
    (tmp_path / "q").mkdir()
    (tmp_path / "q" / "mine").touch()
    with pytest.raises(xtl.InputError, match="already holds something"):
        example().save(tmp_path / "q")


WRONG = [
    ({"format": 2}, "format 2"),
    ({"format": ...}, "format None"),
    ({"colour": 1}, "unknown key of policy.json: 'colour'"),
    ({"alpha": ...}, "lacks the key 'alpha'"),
    ({"alpha": "half"}, "alpha must be a number, got 'half'"),
    ({"alpha": True}, "alpha must be a number"),
    ({"target_layer": -1}, "target_layer"),
    ({"target_layer": 1.5}, "target_layer"),
    ({"source_layer": 3}, "not both"),
    ({"module": "attn"}, "module must hold"),
    ({"module": {"name": "attn", "read": "x", "write": "y"}}, "name of another module"),
    ({"heads": "all"}, "heads must be"),
    ({"heads": [[1, 2, 3]]}, "heads must hold"),
    ({"heads": [-1]}, "heads"),
    ({"heads": [1, [2, 1]]}, "writes head 1 twice"),
    ({"operation": "times"}, "unknown operation 'times'"),
    ({"position": 0}, "position must be"),
    ({"model": []}, "model must hold keys"),
    ({"model": {"name": "x"}}, "model: missing"),
    ({"chosen": {"tasks": "x"}}, "unknown key of chosen"),
    ({"held_out": {"how": "luck", "n": 1, "unit": "nats", "figures": {}}}, "unknown how 'luck'"),
    ({"held_out": {"how": "halves", "n": 1, "unit": "nats", "figures": {"gain": [1]}}}, "a mean and two ends"),
    ({"vectors_sha256": None}, "knows of none"),
    ({"vectors_sha256": "00"}, "another policy's"),
]


@pytest.mark.parametrize(("changes", "said"), WRONG, ids=[said for _, said in WRONG])
def test_damage_is_one_line(saved, changes, said, untyped):
    damage(saved, **changes)
    with pytest.raises(xtl.InputError, match=said) as told:
        xtl.Policy.load(saved)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": 1, "alpha": NaN}', "[" * 100_000, "\udcff"])
def test_what_is_no_json_is_one_line(saved, text):
    (saved / "policy.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(xtl.InputError, match=r"damaged|must hold"):
        xtl.Policy.load(saved)


@pytest.mark.parametrize("name", ["model.pkl", "vectors.bin", ".gitattributes", "code.py", "sub"])
def test_other_files_are_refused(saved, name):
    (saved / name).mkdir() if name == "sub" else (saved / name).touch()
    with pytest.raises(xtl.InputError, match=f"holds '{name}'"):
        xtl.Policy.load(saved)


VECTORS = [
    ({"vector": torch.tensor([1.0, float("nan")])}, "NaN"),
    ({"vector": torch.tensor([1])}, "real numbers"),
    ({"vector": torch.zeros(0)}, "shape"),
    ({"other": torch.ones(2)}, "one tensor"),
    ({"vector": torch.ones(2), "more": torch.ones(2)}, "one tensor"),
]


@pytest.mark.parametrize(("tensors", "said"), VECTORS, ids=[said for _, said in VECTORS])
def test_vectors_that_no_policy_has(saved, tensors, said, untyped):
    save_file(tensors, saved / "vectors.safetensors")
    damage(saved, vectors_sha256=sha256(saved / "vectors.safetensors"))
    with pytest.raises(xtl.InputError, match=said):
        xtl.Policy.load(saved)


def test_vectors_that_are_none(saved, untyped):
    (saved / "vectors.safetensors").write_bytes(b"\x80\x04.")
    damage(saved, vectors_sha256=sha256(saved / "vectors.safetensors"))
    with pytest.raises(xtl.InputError, match="damaged"):
        xtl.Policy.load(saved)
    (saved / "vectors.safetensors").unlink()
    with pytest.raises(xtl.InputError, match="missing"):
        xtl.Policy.load(saved)
    shutil.rmtree(saved)
    with pytest.raises(xtl.InputError, match="no policy at"):
        xtl.Policy.load(saved)


BAD = [
    ({"alpha": float("nan")}, "alpha"),
    ({"alpha": "1"}, "alpha"),
    ({"module": "atn"}, "unknown module"),
    ({"module": 3}, "module must be"),
    ({"vector": torch.ones(2)}, "not both"),
    ({"source_layer": None}, "source_layer"),
    ({"position": 1.0}, "position"),
    ({"source_position": 0}, "source_position"),
    ({"target_lang": None}, "target_lang must be a text"),
    ({"source_layer": None, "vector": [1.0]}, "vector must be a tensor"),
]


@pytest.mark.parametrize(("changes", "said"), BAD, ids=[f"{list(c)}" for c, _ in BAD])
def test_values_that_no_policy_has(changes, said, untyped):
    with pytest.raises(xtl.InputError, match=said):
        example(**changes)


class Hub:
    """A stand-in: repositories are folders."""

    def __init__(self, root):
        self.root = root

    def api(self, token=None):
        return self

    def create_repo(self, repo, private, exist_ok):
        (self.root / repo).mkdir(parents=True, exist_ok=exist_ok)
        (self.root / repo / ".gitattributes").touch()

    def upload_folder(self, repo_id, folder_path, commit_message, delete_patterns):
        for name in delete_patterns:
            (self.root / repo_id / name).unlink(missing_ok=True)
        shutil.copytree(folder_path, self.root / repo_id, dirs_exist_ok=True)
        return f"hub/{repo_id}"

    def list_repo_files(self, repo, revision=None):
        if not (self.root / repo).exists():
            raise OSError(f"{repo} is\nnot there")
        return [path.name for path in (self.root / repo).iterdir()]

    def hf_hub_download(self, repo, name, revision=None):
        return str(self.root / repo / name)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    stand_in = Hub(tmp_path / "hub")
    monkeypatch.setattr("xtl.policies.hub.HfApi", stand_in.api)
    return stand_in.root


def test_a_policy_goes_to_the_hub_and_comes_back(hub):
    assert fixed().push_to_hub("someone/en-es") == "hub/someone/en-es"
    back = xtl.Policy.from_hub("someone/en-es")
    assert to_json(back, None) == to_json(fixed(), None)
    assert (hub / "someone/en-es/README.md").read_text(encoding="utf-8").startswith("---\nlibrary_name: xtl")
    example().push_to_hub("someone/en-es")  # without a vector: the earlier one's is gone
    assert xtl.Policy.from_hub("someone/en-es").vector is None


def test_what_the_hub_should_not_hold_is_refused(hub, untyped):
    example().push_to_hub("someone/en-es")
    (hub / "someone/en-es/pytorch_model.bin").touch()
    with pytest.raises(xtl.InputError, match=r"pytorch_model\.bin"):
        xtl.Policy.from_hub("someone/en-es")
    with pytest.raises(xtl.ModelError, match="is not there"):
        xtl.Policy.from_hub("someone/else")
    with pytest.raises(xtl.InputError, match="repo must be a text"):
        xtl.Policy.from_hub(3)
    (hub / "someone/empty").mkdir()
    with pytest.raises(xtl.InputError, match="holds no policy"):
        xtl.Policy.from_hub("someone/empty")

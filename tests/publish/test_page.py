"""Laws of the report page: everything is in it, nothing is loaded from elsewhere, no text becomes HTML, written whole."""

import os
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.synthetic import control_of, single_sweep, synthetic_results, with_options
from xtl.errors import InputError
from xtl.publish import images, page, write_report
from xtl.publish.pack import MISSING, pack, quantised, unpack
from xtl.publish.sections import make_sections, overview

ATTACK = "<script>alert(1)</script>"


class Outline(HTMLParser):
    """What a browser would see: tags with attributes, the text outside of scripts and styles, and the packed data."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.packed: dict[str, str] = {}
        self.name: str | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.open.append(tag)
            self.name = dict(attrs).get("id")

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if not self.open:
            self.text += data
        elif self.name:
            self.packed[self.name] = data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


def with_texts(results):  # type: ignore[no-untyped-def]
    """The same results, generated: each cell says its own place."""
    sizes = results["gain"].shape
    texts = np.array([f"says {'.'.join(map(str, place))}" for place in np.ndindex(sizes)], dtype=object)
    vanilla = [f"vanilla {k}" for k in range(sizes[0])]
    return results.assign(text=(results["gain"].dims, texts.reshape(sizes)), vanilla_text=("example", vanilla))


def test_the_page_loads_nothing_from_elsewhere_and_runs_its_own_script_alone(tmp_path: Path) -> None:
    text = write_report(tmp_path / "report.html", synthetic_results()).read_text(encoding="utf-8")
    seen = Outline(text)
    for tag, attributes in seen.tags:
        assert not {"href", "action", "data"} & set(attributes), (tag, attributes)
        for name in ("src", "srcset"):
            assert (attributes.get(name) or "data:image/png;base64,").startswith("data:image/png;base64,")
        assert not any(name.startswith("on") for name in attributes)
    style = text.partition("</style>")[0]
    assert "@import" not in style
    assert "url(" not in style
    policy = next(a["content"] for _, a in seen.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "unsafe-inline" not in policy.partition("style-src")[0]


def test_the_page_has_summary_maps_instances_and_details() -> None:
    results = synthetic_results(per_direction=6)
    seen = Outline(page.render(results, command=["xtl", "sweep", "--to", "es sw"]))
    assert seen.count("figure") == 2 + 4 + 4  # the two best maps; all; layer by module, as target and as source
    assert seen.count("picture") == 4 + 8 + 4  # gain and accuracy; the same; gain
    assert seen.count("tr") == 1 + 4
    assert all(a.get("scope") in ("col", "row") for tag, a in seen.tags if tag == "th")
    assert all(a.get("alt") for tag, a in seen.tags if tag == "img")
    for part in (
        "tiny-model",
        "3 → 4",
        "in-sample",
        "torch 2.13.0",
        "xtl sweep --to 'es sw'",
        "packed",
        "gain held out",
    ):
        assert part in seen.text
    content, arrays = unpack(seen.packed["section-1"])
    swahili = results.isel(example=results["target_lang"].values == "sw")
    assert [row["target"] for row in content["rows"]] == swahili["target"].values.tolist()
    np.testing.assert_allclose(
        arrays["gain"] * content["step"], swahili["gain"].values.ravel(), atol=content["step"] / 2 + 1e-9
    )
    np.testing.assert_array_equal(arrays["correct"], swahili["correct"].values.ravel())


def test_every_cell_keeps_its_own_answer() -> None:
    results = with_texts(synthetic_results())
    seen = Outline(page.render(results))
    content, arrays = unpack(seen.packed["section-0"])
    spanish = results.isel(example=results["target_lang"].values == "es")
    assert [content["texts"][k] for k in arrays["text"]] == spanish["text"].values.ravel().tolist()
    assert [row["text"] for row in content["rows"]] == spanish["vanilla_text"].values.tolist()


def test_answers_without_scores_show_what_changed() -> None:
    results = with_texts(synthetic_results()).drop_vars(
        ["gain", "score", "correct", "vanilla_score", "vanilla_correct"]
    )
    results["text"][:, 0, 0, 0] = results["vanilla_text"].values
    (section, _) = make_sections(results)
    assert section.maps["changed"][0, 0, 0] == 0
    assert section.maps["changed"][0, 0, 1] == 1
    assert "Answers were not scored" in page.render(results)


def test_the_sentences_agree_with_the_numbers() -> None:
    text = page.render(synthetic_results(per_direction=30))
    assert "The largest lift of Spanish comes from attn at target layer 4" in text
    assert "2 of the 4 combinations" in text  # attn has the planted cell, mlp nothing
    assert "A transplant helps here, as far as can be said without a control." in text
    few = page.render(synthetic_results(per_direction=12))
    assert "Too few instances to say whether a transplant helps." in few
    assert "An interval takes 29 instances or more." in few
    harmful = synthetic_results(per_direction=30)
    harmful["gain"] = -abs(harmful["gain"])
    assert "No target layer of any module lifts Spanish" in page.render(harmful)
    assert "none of the 4 combinations" in page.render(harmful)
    assert "No transplant helps here." in page.render(harmful)
    assert page.render(harmful).count("none gains") == 4
    assert "too few instances to measure the best cells" in page.render(synthetic_results(per_direction=2))


def test_text_from_the_data_stays_text() -> None:
    results = with_options(with_texts(synthetic_results(directions=[("en", ATTACK)], modules=[ATTACK, "mlp"])))
    clean = Outline(page.render(results))
    texts = {name: ("example", [ATTACK] * 4) for name in ("example", "source", "target", "gold")}
    results = results.assign_coords(texts).assign(vanilla_text=("example", [ATTACK] * 4))
    results.attrs |= dict.fromkeys(("model", "task", "score", "score_unit", "engine", "versions"), ATTACK)
    attacked = page.render(results, title=ATTACK, command=ATTACK, notes=[ATTACK], to_control=[f"--{ATTACK} {ATTACK}"])
    results = results.assign_coords(example=[f"{ATTACK} {k}" for k in range(4)])
    beside = page.render(results, control=control_of(results).assign_attrs(control=ATTACK))
    for text in (attacked, beside):
        assert ATTACK not in text
        assert Outline(text).count("script") == clean.count("script")
    assert Outline(attacked).text.count(ATTACK) >= 11
    assert f"the control {ATTACK}" in Outline(beside).text


def test_a_page_stays_under_its_limit_and_says_what_it_left_out() -> None:
    results = with_texts(synthetic_results(per_direction=60, layers=range(8)))  # type: ignore[arg-type]
    whole = page.render(results)
    text = page.render(results, max_bytes=420_000 + len(whole) // 4)
    assert len(text) < 420_000 + len(whole) // 4
    match = re.search(r"it holds (\d+) of 120 instances", text)
    assert match
    kept = [len(unpack(Outline(text).packed[f"section-{k}"])[0]["rows"]) for k in range(2)]
    assert sum(kept) == int(match[1]) < 120
    assert "it holds" not in whole
    assert Outline(text).text.count("n = 60") >= 2  # maps are of all instances


def test_bare_results_make_a_page() -> None:
    bare = single_sweep()[["gain"]].reset_coords(drop=True)
    bare.attrs.clear()
    assert "? → ?" in Outline(page.render(bare)).text


def test_results_of_several_models_stand_side_by_side() -> None:
    other = synthetic_results(layers=range(3), modules=["resid"], seed=1)  # type: ignore[arg-type]
    other.attrs |= {"model": "other-model", "score_unit": "fraction right"}
    seen = Outline(page.render([synthetic_results(), other]))
    assert seen.count("figure") == 2 + 4 + 2 + 2 * (2 + 2)
    assert "other-model" in seen.text
    assert len([a for _, a in seen.tags if a.get("class") == "bar"]) == 2 * 3  # two units of gain, one accuracy; twice


def test_the_colour_bar_says_that_losses_lie_beyond_its_end() -> None:
    results = synthetic_results()
    assert "and less" not in Outline(page.render(results)).text
    results["gain"][:, 0, 0, 0] = -50
    assert re.search(r"−[\d.]+ and less", Outline(page.render(results)).text)


def test_a_line_stands_where_layers_were_left_out() -> None:
    some = page.render(synthetic_results(layers=(0, 3, 4, 8), modules=["attn"], directions=[("en", "es")]))
    assert set(re.findall(r'<i style="left:([\d.]+)%"', some)) == {"25.0", "75.0"}
    assert set(re.findall(r'<i class="row-gap" style="bottom:([\d.]+)%"', some)) == {"25.0", "75.0"}
    assert "<i " not in page.render(synthetic_results())


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "report.html"
    target.write_text("old")

    def fail(*paths: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(InputError, match="No space left"):
        write_report(target, synthetic_results())
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["report.html"]


def test_bad_results_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gain"):
        write_report(tmp_path / "new" / "report.html", synthetic_results(options=False).drop_vars("gain"))
    with pytest.raises(InputError, match="results is empty"):
        write_report(tmp_path / "new" / "report.html", [])
    assert os.listdir(tmp_path) == []


def test_the_file_is_readable_by_others_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        path = write_report(tmp_path / "new" / "report.html", synthetic_results())
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o644
    assert os.listdir(path.parent) == ["report.html"]


def test_a_folder_as_path_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="folder"):
        write_report(tmp_path, synthetic_results())


@given(st.lists(st.floats(-1e6, 1e6) | st.just(float("nan")), min_size=1), st.text())
def test_what_is_packed_comes_back(values: list[float], text: str) -> None:
    steps, step = quantised(np.array(values))
    content, arrays = unpack(
        pack({"text": [text.encode("utf-8", "ignore").decode()]}, {"a": steps, "b": steps.astype("uint8")})
    )
    assert content["text"] == [text.encode("utf-8", "ignore").decode()]
    np.testing.assert_array_equal(arrays["a"], steps)
    back = np.where(arrays["a"] == MISSING, np.nan, arrays["a"] * step)
    np.testing.assert_allclose(back, values, atol=step / 2 * 1.001)


@settings(max_examples=25)
@given(st.integers(1, 40), st.integers(1, 40), st.booleans())
def test_an_image_has_a_pixel_a_cell_and_the_colours_of_the_scale(rows: int, columns: int, dark: bool) -> None:
    values = np.random.default_rng(rows * columns).uniform(-2, 2, (rows, columns))
    values[0, 0] = np.nan
    pixels = decode(images.data_uri(values, limit=1.0, dark=dark))
    assert pixels.shape == (rows, columns, 4)
    colours = np.array(images.palette(dark))
    wanted = colours[np.rint(np.clip(np.nan_to_num(values), -1, 1) * 63).astype(int) + 63][::-1]
    transparent = np.zeros((rows, columns), bool)
    transparent[-1, 0] = True
    np.testing.assert_array_equal(pixels[..., 3] == 0, transparent)
    np.testing.assert_array_equal(pixels[~transparent][:, :3], wanted[~transparent])


def decode(uri: str) -> np.ndarray:
    """The pixels of an image, by a reader that is not ours."""
    import base64
    import io

    image = pytest.importorskip("PIL.Image")
    return np.asarray(image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGBA"))


def test_languages_are_written_as_html_writes_them() -> None:
    sections = make_sections(synthetic_results(directions=[("en", "ar_EG"), ("en", "zh_Hant")], per_direction=1))
    content, _ = unpack(overview(sections, [1, 1]))
    assert [one["languages"] for one in content["sections"]] == [["en", "ar-EG"], ["en", "zh-Hant"]]
    assert [one["direction"] for one in content["sections"]] == ["en->ar_EG", "en->zh_Hant"]

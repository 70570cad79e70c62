"""What a report answers first: it follows the numbers, the control and the number of instances."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from tests.publish.test_page import decode
from tests.synthetic import PLANTED, control_of, synthetic_results, with_options
from xtl.errors import InputError
from xtl.publish import images, page
from xtl.publish.sections import make_sections
from xtl.publish.summary import in_words, needed, summary_rows
from xtl.publish.verdict import Verdict, verdict


def answered(results: xr.Dataset, control: xr.Dataset | None = None) -> Verdict:
    sections = make_sections(results, control)
    return verdict(sections, summary_rows(sections))


def test_a_planted_gain_helps_and_where_it_is_stands_first() -> None:
    real = synthetic_results(per_direction=30)
    found = answered(real, control_of(real))
    assert found.answer == "A transplant helps here."
    assert "; over the control shuffled_source it is +" in found.because
    assert f"Best cell: {PLANTED[1]} → {PLANTED[2]}." in found.because
    assert "best of 4 combinations" in found.how
    assert [row["module"] for row in found.best] == ["attn", "attn"]


def test_a_control_that_gains_as_much_is_told() -> None:
    real = synthetic_results(per_direction=30)
    same = control_of(real).assign(gain=real["gain"] + 0.01)
    assert (
        answered(real, same).answer == "A transplant helps here, but not clearly more than the control shuffled_source."
    )
    assert "as far as can be said without a control" in answered(real).answer


def test_nothing_planted_is_no_help_and_few_instances_are_too_few() -> None:
    nothing = control_of(synthetic_results(per_direction=30)).drop_attrs()
    assert answered(nothing).answer in ("No transplant helps here.", "Whether a transplant helps is not clear.")
    few = synthetic_results(per_direction=6)
    found = answered(few, control_of(few))
    assert found.answer.startswith("Too few instances")
    assert "on the 6 instances that it was chosen on (+" in found.because
    assert found.because.endswith("An interval takes 29 instances or more.")
    assert "maps of a control, shuffled_source" in answered(control_of(few)).how


def test_what_cannot_be_tested_is_said() -> None:
    results = synthetic_results(per_direction=30)
    found = answered(results.drop_vars(["gain", "score", "vanilla_score"]))
    assert found.answer.startswith("Only right answers are known")
    assert "percentage points (n = 30)" in found.because
    below = results.assign(gain=-abs(results["gain"]) - 1)
    assert answered(below).because.startswith("No cell has a mean gain above zero")


def test_instances_of_several_templates_count_once() -> None:
    one = synthetic_results(directions=[("en", "es")], per_direction=30)
    both = xr.concat([one.assign_coords(template=("example", [k] * 30)) for k in "ab"], dim="example")
    found = answered(both)
    assert "(n = 30)" in found.how
    sections = make_sections(both)
    assert in_words(sections, summary_rows(sections))[0].startswith("60 examples of 30 instances in 1 direction")
    cell = (0, *PLANTED[1:])
    assert needed(sections[0], cell, 0.1) == needed(make_sections(one)[0], cell, 0.1)


def test_where_nothing_was_measured_no_answer_is_given() -> None:
    nothing = synthetic_results()
    assert answered(nothing.assign(gain=nothing["gain"] * np.nan)).answer == "No gain was measured."


def test_half_the_gain_needs_four_times_the_instances() -> None:
    (section, _) = make_sections(synthetic_results(per_direction=30))
    counts = [needed(section, (1, 0, 0), gain) for gain in (0.1, 0.05, 5.0, -0.1)]
    assert counts[0]
    assert counts[1] == pytest.approx(4 * counts[0], rel=0.15)
    assert counts[2:] == [29, None]


def test_guessing_is_told_where_there_are_options() -> None:
    results = with_options(synthetic_results(per_direction=30))
    assert make_sections(results)[0].chance == pytest.approx(1 / 3)
    assert "33% by guessing" in answered(results).because
    assert "guessing 33%" in page.render(results)
    assert make_sections(synthetic_results())[0].chance is None


def test_a_twin_is_real_minus_control_and_mutes_what_may_be_chance() -> None:
    real = synthetic_results(per_direction=12)
    control = control_of(real).isel(example=slice(None, None, -1))  # in another order
    (spanish, _) = make_sections(real, control)
    twin = spanish.twins["gain"]
    ours, theirs = (
        one.isel(example=one["target_lang"].values == "es")["gain"].mean("example") for one in (real, control)
    )
    np.testing.assert_allclose(twin.mean, (ours - theirs).values, atol=1e-6)
    planted = (0, PLANTED[1], PLANTED[2])
    assert not twin.muted[planted]
    assert twin.muted.sum() >= twin.muted.size - 2
    assert "1 of 36 cells differs for sure" in page.render(real, control=control)
    few = make_sections(*(one.isel(example=slice(8)) for one in (real, control_of(real))))[0].twins["gain"]
    assert few.muted.all()
    assert np.isfinite(few.mean).all()


def test_a_control_of_something_else_is_refused() -> None:
    real = synthetic_results(per_direction=6)
    with pytest.raises(InputError, match="it was swept as a real run"):
        page.render(real, control=real)
    with pytest.raises(InputError, match="same instances"):
        page.render(real, control=control_of(real).isel(example=slice(6)))
    with pytest.raises(InputError, match=r"control is of .*other"):
        page.render(real, control=control_of(real).assign_attrs(model="other"))


def test_a_page_without_a_control_says_how_to_run_one() -> None:
    real = synthetic_results()
    text = page.render(real, to_control=["xtl run <b>"])
    assert "No control was run" in text
    assert "xtl run &lt;b&gt;" in text
    assert "xtl.controls.run" in page.render(real)
    for page_of in (page.render(real, control=control_of(real)), page.render(control_of(real))):
        assert "No control was run" not in page_of


def test_muted_cells_are_paler_and_have_the_same_hue() -> None:
    values = np.array([[1.0, -1.0], [1.0, -1.0]])
    muted = np.array([[True, True], [False, False]])  # row 0 is at the bottom
    for dark in (False, True):
        pixels = decode(images.data_uri(values, limit=1.0, dark=dark, muted=muted))[..., :3].astype(int)
        (top, bottom), size = pixels[:: images.DOTTED, :: images.DOTTED], images.DOTTED
        ink = images.DARK_INK if dark else images.LIGHT_INK
        dots = (pixels == ink).all(axis=-1)
        assert dots.sum() == 2  # one in the middle of each cell that is not pale
        assert dots[size // 2, [size // 2, size + size // 2]].all()
        page_colour = np.array(images.palette(dark)[images.LEVELS // 2])
        np.testing.assert_allclose(bottom - page_colour, images.PALE * (top - page_colour), atol=1)

"""The first screen in Chromium, at the widths of a phone, a laptop and a desk: the answer is seen, nothing is cut off.

And the panel beside the maps: the best cell is there at once, with its options; an address opens any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.publish.test_page import ATTACK
from tests.publish.visits import Visit
from tests.synthetic import control_of, synthetic_results, with_options
from xtl.publish import write_report

pytestmark = pytest.mark.slow("Chromium")
SCREENS = {390: 844, 1280: 720, 1920: 1080}
"""Heights of the first screen by its width, in CSS pixels."""


@pytest.fixture(scope="module")
def results() -> Any:
    return with_options(synthetic_results(per_direction=30))


@pytest.fixture(scope="module")
def pages(results: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("first")
    commands = ["xtl run runs/capitals/study.yaml --control shuffled_source --out runs/capitals-control",
                "xtl report runs/capitals --control runs/capitals-control"]  # fmt: skip
    return {
        "alone": write_report(folder / "alone.html", results, to_control=commands),
        "against": write_report(folder / "against.html", results, control=control_of(results)),
    }


@pytest.fixture(params=[(w, s) for w in SCREENS for s in ("light", "dark")], ids=lambda p: f"{p[0]}-{p[1]}")
def screen(request: pytest.FixtureRequest) -> dict[str, Any]:
    width, scheme = request.param
    return {"viewport": {"width": width, "height": SCREENS[width]}, "color_scheme": scheme}


@pytest.fixture
def against(browser: Any, pages: dict[str, Path]) -> Iterator[Visit]:
    opened = Visit(browser, pages["against"])
    yield opened
    assert opened.errors == []
    opened.context.close()


def box(visit: Visit, selector: str, nth: int = 0) -> dict[str, float]:
    found: dict[str, float] = visit.page.locator(selector).nth(nth).bounding_box()
    return found


def bottom(visit: Visit, selector: str, nth: int = 0) -> float:
    place = box(visit, selector, nth)
    return place["y"] + place["height"]


@pytest.mark.parametrize("name", ["alone", "against"])
def test_the_answer_stands_on_the_first_screen(
    browser: Any, pages: dict[str, Path], screen: dict[str, Any], name: str
) -> None:
    visit = Visit(browser, pages[name], **screen)
    width, height = screen["viewport"].values()
    said = visit.page.inner_text(".answer")
    assert "A transplant helps here" in said
    assert "95% interval +" in said
    assert ("over the control shuffled_source" in said) == (name == "against")
    assert bottom(visit, ".answer") < height
    if name == "alone":
        assert "--control shuffled_source" in visit.page.inner_text(".control pre")
        assert bottom(visit, ".control pre") < height
    for k in range(2):  # the maps begin there; beside the answer they end there too
        assert box(visit, ".top .map", 2 * k if name == "against" else k)["y"] < height - 100
    if width > 1000:
        assert bottom(visit, ".tops") <= height + 16
        assert box(visit, ".tops")["x"] > box(visit, ".answer")["x"] + box(visit, ".answer")["width"]
    for selector in (".answer", ".control pre", ".top figcaption", "h1"):
        for node in visit.page.locator(selector).all():
            assert node.evaluate("one => one.scrollWidth <= one.clientWidth + 1"), selector
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
    assert visit.errors == []
    visit.context.close()


def test_maps_of_a_direction_stay_in_a_row(browser: Any, pages: dict[str, Path], screen: dict[str, Any]) -> None:
    visit = Visit(browser, pages["against"], **screen)
    for block in visit.page.locator(".block").all():
        tops = [card.bounding_box()["y"] for card in block.locator(".card").all()]
        assert len(tops) == 2
        assert tops[0] == tops[1]
        assert block.locator(".twin:visible").count() == 2
    cue, frame = visit.page.locator(".cue"), visit.page.locator("#summary ~ .scroll")
    hidden = frame.evaluate("one => one.scrollWidth - one.clientWidth")
    assert cue.is_visible() == (hidden >= 4)
    assert cue.is_visible() or screen["viewport"]["width"] > 390
    visit.context.close()


def test_the_best_cell_is_open_at_once_and_the_page_stays_at_its_top(against: Visit) -> None:
    against.page.wait_for_selector("#panel[data-cell]")
    assert against.page.inner_text("#panel-title").startswith("attn 3 → 4, capitals, en → ")
    assert "the best cell of its map" in against.page.inner_text("#panel-words")
    assert "real minus control +" in against.page.inner_text("#panel-words")
    assert against.page.locator(".picked:visible").count() == 2 * 2  # at the top and below, real and real minus control
    assert against.page.evaluate("[scrollY, location.hash]") == [0, ""]


def test_the_panel_says_which_option_was_chosen_before_and_after(against: Visit, results: Any) -> None:
    against.click_cell(0, 1, 2, 5)
    against.page.select_option("#order", "as")
    spanish = results.isel(example=results["target_lang"].values == "es")
    cell = np.exp(spanish["option_logprob"].isel(module=1, source_layer=2, target_layer=5).values)
    vanilla = np.exp(spanish["vanilla_option_logprob"].values)
    texts = [["<i>no</i>", str(gold).strip(), "never"] for gold in spanish["gold"].values]
    told = [
        f"{text[a.argmax()]} ({100 * a.max():.0f}%) → {text[b.argmax()]} ({100 * b.max():.0f}%)"
        for text, a, b in zip(texts, vanilla, cell, strict=True)
    ]
    assert against.texts("dd.choice") == told[:20]
    first = against.page.locator(".options").first
    assert first.locator("tbody th").all_inner_texts() == [texts[0][0], f"{texts[0][1]} ✓", "never"]
    assert first.locator(".chosen").count() == 2
    before, after = spanish["vanilla_correct"].values, spanish["correct"].values[:, 1, 2, 5]
    labels = against.texts("#outcomes label")
    assert f"wrong → right ({int((after & ~before).sum())})" in labels
    assert f"right → wrong ({int((before & ~after).sum())})" in labels
    assert "--details" not in against.page.inner_text("#panel")


def test_a_run_that_kept_no_options_says_how_to_keep_them(browser: Any, tmp_path: Path) -> None:
    visit = Visit(browser, write_report(tmp_path / "r.html", with_options(synthetic_results(), kept=False)))
    visit.page.wait_for_selector("#panel[data-cell]")
    assert "--details options" in visit.page.inner_text("#panel-more")
    assert visit.page.locator("dd.choice").count() == 0
    visit.context.close()


def test_an_address_opens_the_page_at_a_cell(browser: Any, pages: dict[str, Path], against: Visit) -> None:
    against.click_cell(1, 1, 5, 0)
    address = against.page.url
    assert address.endswith(against.page.get_attribute("#link", "href"))
    visit = Visit(browser, pages["against"], address=address)
    visit.page.wait_for_selector("#panel[data-cell='1 1 5 0']")
    assert visit.page.locator(".card:not(.top) .picked:visible").count() == 2
    visit.context.close()
    for bad in ("#cell=en->es,attn,99,0,capitals,tiny-model", "#cell=%", f"#cell={ATTACK}"):
        visit = Visit(browser, pages["against"], address=pages["against"].as_uri() + bad)
        visit.page.wait_for_selector("#panel[data-cell]")  # the best cell, as without an address
        assert visit.page.inner_text("#panel-title").startswith("attn 3 → 4")
        assert visit.errors == []
        visit.context.close()

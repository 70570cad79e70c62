"""The report in a real browser: what a click shows, filters, keyboard, no request, no error, no script from the data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.publish.test_page import ATTACK, with_texts
from tests.publish.visits import Visit
from tests.synthetic import synthetic_results
from xtl.publish import write_report

pytestmark = pytest.mark.slow("Chromium")
EVIL = f"<b>bold</b> {ATTACK} <img src=x onerror=alert(2)> &amp;"
ROWS = [
    ("capitals", "en", "es", 30),
    ("capitals", "en", "ar", 4),
    ("rivers", "en", "es", 4),
]
"""Task, languages and number of instances."""


def results_of_all():  # type: ignore[no-untyped-def]
    """Results of three directions of two tasks, whose every text says where it belongs."""
    import xarray as xr

    parts = []
    for k, (task, source, target, n) in enumerate(ROWS):
        part = with_texts(synthetic_results(directions=[(source, target)], per_direction=n, seed=k))
        part = part.assign(text=part["text"].astype(object) + f" of {task} {target}")
        prompts = [f"{task} {target} prompt {i} {EVIL}" for i in range(n)]
        parts.append(part.assign_coords(target=("example", prompts), task=("example", [task] * n)))
    together = xr.concat(parts, dim="example", combine_attrs="drop_conflicts")
    del together.attrs["task"]
    return together


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    results = results_of_all()
    folder = tmp_path_factory.mktemp("report")
    return write_report(folder / "report.html", results, title=f"A title {EVIL}"), results


@pytest.fixture
def visit(browser: Any, written: tuple[Path, Any]) -> Iterator[Visit]:
    """The report, open; afterwards it must have made no error and asked for nothing but itself."""
    opened = Visit(browser, written[0])
    yield opened
    assert opened.errors == []
    assert {url for url in opened.requests if not url.startswith("data:")} == {written[0].as_uri()}
    opened.context.close()


@pytest.mark.parametrize(("section", "module", "i", "j"), [(0, 0, 3, 4), (0, 1, 0, 5), (1, 0, 5, 0), (2, 1, 2, 2)])
def test_a_click_shows_what_the_model_said_in_that_cell(
    visit: Visit, written: tuple[Path, Any], section: int, module: int, i: int, j: int
) -> None:
    visit.click_cell(section, module, i, j)
    visit.page.select_option("#order", "as")
    task, _, target, n = ROWS[section]
    results = written[1]
    chosen = results.isel(
        example=(results["task"].values == task) & (results["target_lang"].values == target),
        module=module, source_layer=i, target_layer=j,
    )  # fmt: skip
    shown = min(n, 20)
    assert visit.texts("dd.transplanted") == chosen["text"].values[:shown].tolist()
    assert visit.texts("dd.vanilla") == chosen["vanilla_text"].values[:shown].tolist()
    assert visit.texts("dd.gold") == [gold.strip() for gold in chosen["gold"].values[:shown]]
    words = {(True, True): "right → right", (True, False): "right → wrong", (False, True): "wrong → right",
             (False, False): "wrong → wrong"}  # fmt: skip
    wanted = [
        words[bool(a), bool(b)] for a, b in zip(chosen["vanilla_correct"].values, chosen["correct"].values, strict=True)
    ]
    assert visit.texts(".outcome") == wanted[:shown]
    mean = float(chosen["gain"].astype("float64").mean())
    assert f"{mean:+.3f}".replace("-", "−") in visit.page.inner_text("#panel-words")


def test_text_from_the_data_stays_text(visit: Visit) -> None:
    visit.click_cell(1, 0, 3, 4)
    visit.page.select_option("#order", "as")
    assert visit.texts("dd.prompt")[1] == f"capitals ar prompt 0 {EVIL}"
    assert visit.page.inner_text("h1") == f"A title {EVIL}"
    assert visit.page.locator("#instances b, #instances script, #instances img, h1 b").count() == 0


def test_filters_leave_what_was_asked_for(visit: Visit) -> None:
    cards = ".cards .card:not([hidden])"
    assert visit.page.locator(cards).count() == 6
    visit.page.select_option("[name=direction]", label="en->es")
    assert visit.page.locator(cards).count() == 4
    visit.page.select_option("[name=task]", label="rivers")
    visit.page.select_option("[name=module]", label="mlp")
    assert visit.texts(f"{cards} figcaption") == ["mlp"]
    assert visit.texts(".block:not([hidden]) h3") == ["rivers, en → es n = 4"]
    assert visit.page.locator(".card.top").count() == 2
    assert visit.texts("#summary ~ .scroll tbody tr:not([hidden]) td:nth-of-type(1)") == ["mlp"]
    assert visit.page.inner_text("#shown") == "1 of 6 maps"
    visit.page.select_option("[name=direction]", label="en->ar")
    assert visit.page.locator(cards).count() == 0
    assert visit.page.is_visible("#none")


def test_the_measure_changes_the_picture_and_the_bar(visit: Visit) -> None:
    picture = visit.map(0, 0).locator("picture:not([hidden]) img")
    before = picture.get_attribute("src")
    assert visit.texts(".bar:visible > span:first-child") == ["mean gain (nats)"] * 2  # at the top, and above all maps
    visit.page.select_option("[name=measure]", "accuracy")
    assert picture.get_attribute("src") != before
    assert ["points" in text for text in visit.texts(".bar:visible")] == [True, True]


def test_outcomes_search_and_more_narrow_the_list(visit: Visit, written: tuple[Path, Any]) -> None:
    visit.click_cell(0, 0, 3, 4)
    assert visit.page.locator(".instance").count() == 20
    visit.page.click("#more")
    assert visit.page.locator(".instance").count() == 30
    cell = written[1].isel(example=slice(30), module=0, source_layer=3, target_layer=4)
    fixed = int((cell["correct"].values & ~cell["vanilla_correct"].values).sum())
    visit.page.locator("#outcomes label", has_text="wrong → right").click()
    assert visit.page.locator(".instance").count() == fixed > 0
    visit.page.locator("#outcomes label", has_text="all").click()
    visit.page.fill("#find", "PROMPT 17 ")
    assert visit.page.locator(".instance").count() == 1
    visit.page.fill("#find", "nothing like it")
    assert visit.page.inner_text("#count") == "No instance matches."


def test_instances_are_ordered_by_gain(visit: Visit, written: tuple[Path, Any]) -> None:
    visit.click_cell(1, 1, 2, 3)
    gain = written[1].isel(example=slice(30, 34), module=1, source_layer=2, target_layer=3)["gain"].values
    shown = [f"gain {value:+.3f} nats".replace("-", "−") for value in sorted(gain, reverse=True)]
    assert visit.texts(".instance h4 .soft") == shown
    visit.page.select_option("#order", "up")
    assert visit.texts(".instance h4 .soft") == shown[::-1]


def test_the_keyboard_is_enough(visit: Visit) -> None:
    visit.map(0, 0).focus()
    for key in ("ArrowUp", "End", "ArrowUp", "ArrowUp", "ArrowLeft"):
        visit.page.keyboard.press(key)
    assert "source layer 2 → target layer 4" in visit.page.inner_text("#spoken")
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_selector("#panel[data-cell='0 0 2 4']")
    assert visit.page.inner_text("#panel-title").startswith("attn 2 → 4")
    assert visit.page.evaluate("document.activeElement.id") == "panel-title"


def test_the_summary_opens_its_cells_and_sorts(visit: Visit) -> None:
    visit.page.locator("button.cell").first.click()
    visit.page.wait_for_selector("#panel.opened[data-cell='0 0 3 4']")
    assert visit.page.inner_text("#panel-title") == "attn 3 → 4, capitals, en → es"
    head = visit.page.locator("th", has_text="its gain, in-sample")
    column = "#summary ~ .scroll tbody tr td:nth-of-type(7)"
    for state, sign in (("descending", -1), ("ascending", 1)):
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == state
        values = [float(text.replace("−", "-")) for text in visit.texts(column)]
        assert values == sorted(values, key=lambda value: sign * value)


def test_the_map_is_there_as_a_table_too(visit: Visit, written: tuple[Path, Any]) -> None:
    visit.click_cell(2, 0, 1, 1)
    visit.page.click("#cell-table summary")
    visit.page.wait_for_selector("#cell-table tbody td")
    found = [float(t.replace("−", "-")) for t in visit.texts("#cell-table tbody td")]
    mean = written[1].isel(example=slice(34, 38), module=0)["gain"].mean("example").values
    np.testing.assert_allclose(np.array(found).reshape(6, 6), mean, atol=0.00501)


def test_a_run_without_answers_says_so_and_shows_its_scores(browser: Any, tmp_path: Path) -> None:
    results = synthetic_results(directions=[("en", "es")])
    opened = Visit(browser, write_report(tmp_path / "report.html", results))
    opened.click_cell(0, 0, 3, 4)
    opened.page.select_option("#order", "as")
    cell = results.isel(module=0, source_layer=3, target_layer=4)
    shown = [
        f"{before:.3f} vanilla, {after:.3f} transplanted (no answers were generated)".replace("-", "−")
        for before, after in zip(results["vanilla_score"].values, cell["score"].values, strict=True)
    ]
    assert opened.texts(".instance dl:last-of-type dd:last-of-type") == shown
    assert opened.errors == []
    opened.context.close()


def test_right_to_left_text_runs_right_to_left(visit: Visit) -> None:
    visit.click_cell(1, 0, 0, 0)
    target = visit.page.locator("dd[lang=ar]").first
    assert target.get_attribute("dir") == "rtl"
    assert visit.page.locator("dd[lang=en]").first.get_attribute("dir") == "auto"


@pytest.mark.parametrize(("width", "scheme"), [(320, "light"), (390, "dark"), (1366, "dark"), (2560, "light")])
def test_nothing_is_wider_than_the_screen_and_all_text_can_be_read(
    browser: Any, written: tuple[Path, Any], width: int, scheme: str
) -> None:
    opened = Visit(browser, written[0], viewport={"width": width, "height": 800}, color_scheme=scheme)
    opened.click_cell(0, 0, 3, 4)
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    assert opened.page.evaluate(CONTRAST) == []
    assert opened.errors == []
    opened.context.close()


def test_without_scripts_maps_and_tables_are_there(browser: Any, written: tuple[Path, Any]) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(written[0].as_uri())
    assert page.locator("picture:visible img").count() == 6 + 2
    assert page.is_visible("text=Scripts are off")
    context.close()


def test_it_prints(browser: Any, written: tuple[Path, Any]) -> None:
    opened = Visit(browser, written[0])
    opened.page.emulate_media(media="print")
    assert not opened.page.is_visible("form.filters")
    assert opened.page.is_visible(".cards img >> nth=0")
    assert opened.page.pdf()[:5] == b"%PDF-"
    opened.context.close()


CONTRAST = """() => {
  const light = (colour) => {
    const [r, g, b] = colour.map((c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const colour = numbers(getComputedStyle(node).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.checkVisibility()) continue;
    const [a, b] = [light(numbers(getComputedStyle(node).color)), light(behind(node))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) poor.push(node.outerHTML.slice(0, 120));
  }
  return poor;
}"""
"""Elements whose text has a contrast below 4.5, the WCAG's AA level."""

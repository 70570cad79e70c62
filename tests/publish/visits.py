"""A report that is open in Chromium."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class Visit:
    """A page that is open, and all that it did: errors and requests."""

    def __init__(self, browser: Any, path: Path, address: str = "", **options: Any) -> None:
        self.context = browser.new_context(**({"viewport": {"width": 1366, "height": 768}} | options))
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.errors.append(message.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.errors.append(f"dialog {dialog.message}"), dialog.dismiss()))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address or path.as_uri())
        self.page.wait_for_selector("html[data-ready]")

    def click_cell(self, section: int, module: int, i: int, j: int, layers: int = 6) -> None:
        box = self.map(section, module)
        size = box.bounding_box()
        width, height = size["width"] - 2, size["height"] - 2
        position = {"x": 1 + (j + 0.5) * width / layers, "y": 1 + (layers - i - 0.5) * height / layers}
        box.click(position=position)
        self.page.wait_for_selector(f"#panel[data-cell='{section} {module} {i} {j}']")

    def map(self, section: int, module: int) -> Any:
        return self.page.locator(f".card:not(.top)[data-section='{section}'][data-module='{module}'] > .frame .map")

    def texts(self, selector: str) -> list[str]:
        return [text.strip() for text in self.page.locator(selector).all_inner_texts()]

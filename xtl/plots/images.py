"""Figures as images: PNG, SVG or PDF, through kaleido and Chrome or Chromium."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import plotly.graph_objects as go

from xtl.errors import InputError, XtlError, check_number, check_whole, known_keywords
from xtl.files import write_whole
from xtl.packages import install_hint


class FigureError(XtlError, RuntimeError):
    """A figure cannot be turned into an image: a package or a browser is missing."""


@known_keywords()
def save_png(
    figure: go.Figure,
    path: str | os.PathLike[str],
    width: int | None = None,
    height: int | None = None,
    scale: int | float = 2,
) -> Path:
    """Write a figure as a PNG image through kaleido and Chrome or Chromium.

    Args:
        figure: any plotly figure.
        path: file to write; its folder must exist.
        width, height: size in layout pixels; the figure's own by default.
        scale: image pixels per layout pixel.

    Raises:
        FigureError: kaleido, or a browser for it, is not installed. The message says how to install it.
        InputError: `path` cannot be written.
    """
    target = Path(path)
    if target.is_dir() or not target.parent.is_dir():
        raise InputError(f"cannot write {str(path)!r}: give a file name in a folder that exists")
    data = image_bytes(figure, "png", width, height, scale)
    return write_whole(target, lambda place: place.write_bytes(data), make_folder=False)


@known_keywords()
def image_bytes(
    figure: go.Figure, form: str, width: int | None = None, height: int | None = None, scale: int | float = 1
) -> bytes:
    """A figure as an image file's bytes: "png", "svg" or "pdf". Other arguments and errors: as for `save_png`."""
    for name, size in (("width", width), ("height", height)):
        if size is not None:
            check_whole(name, size, 1)
    if check_number("scale", scale, 0) == 0:
        raise InputError("scale must be larger than 0")
    what = form.upper()
    try:
        from kaleido.errors import ChromeNotFoundError
    except ImportError as error:
        raise FigureError(f"{what} export needs the package kaleido 1.x: {install_hint('figures')}") from error
    for attempt in (1, 2):
        try:
            with _quiet():
                return figure.to_image(format=form, width=width, height=height, scale=scale)
        except Exception as error:  # a browser fails in many ways; plotly wraps some of them in a RuntimeError
            missing = isinstance(error, ChromeNotFoundError) or "chrome" in str(error).lower()
            if attempt == 1 and not missing:
                continue  # what a browser does not take at once, it often takes the second time
            failed = "found no Chrome or Chromium" if missing else f"failed twice ({type(error).__name__})"
            hint = (
                "install chromium (apt-get install chromium) or run plotly_get_chrome; BROWSER_PATH names one elsewhere"
            )
            raise FigureError(f"{what} export {failed}: {hint}") from error
    raise AssertionError("unreachable")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the tracebacks that the browser's driver logs of messages which it then ignores."""
    log = logging.getLogger("choreographer")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)

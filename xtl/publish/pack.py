"""Arrays and texts as one string that a page can hold and unpack by itself: JSON and arrays, gzip, base64.

Layout before gzip: the length of the JSON (uint32), the JSON in UTF-8, then the arrays, each from a multiple of 4 bytes on
(counted from the end of the JSON). The JSON's `arrays` says where each lies. All numbers are little-endian.
"""

from __future__ import annotations

import base64
import gzip
import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

KINDS = {"int16": "<i2", "uint8": "<u1", "uint16": "<u2", "uint32": "<u4", "float32": "<f4"}
MISSING = -32768
"""Stands for NaN in `quantised` arrays."""


def pack(texts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    """JSON-able content and arrays as one base64 string; equal content gives equal strings.

    >>> packed = pack({"a": ["<b>"]}, {"x": np.array([1, 2], "uint8")})
    >>> content, arrays = unpack(packed)
    >>> content["a"], arrays["x"].tolist()
    (['<b>'], [1, 2])
    """
    body, places = bytearray(), {}
    for name, values in arrays.items():
        kind = values.dtype.name
        data = np.ascontiguousarray(values, KINDS[kind]).tobytes()
        places[name] = {"kind": kind, "start": len(body), "length": int(values.size)}
        body += data + bytes(-len(data) % 4)
    head = json.dumps({**texts, "arrays": places}, ensure_ascii=False).encode("utf-8", "backslashreplace")
    return base64.b64encode(gzip.compress(struct.pack("<I", len(head)) + head + body, 9, mtime=0)).decode()


def unpack(packed: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What `pack` was given; arrays are flat."""
    data = gzip.decompress(base64.b64decode(packed))
    start = 4 + struct.unpack("<I", data[:4])[0]
    content = json.loads(data[4:start])
    arrays = {
        name: np.frombuffer(data, KINDS[place["kind"]], place["length"], start + place["start"])
        for name, place in content.pop("arrays").items()
    }
    return content, arrays


def quantised(values: np.ndarray) -> tuple[np.ndarray, float]:
    """Numbers as int16 and the step between them; NaN and infinity become `MISSING`.

    >>> steps, step = quantised(np.array([1.0, -0.5, np.nan]))
    >>> steps.tolist(), round(float(step * steps[0]), 6)
    ([32767, -16384, -32768], 1.0)
    """
    finite = np.isfinite(values)
    largest = float(np.abs(values[finite]).max()) if finite.any() else 0.0
    step = largest / 32767 or 1.0
    steps = np.rint(np.where(finite, values, 0) / step)
    return np.where(finite, steps, MISSING).astype(np.int16), step


SHARES = 65534
"""Steps of `shares`; the number above stands for NaN."""


def shares(values: np.ndarray) -> np.ndarray:
    """Numbers from 0 to 1 as uint16, in steps of 1 / `SHARES`; NaN becomes `SHARES` + 1.

    >>> shares(np.array([0.0, 1.0, np.nan])).tolist()
    [0, 65534, 65535]
    """
    known = np.isfinite(values)
    steps = np.rint(np.clip(np.where(known, values, 0), 0, 1) * SHARES)
    return np.where(known, steps, SHARES + 1).astype(np.uint16)

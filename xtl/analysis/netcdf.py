"""Writing what an analysis computed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xtl.errors import InputError, XtlError
from xtl.files import write_whole

if TYPE_CHECKING:
    import xarray as xr


def save(data: xr.Dataset, path: Path) -> Path:
    """Write what an analysis computed as netCDF, whole or not at all; `xarray.load_dataset` reads it.

    Attributes that netCDF has no type for are written as text.

    Raises:
        InputError: values or names that netCDF can't hold, or a disk that takes no file.
    """
    clean = data.copy()
    clean.attrs = _plain(clean.attrs)
    for variable in clean.variables.values():
        variable.attrs = _plain(variable.attrs)
    try:
        return write_whole(path, lambda temporary: clean.to_netcdf(temporary, engine="scipy"))
    except XtlError:  # the disk's
        raise
    except (TypeError, ValueError, NotImplementedError) as error:
        raise InputError(f"{path.name} can't be written as netCDF: {error}") from error


def _plain(attrs: Mapping[Any, Any]) -> dict[Any, Any]:
    kept = (str, int, float)
    return {
        key: value if isinstance(value, kept) and not isinstance(value, bool) else str(value)
        for key, value in attrs.items()
    }

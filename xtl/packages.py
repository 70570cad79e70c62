"""What is installed: the versions that numbers depend on, and how to get an extra that is missing.

The import is called `xtl`, the distribution `xtl-interp`: on PyPI `xtl` is a package for crystallography.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

VERSION = "0.1.0"
"""Of this package."""
DISTRIBUTION = "xtl-interp"
"""What pip calls this package."""
ROOT = Path(__file__).parent.parent
"""Where this package stands: a checkout of its source, or site-packages."""


def install_hint(extra: str) -> str:
    """The command that installs an extra: for a checkout, if that is what runs here, else for the installed distribution.

    >>> install_hint("demo").startswith("pip install ")
    True
    """
    project = ROOT / "pyproject.toml"
    if not (project.is_file() and f'name = "{DISTRIBUTION}"' in project.read_text(encoding="utf-8")):
        return f"pip install {shlex.quote(f'{DISTRIBUTION}[{extra}]')}"
    here = "." if os.path.realpath(os.curdir) == os.path.realpath(ROOT) else str(ROOT)
    return f"pip install -e {shlex.quote(f'{here}[{extra}]')}"


def versions(names: tuple[str, ...]) -> dict[str, str | None]:
    """Versions of installed packages; None for those that are not there. `xtl` is this package, installed or not.

    >>> versions(("no-such-package",))
    {'no-such-package': None}
    """
    return {name: VERSION if name == "xtl" else _version(name) for name in names}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def lazily(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package whose public names are imported when they are first used.

    So `import xtl` and `xtl --help` stay quick: torch alone takes seconds.

    Args:
        package: its name.
        homes: the module of each public name; a name that is a module itself has its own. "module:name" where it is called
            otherwise there.

    >>> get, names = lazily("xtl", {"InputError": "xtl.errors", "stats": "xtl.stats"})
    >>> get("InputError").__name__, names()
    ('InputError', ['InputError', 'stats'])
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}; it has: {', '.join(sorted(homes))}")
        home, _, own = homes[name].partition(":")
        module = import_module(home)
        return module if home == f"{package}.{name}" else getattr(module, own or name)

    return get, lambda: sorted(homes)

"""Print the floors of pyproject.toml as constraints, torch held at the version that constraints.txt has: `make test-oldest`."""

import re
from pathlib import Path

import tomllib

ROOT = Path(__file__).resolve().parent.parent
project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
floors = dict(match.groups() for one in wanted if (match := re.match(r"([\w.-]+)(?:\[\w+\])?>=([\w.]+)", one)))
held = re.search(r"^torch==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
assert held is not None
for name, floor in floors.items():
    # No wildcard: that would be the newest release of that name.
    print(f"{name}=={held[1] if name == 'torch' else floor}")

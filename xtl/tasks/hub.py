"""Reads the public benchmarks: Parquet or CSV files of the Hugging Face hub, at a pinned revision, through `datasets`.

Only the data files that are needed are fetched (a test split of one language, 0.1 to 20 MB; never the training data), kept in
the hub's own cache, and read row by row. No code from the hub is ever run: files are read by the Parquet and CSV readers of
`datasets`, which has no loading scripts any more. `folder` reads a local copy with the same layout instead.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xtl.errors import InputError, XtlError, one_line
from xtl.packages import install_hint


class DataError(XtlError, RuntimeError):
    """A benchmark cannot be had: not in the cache and no network, or a file that is gone."""


class UnreachableError(DataError):
    """The hub can't be reached: what holds for one language holds for all."""


@dataclass(frozen=True)
class HubFile:
    """A data file of the hub.

    Attributes:
        repo: id of the data set's repository.
        revision: commit that it is taken from.
        path: path in the repository; `{config}` stands for a language or a variant.
        columns: columns that must be there.
        other_paths: where else a local copy may have it (the layout of the hub's own conversion to Parquet, the authors' file).
    """

    repo: str
    revision: str
    path: str
    columns: tuple[str, ...]
    other_paths: tuple[str, ...] = ()

    def rows(self, config: str = "", folder: str | Path | None = None) -> Iterator[dict[str, Any]]:
        """The rows of the file, one by one, with at least `columns`.

        Args:
            config: fills `{config}` in the path.
            folder: a local copy of the repository; None fetches the file, or takes it from the cache.

        Raises:
            InputError: no such file in `folder`, or columns that are missing.
            DataError: the file is not in the cache and the hub can't be reached.
        """
        path = self.local(config, folder) if folder is not None else self.fetch(config)
        rows = _read(path)
        missing_checked = False
        try:
            for row in rows:
                if not missing_checked:
                    missing = [column for column in self.columns if column not in row]
                    if missing:
                        raise InputError(f"{path}: columns missing: {', '.join(missing)}; it has {', '.join(row)}")
                    missing_checked = True
                yield row
        except (OSError, ValueError, RuntimeError) as error:
            if isinstance(error, XtlError):
                raise
            raise InputError(f"{path} cannot be read: {one_line(error, 200)}") from error
        if not missing_checked:
            raise InputError(f"{path} has no rows")

    def local(self, config: str, folder: str | Path) -> Path:
        """The file in a local copy of the repository.

        Raises:
            InputError: it is not there; the message says what was looked for.
        """
        root = Path(folder)
        if not root.is_dir():
            raise InputError(f"no folder {str(root)!r} with a copy of {self.repo}")
        tried = [path.format(config=config) for path in (self.path, *self.other_paths)]
        for path in tried:
            if (root / path).is_file():
                return root / path
        raise InputError(f"{root} holds no {' and no '.join(tried)} (the layout of {self.repo} on the hub)")

    def fetch(self, config: str) -> Path:
        """The file in the hub's cache, fetched once if need be.

        Raises:
            DataError: not in the cache and no network (the message says what to run where there is one), or gone.
        """
        import huggingface_hub

        path = self.path.format(config=config)
        log = logging.getLogger("huggingface_hub")
        level = log.level
        log.setLevel(logging.ERROR)  # not a line for each of its retries: what came of them is said below
        try:
            return Path(huggingface_hub.hf_hub_download(self.repo, path, repo_type="dataset", revision=self.revision))
        except Exception as error:  # the hub's errors come from several libraries
            command = (
                f"`hf download {self.repo} {path} --repo-type dataset --revision {self.revision} --local-dir FOLDER`"
            )
            kinds = {kind.__name__ for kind in type(error).__mro__}
            if kinds & {
                "RepositoryNotFoundError",
                "RemoteEntryNotFoundError",
                "RevisionNotFoundError",
                "GatedRepoError",
            }:
                raise DataError(
                    f"the hub has no {path} in {self.repo} at {self.revision} ({type(error).__name__})"
                ) from error
            raise UnreachableError(
                f"{self.repo} ({path}) is not in the local cache and the Hugging Face hub cannot be reached; where there is a "
                f"network, run {command}, copy FOLDER here, and give folder=FOLDER (--data FOLDER) with origin hub"
            ) from error
        finally:
            log.setLevel(level)


def _read(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet or CSV file."""
    try:
        import datasets
    except ImportError as error:
        raise InputError(f"reading the public benchmarks needs `datasets`: {install_hint('hub')}") from error
    if path.suffix == ".parquet":
        yield from datasets.load_dataset("parquet", data_files=[str(path)], split="train", streaming=True)
        return
    # "None" and "NA" are answers; a CSV is read to its end at once, or its file would stay open
    options = {"split": "train", "streaming": True, "keep_default_na": False}
    yield from list(datasets.load_dataset("csv", data_files=[str(path)], **options))


def text_of(row: dict[str, Any], column: str, where: str) -> str:
    """A non-empty text of a row.

    Raises:
        InputError: no text, or an empty one.

    >>> text_of({"premise": " A dog. "}, "premise", "row 0")
    'A dog.'
    """
    value = row.get(column)
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{where}: {column} must be a non-empty text, got {value!r}")
    return value.strip()


def choice_of(row: dict[str, Any], column: str, choices: Sequence[Any], where: str) -> int:
    """Index of a row's label among the possible ones.

    Raises:
        InputError: a label that is none of them (hidden test labels are -1).
    """
    value = row.get(column)
    if value not in choices or isinstance(value, bool) != isinstance(choices[0], bool):
        raise InputError(f"{where}: {column} {value!r} is no label; valid: {', '.join(map(str, choices))}")
    return list(choices).index(value)

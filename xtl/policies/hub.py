"""Policies on the Hugging Face hub: a repository that holds what a policy's folder holds, with the same card."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TypeVar

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from xtl.errors import InputError, ModelError, check_flag, check_text, one_line, shown
from xtl.policies.fields import Fields
from xtl.policies.folder import FILES, POLICY, load_policy, save_policy

F = TypeVar("F", bound=Fields)
ADDED = (".gitattributes",)
"""What the hub puts into a repository itself."""


def push_policy(policy: Fields, repo: str, *, private: bool = True, token: str | None = None) -> str:
    """Put a policy on the hub: a repository is made if there is none, and holds what its folder holds.

    Args:
        policy: to be shared.
        repo: "owner/name".
        private: of a repository that is made: seen by its owner alone.
        token: of the hub; the one that you are logged in with by default.

    Returns:
        The address of the commit.

    Raises:
        InputError: a name that can't be one.
        ModelError: the hub refuses, or can't be reached.
    """
    check_text("repo", repo)
    check_flag("private", private)
    api = HfApi(token=token)
    with tempfile.TemporaryDirectory() as place:
        folder = save_policy(policy, Path(place) / "policy")
        try:
            api.create_repo(repo, private=private, exist_ok=True)
            said = api.upload_folder(
                repo_id=repo, folder_path=folder, commit_message="A policy of xtl", delete_patterns=list(FILES)
            )
        except Exception as error:
            raise _told(repo, error) from error
    return str(getattr(said, "commit_url", said))


def policy_from_hub(kind: type[F], repo: str, *, revision: str | None = None, token: str | None = None) -> F:
    """Get a policy from the hub. Only its own three files are fetched, and none of them can run.

    Args:
        kind: `Policy`.
        repo: "owner/name".
        revision: a branch, tag or commit; the newest by default.
        token: of the hub, for private ones.

    Raises:
        InputError: no such name; a repository that holds other things, or a damaged policy.
        ModelError: the hub refuses, or can't be reached.
    """
    check_text("repo", repo)
    api = HfApi(token=token)
    try:
        files = api.list_repo_files(repo, revision=revision)
    except Exception as error:
        raise _told(repo, error) from error
    if POLICY not in files:
        raise InputError(f"repo {shown(repo)} holds no policy: it has no {POLICY}")
    if others := sorted(set(files).difference(FILES, ADDED)):
        raise InputError(
            f"repo {shown(repo)} holds {shown(others[0])}; a policy's holds {', '.join(FILES)} and no more"
        )
    with tempfile.TemporaryDirectory() as place:
        for name in set(files).intersection(FILES):
            try:
                shutil.copy(api.hf_hub_download(repo, name, revision=revision), Path(place) / name)
            except Exception as error:
                raise _told(repo, error) from error
        return load_policy(kind, place)


def _told(repo: str, error: Exception) -> InputError | ModelError | Exception:
    """What the hub's library raised, in one line; what is not of it stays as it is."""
    reason = one_line(error, 200)
    if isinstance(error, HFValidationError):
        return InputError(f"repo {shown(repo)} can't be a repository's name: {reason}")
    if isinstance(error, (HfHubHTTPError, LocalEntryNotFoundError, OSError)):
        return ModelError(f"the hub does not give or take {shown(repo)}: {reason}")
    return error

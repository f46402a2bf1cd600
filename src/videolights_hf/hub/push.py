"""Uploading checkpoints, whose folders are more than one level deep."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from huggingface_hub import create_branch, create_repo, upload_folder

from .code import SUFFIX

# Arguments of `save_pretrained(push_to_hub=True)` that say where and how to upload.
UPLOAD_ARGUMENTS = (
    "repo_id",
    "commit_message",
    "commit_description",
    "private",
    "token",
    "revision",
    "create_pr",
    "tags",
)


def push_saved_folder(
    save: Callable[[str, str], Any],
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | bool | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    **kwargs: Any,
) -> str:
    """Save to a temporary folder and upload it, with all its subfolders, in one commit.

    Transformers' own methods upload folders one level deep, and a backbone lies two deep. Where code is uploaded, code
    files of other versions are deleted from the repository in the same commit.

    Args:
        save: Writes what is uploaded; called with the folder and the full id of the repository.
        repo_id: The repository; it is made if it does not exist.
        private: Whether a new repository is private.
        token: Access token; by default the one that is logged in.
        revision: Branch, or reference of a pull request, to push to; a branch is made if it does not exist.
        create_pr: Open a pull request instead of pushing.
        **kwargs: Passed to `huggingface_hub.upload_folder` (`commit_message`, `commit_description`, ...).

    Returns:
        The commit's address.
    """
    repo_id = create_repo(repo_id, private=private, token=token, exist_ok=True).repo_id
    with tempfile.TemporaryDirectory() as folder:
        save(os.fspath(folder), repo_id)
        if revision is not None and not create_pr and not revision.startswith("refs/"):
            create_branch(repo_id, branch=revision, token=token, exist_ok=True)
        code = f"*{SUFFIX}.py"
        return upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            token=token,
            revision=revision,
            create_pr=create_pr,
            delete_patterns=code if any(Path(folder).glob(code)) else None,
            **kwargs,
        )


__all__ = ["UPLOAD_ARGUMENTS", "push_saved_folder"]

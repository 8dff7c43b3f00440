"""Upload of a published folder to the Hugging Face hub, or to one that speaks its API (HF_ENDPOINT)."""

import os
from pathlib import Path
from typing import Literal

from looptool.errors import ConfigError, LoopToolError, shorten

TOKEN_ENV = "HF_TOKEN"  # noqa: S105 - a name, not a token


class UploadError(LoopToolError):
    """The hub did not take the folder; what was published locally is whole."""


def upload(folder: Path, repository: str, kind: Literal["model", "dataset"]) -> str:
    """Create the repository (private) if need be, upload the folder, and return the commit's address.

    Raises ConfigError without the token in HF_TOKEN or without the package huggingface_hub, UploadError
    with what the hub said.
    """
    if not os.environ.get(TOKEN_ENV):
        raise ConfigError(f"uploading to {repository} needs a token in {TOKEN_ENV}")
    try:
        from huggingface_hub import HfApi
    except ImportError as exc:
        raise ConfigError("uploading needs: pip install 'looptool[train]'") from exc
    api = HfApi(token=os.environ[TOKEN_ENV], endpoint=os.environ.get("HF_ENDPOINT"))
    try:
        api.create_repo(repository, repo_type=kind, private=True, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repository, folder_path=folder, repo_type=kind, commit_message="Publish"
        )
    except Exception as exc:  # the client's HTTP library, and so what it raises, changes by version
        raise UploadError(f"{repository} was not uploaded: {shorten(exc, 300)}") from exc
    return str(commit.commit_url)

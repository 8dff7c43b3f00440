"""Artifacts: Parquet tables and checkpoint files on any fsspec URL, committed by their manifest.

    <root>/campaigns/<name>/iterations/0003/<stage>/<key>/
        samples-00000.5f0c….parquet     a part, under a name that holds its content
        receipts/samples-00000.json     which part a run finished, so that the next one takes it over
        manifest.json                   the commit point

The key names what made the artifact (stage, configuration, digests of inputs, code and prompts), the
digest what is in it. A part appears only when whole, and two writers never overwrite each other's;
`manifest.json` is created last and at most once, so an artifact without one does not exist, and of two
writers one wins. The state of a campaign is what its manifests and iteration records say; Prefect's
database may be lost.
"""

from looptool.artifacts.manifest import (
    AHEAD,
    MANIFEST,
    NAME,
    ArtifactRef,
    CheckpointRef,
    Manifest,
    Part,
    Receipt,
    artifact_key,
    check_name,
    folder_digest,
    sha256_of,
    shards,
    software,
)
from looptool.artifacts.objects import Stored
from looptool.artifacts.store import Store, open_store
from looptool.artifacts.writer import ArtifactWriter

__all__ = [
    "AHEAD",
    "MANIFEST",
    "NAME",
    "ArtifactRef",
    "ArtifactWriter",
    "CheckpointRef",
    "Manifest",
    "Part",
    "Receipt",
    "Store",
    "Stored",
    "artifact_key",
    "check_name",
    "folder_digest",
    "open_store",
    "sha256_of",
    "shards",
    "software",
]

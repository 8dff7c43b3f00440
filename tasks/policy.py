"""Checkpoints as references, and the engine that answers for one."""

from contextlib import AbstractContextManager
from pathlib import Path

from looptool.artifacts import ArtifactRef, CheckpointRef, folder_digest
from looptool.engines import Engine, check_model_folder
from looptool.engines.client import borrow_engine
from looptool.engines.options import engine_options
from tasks.scope import Scope

CHECKPOINT = "checkpoint"
"""File group of a training artifact that holds M_j."""


def base_policy(scope: Scope) -> CheckpointRef:
    """M_0, the base model of the profile."""
    folder = check_model_folder(scope.config.policy.base)
    return CheckpointRef(uri=folder.as_uri(), digest=folder_digest(folder))


def trained_policy(trained: ArtifactRef) -> CheckpointRef:
    """M_j: the checkpoint inside a training artifact."""
    return CheckpointRef(uri=trained.uri, digest=trained.digest)


def local_folder(scope: Scope, policy: CheckpointRef) -> Path:
    """The checkpoint as a local folder, copied from the store if need be."""
    store = scope.store()
    ref = store.ref(policy.uri)
    if ref is not None:
        return store.fetch_files(ref, CHECKPOINT, scope.cache() / "checkpoints")
    return check_model_folder(store.strip(policy.uri))


def open_policy(scope: Scope, policy: CheckpointRef) -> AbstractContextManager[Engine]:
    """An engine on a checkpoint; the stages of one run share its processes."""
    config = scope.config
    folder, options = local_folder(scope, policy), engine_options(config)
    return borrow_engine(config.policy.engine, folder, options, at_once=config.policy.at_once)

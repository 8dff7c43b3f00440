"""The best policy of a campaign and its data as folders that others can use, each with its card.

`formats` the samples as veRL, TRL and ms-swift read them · `cards` the model card and the dataset card, filled
from the manifests · `folder` both folders, whole or not at all · `hub` their upload.
"""

from looptool.publish.folder import Published, publish
from looptool.publish.hub import upload

__all__ = ["Published", "publish", "upload"]

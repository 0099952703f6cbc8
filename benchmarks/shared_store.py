"""A store for tests that several processes share: folders of this machine under URLs of their own (shared://)."""

from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from pseudo import PseudoClassifier


class SharedStore(LocalFileSystem):  # type: ignore[misc]
    protocol = "shared"

    @classmethod
    def _strip_protocol(cls, path: Any) -> str:
        return str(LocalFileSystem._strip_protocol(str(path).removeprefix("shared://")))


fsspec.register_implementation("shared", SharedStore, clobber=True)


def load(**settings: Any) -> PseudoClassifier:
    """A stand-in for a model, in a process that knows the store from then on."""
    return PseudoClassifier(**settings)

import os

import pytest
from atoll.node.store.backup import offline
from atoll.node.store.blobs import BlobStore
from atoll.node.store.environment import Store
from backups import NOW, put_blobs, silent


@pytest.fixture
def home(make_home):
    """A stopped node's home, with two blobs."""
    made, _ = make_home("node")
    blobs, store = BlobStore(made / "blobs"), Store(made / "store")
    put_blobs(store, blobs, b"manifest" * 100, os.urandom(3000))
    store.close()
    return made


@pytest.fixture
def whole(home, tmp_path):
    """The backup of a stopped home, as bytes."""
    path = tmp_path / "whole.tar"
    offline(home, path, NOW, with_key=True, progress=silent)
    data = path.read_bytes()
    path.unlink()
    return data

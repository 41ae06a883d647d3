"""What a node keeps: an LMDB environment with typed tables, and blobs on disk."""

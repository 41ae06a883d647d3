"""Administration of the node: tokens, queue, audit log, quotas, storage."""

"""The documentation, on every node."""

"""The documentation, markdown that every node serves; what the code knows is made by ``python -m atoll.node.docs``."""

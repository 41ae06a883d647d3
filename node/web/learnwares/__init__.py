"""Learnwares, of this dock and of the catalogue: what they are, and how to use them."""

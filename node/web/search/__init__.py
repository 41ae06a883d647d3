"""The pages of a search."""

"""The search page at `/` of every node: rendered here, no outside asset, works without JavaScript."""

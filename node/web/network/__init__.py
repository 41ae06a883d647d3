"""Peers and federations, their state and lag."""

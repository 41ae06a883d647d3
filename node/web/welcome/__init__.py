"""The first visit: a real example on an empty node."""

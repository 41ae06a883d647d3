"""Beimingwu's packages, specifications and words, read and written. Nothing in a foreign zip is imported, run or
unpickled here."""

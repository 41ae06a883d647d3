"""Attacks on the sandbox: hostile Python and hostile files, for the tests and for examples/benchmarks/sandbox.py."""

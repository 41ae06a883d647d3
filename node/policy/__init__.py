"""The owner's policy at work: rules, requests and grants, quotas and counts, and the gate that all acts go through."""

from atoll.node.policy.gate import Gate

__all__ = ["Gate"]

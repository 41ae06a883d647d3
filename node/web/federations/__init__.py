"""Federations: invite, members, renewals, revocations, takedowns."""

"""Waiting well: when to ask next, and what an answer means for the wait."""

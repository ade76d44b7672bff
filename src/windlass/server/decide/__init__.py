"""Thinking: facts and ``now`` in, decisions out. No clock, loop, database, randomness or logging here.

Belongs here: how many containers, where, who gets which input next, what a failure means. Does not belong here:
doing anything about it.
"""

"""The door for time: loops that look at the world when woken, and at each tick.

Belongs here: when to look. Does not belong here: what to do then (apply) and why (decide).
"""

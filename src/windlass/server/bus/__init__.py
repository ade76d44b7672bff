"""Nudges: signals that make a loop look early, and links that say when they can take more.

Losing any of them makes the server slow, never wrong.
"""

"""Volumes on this machine: layers, mounts of containers, and what is asked of a volume from outside.

The server decides which layers a volume is and in which order; here they are made, stacked, read and removed.
"""

"""Bytes by digest on the local disk.

Belongs here: taking chunks in, giving chunks out, checking digests. Does not belong here: what the bytes mean.
"""

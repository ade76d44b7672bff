"""Buckets of S3 and alike as folders of containers."""

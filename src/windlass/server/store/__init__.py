"""Remembering: the only place that knows SQL. One thin module per noun, statements by name in ``queries/*.sql``.

Belongs here: rows in, rows out. Does not belong here: what they mean.
"""

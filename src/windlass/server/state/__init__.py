"""The nouns with a life, their states, and the tables of legal moves. No I/O, no clock, no decisions.

Rows are the truth; these objects are the part of it that the server is working with. After a crash they are
rebuilt from rows.
"""

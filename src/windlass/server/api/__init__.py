"""The door for users, workers and runners: who asks, may they, is it well formed; then one action, then the answer.

Belongs here: one file per noun of the wire. Does not belong here: SQL, decisions, anything long.
"""

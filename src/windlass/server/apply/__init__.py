"""Carrying out: the only room that changes rows and memory, always inside a turn (one transaction, one commit).

Belongs here: moving nouns from state to state. Does not belong here: choosing (decide), statements (store),
understanding requests (api).
"""

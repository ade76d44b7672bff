"""Shapes of everything that travels, one file per noun.

A message is a plain ``TypedDict``: senders build literals, the server validates them with msgspec into
the same shape, and the standard library can read them inside any container. Binary values travel beside
the JSON header as *attachments*; a field that points to one is documented so.

Three kinds of exchange exist (see ``windlass.wire.peer``): a *request* has one answer, a *stream* has many
items and an end, a *notice* has no answer. Either end of a connection may start one.
The table of methods with their shapes is ``windlass.wire.messages.methods``.
"""

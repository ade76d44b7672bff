"""The server: remembers and decides. One asyncio process, one SQLite writer.

Belongs here: what is true about apps, functions, calls, containers, images, and what shall happen next. Does not
belong here: anything that needs privileges (worker) or touches user code (runner); user payloads are never unpickled.
"""

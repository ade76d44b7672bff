"""Backups of a platform: made while it runs, restored as a whole or not at all.

    head.json     first: format, schema of the database, release, when and of which home
    tree/<path>   bytes of each file, by its path below the home
    files.jsonl   one line a file, folder, link or whiteout: what it is, whose, its digest
    seal.json     last: digest and length of ``files.jsonl``. What has no seal is no whole backup

An archive (``.tar``, ``.tar.gz``) has these as members, in this order. A folder of backups has one folder of them for
each, and what did not change since the one before is a hard link to it.

Order makes them consistent: the server is kept from deleting (``server.objects.gate``), then the database is copied as
it is at one moment, then all that it can name, which was there before the rows that name it.
"""

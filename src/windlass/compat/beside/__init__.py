"""A folder for ``sys.path``, which holds ``modal`` and nothing else (see ``compat.hand_down``)."""

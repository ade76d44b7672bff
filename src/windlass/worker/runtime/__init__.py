"""Ways to run a container. ``base`` is the contract; one implementation per file.

``process`` has no isolation and exists for the project's own tests; ``oci`` drives crun, runc or runsc under conmon.
"""

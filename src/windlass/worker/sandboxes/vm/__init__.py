"""Sandboxes in a virtual machine of their own (ADR 0028).

    cell: namespaces of the sandbox          /rootfs  its files and volumes, /bundle  what the machine keeps
      └─ machine ── qemu ── a kernel of its own ── guest (its first process) ── commands
         (stdlib)  └─ virtiofsd (opens files below /rootfs)

``parts`` finds the programs and the kernel, ``ramdisk`` makes what the kernel begins with, ``plan`` says what is run,
``machine`` runs it in the cell, ``guest`` is the first process inside, on its ``ground``, ``frames`` the one line
between these two, and ``room`` the worker's side. What runs in cells and machines imports the standard library alone.
"""

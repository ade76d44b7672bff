"""Putting a filter of system calls on this process: the profile of ``worker.seccomp``, through libseccomp.

The runtime does that for the containers that it makes; this is for commands in forks, which it does not know.
"""
from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from typing import Any

from windlass import exception

_LIBRARY = "libseccomp.so.2"
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_PR_SET_SECCOMP, _MODE_FILTER, _INSTRUCTION = 22, 2, 8
_OPTIMIZE, _TREE = 8, 2
_OPERATORS = {"SCMP_CMP_NE": 1, "SCMP_CMP_EQ": 4, "SCMP_CMP_MASKED_EQ": 7}


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


def load(program: bytes) -> None:
    """Let what ``Filter.program`` gave hold for this process, for ever. It must have given up new privileges."""
    libc = ctypes.CDLL(None, use_errno=True)
    filled = _Program(len(program) // _INSTRUCTION, program)
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(filled), 0, 0):
        raise OSError(ctypes.get_errno(), "the filter of system calls could not be loaded")


class _Comparison(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


class Filter:
    """A profile, ready to be loaded. Raises ``UnimplementedError`` where libseccomp is not installed."""

    def __init__(self, profile: Mapping[str, Any]) -> None:
        try:
            self._lib = ctypes.CDLL(_LIBRARY)
        except OSError:
            raise exception.UnimplementedError(f"{_LIBRARY} is not installed") from None
        self._lib.seccomp_init.restype = ctypes.c_void_p
        default = _ERRNO | profile["defaultErrnoRet"]
        self._context = ctypes.c_void_p(self._lib.seccomp_init(ctypes.c_uint32(default)))
        # Searched as a tree it is loaded in half the time. Libraries before 2.5 cannot, and then it is a list.
        self._lib.seccomp_attr_set(self._context, _OPTIMIZE, ctypes.c_uint32(_TREE))
        for rule in profile["syscalls"]:
            action = _ALLOW if rule["action"] == "SCMP_ACT_ALLOW" else _ERRNO | rule["errnoRet"]
            comparisons = [_comparison(one) for one in rule.get("args", ())]
            if action != default:
                for name in rule["names"]:
                    self._add(name, action, comparisons)

    def load(self) -> None:
        """From here on it holds, for ever."""
        if self._lib.seccomp_load(self._context):
            raise OSError(0, "the filter of system calls could not be loaded")

    def program(self) -> bytes:
        """The filter as the kernel takes it, for ``load``: much faster than to make it again for each process."""
        descriptor = os.memfd_create("filter", os.MFD_CLOEXEC)
        try:
            if self._lib.seccomp_export_bpf(self._context, descriptor):
                raise OSError(0, "the filter of system calls could not be written")
            return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
        finally:
            os.close(descriptor)

    def _add(self, name: str, action: int, comparisons: list[_Comparison]) -> None:
        number = self._lib.seccomp_syscall_resolve_name(name.encode())
        if number < 0:
            return  # newer than the library, and so refused by default; or of another kind of processor
        array = (_Comparison * len(comparisons))(*comparisons)
        if self._lib.seccomp_rule_add_array(self._context, ctypes.c_uint32(action), number, len(comparisons), array):
            raise OSError(0, f"no rule for {name}")


def _comparison(one: Mapping[str, Any]) -> _Comparison:
    return _Comparison(one["index"], _OPERATORS[one["op"]], one["value"], one.get("valueTwo", 0))

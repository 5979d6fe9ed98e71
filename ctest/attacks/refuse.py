"""A kernel whose guards are mappings of their own, as Linux before 6.13."""

import ctypes
import os
import platform
import struct

from libraries import Fault

MADVISE = {"x86_64": 28, "aarch64": 233, "riscv64": 233}
GUARD_INSTALL, GUARD_REMOVE = 102, 103
EINVAL = 22

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, ERROR = 0x7FFF0000, 0x00050000
NUMBER, THIRD_ARGUMENT = 0, 16 + 2 * 8  # the offset in the data of a filter


def refuse_guards():
    """From now on the kernel refuses both kinds of advice to this process and its children."""
    number = MADVISE.get(platform.machine())
    if number is None:
        raise Fault(f"--without-guards does not know the system calls of {platform.machine()}")
    steps = [
        (LOAD, 0, 0, NUMBER),
        (JUMP_IF_EQUAL, 0, 4, number),
        (LOAD, 0, 0, THIRD_ARGUMENT),
        (JUMP_IF_EQUAL, 1, 0, GUARD_INSTALL),
        (JUMP_IF_EQUAL, 0, 1, GUARD_REMOVE),
        (RETURN, 0, 0, ERROR | EINVAL),
        (RETURN, 0, 0, ALLOW),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(steps), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 or (
        libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0) != 0
    ):
        raise Fault(f"no filter for system calls: {os.strerror(ctypes.get_errno())}")
    if libc.madvise(None, ctypes.c_size_t(0), GUARD_INSTALL) == 0:
        raise Fault("the filter refuses nothing")

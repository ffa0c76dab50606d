"""Set limits on this process, then become the program to run. Executed as a script, imports nothing of ours.

    python -I -S limited.py MEMORY_BYTES CPU_SECONDS FILE_BYTES program argument…

Limits are set here and not in a fork hook of the server, because code between fork and exec deadlocks in a process with
threads.
"""

import os
import resource
import signal
import sys


def main() -> None:
    """Apply the limits named in argv and exec the rest of it."""
    memory, cpu, file_size = (int(value) for value in sys.argv[1:4])
    _limit(resource.RLIMIT_CPU, cpu)
    _limit(resource.RLIMIT_FSIZE, file_size)
    _limit(resource.RLIMIT_CORE, 0)
    # macOS knows the address-space limit but refuses to set it; the other bounds still hold there.
    if sys.platform != "darwin":
        _limit(resource.RLIMIT_AS, memory)
    # Python ignores these two, and a program keeps what is ignored across exec.
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execv(sys.argv[4], sys.argv[4:])


def _limit(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (bound, bound))


if __name__ == "__main__":
    main()

"""What the exit codes mean:

0    done
1    an error that nobody foresaw, or a `doctor` that found no way to run
2    the command line is wrong
3    the request is invalid or not allowed: other input, or another API key, is needed, and the message says which
4    no such job, upload or asset
5    the server cannot be reached, or has no room now: try again
6    the job failed
130  cancelled
"""

from __future__ import annotations

from enum import IntEnum

from vogue.schemas.errors import (
    AccessDenied,
    DeviceOutOfMemory,
    JobCancelled,
    PlanError,
    RequestInvalid,
    ServiceError,
    SessionError,
    TurnConflict,
    VogueError,
)

__all__ = ["ExitCode", "exit_code_of"]


class ExitCode(IntEnum):
    """See the module's text."""

    OK = 0
    UNFORESEEN = 1
    USAGE = 2
    REQUEST_INVALID = 3
    NOT_FOUND = 4
    UNAVAILABLE = 5
    JOB_FAILED = 6
    CANCELLED = 130


def exit_code_of(error: VogueError) -> ExitCode:
    """The exit code that tells a script what kind of error this was."""
    if isinstance(error, JobCancelled):
        return ExitCode.CANCELLED
    if isinstance(error, RequestInvalid | AccessDenied | PlanError | TurnConflict):
        return ExitCode.REQUEST_INVALID
    if isinstance(error, SessionError):
        return ExitCode.NOT_FOUND
    if isinstance(error, ServiceError | DeviceOutOfMemory):
        return ExitCode.UNAVAILABLE
    return ExitCode.UNFORESEEN

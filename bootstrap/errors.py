"""Everything that can go wrong in a deployment, each with what to do about it.

`retryable` says whether the same event can succeed later without anybody changing anything: only
those errors leave the function as exceptions, so that Lambda's own retry makes sense.
"""

from __future__ import annotations

from typing import ClassVar


class BootstrapError(Exception):
    """A deployment that could not be done.

    Parameters
    ----------
    message
        What was wrong, naming the field, file or function.
    hint
        What to do about it.
    """

    code: ClassVar[str] = "INTERNAL"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class EventError(BootstrapError):
    """An event of no kind that we know, or with a field that is wrong."""

    code = "INVALID_EVENT"


class SettingsError(BootstrapError):
    """The bootstrap function's own environment is wrong or incomplete."""

    code = "INVALID_SETTINGS"


class PackageError(BootstrapError):
    """A deployment package that cannot become a release."""

    code = "INVALID_PACKAGE"


class NotOursError(BootstrapError):
    """A function of that name exists and belongs to somebody else."""

    code = "NOT_OURS"


class FunctionBrokenError(BootstrapError):
    """Lambda could not finish what it had accepted; says Lambda's reason."""

    code = "FUNCTION_BROKEN"


class DeletedMeanwhileError(BootstrapError):
    """Somebody deleted the functions while they were being deployed."""

    code = "DELETED_MEANWHILE"


class SmokeTestError(BootstrapError):
    """A new version did not answer the ping as it should."""

    code = "SMOKE_TEST_FAILED"


class NoReleaseError(BootstrapError):
    """There is no release of that name, or none to go back to."""

    code = "NO_SUCH_RELEASE"


class SwitchError(BootstrapError):
    """The pair could not be switched; says whether it was switched back."""

    code = "SWITCH_FAILED"
    retryable = True


class RefusedError(BootstrapError):
    """AWS refused a call for a reason that waiting does not cure."""

    code = "AWS_REFUSED"


class UnreachableError(BootstrapError):
    """AWS could not be reached or had an internal error."""

    code = "AWS_UNREACHABLE"
    retryable = True


class RoleNotReadyError(BootstrapError):
    """Lambda cannot assume the execution role yet; a new role takes seconds to be known."""

    code = "ROLE_NOT_READY"
    retryable = True


class UpdateInProgressError(BootstrapError):
    """Lambda is still busy with an earlier write to the function."""

    code = "UPDATE_IN_PROGRESS"
    retryable = True


class ThrottledError(BootstrapError):
    """Too many requests, or no concurrency left for the smoke test."""

    code = "THROTTLED"
    retryable = True


class ConflictError(BootstrapError):
    """Somebody else changed the function since we read it."""

    code = "CONFLICT"
    retryable = True


class DeadlineError(BootstrapError):
    """The function's time is nearly over; what remains is kept for the answer."""

    code = "DEADLINE_EXCEEDED"
    retryable = True


class AnswerError(BootstrapError):
    """CloudFormation could not be given its answer."""

    code = "ANSWER_NOT_DELIVERED"
    retryable = True

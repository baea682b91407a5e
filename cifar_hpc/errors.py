"""The exceptions that a user is meant to read, and a check that several commands share."""

import importlib.util


class UserError(Exception):
    """A request that cannot be carried out.

    Its message is one sentence that names the file and key (or the missing thing) and what would be
    right. The command line prints it without a traceback and ends with exit status 2.
    """


class EndedEarly(Exception):
    """A run that something outside ended, and that can be resumed.

    Args:
        message: one sentence on what happened and how to go on.
        status: exit status.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def check_deepspeed(wanted_by: str) -> None:
    """Stops what needs DeepSpeed where it is not installed.

    Args:
        wanted_by: what needs it, as the user knows it.

    Raises:
        UserError: if it is not installed; says how to install it.
    """
    if importlib.util.find_spec("deepspeed") is None:
        raise UserError(
            f"{wanted_by} needs DeepSpeed, which is not installed; install it with "
            "`DS_BUILD_OPS=0 pip install -e '.[deepspeed]'`"
        )

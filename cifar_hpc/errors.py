"""The exceptions that a user is meant to read."""


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

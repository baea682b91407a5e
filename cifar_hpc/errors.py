"""The one exception that a user is meant to read."""


class UserError(Exception):
    """A request that cannot be carried out.

    Its message is one sentence that names the file and key (or the missing thing) and what would be
    right. The command line prints it without a traceback and ends with exit status 2.
    """

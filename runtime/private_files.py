"""Files that no other user of the machine can read."""

import os


def make_new_files_private() -> None:
    """Let all files and directories that this process and its children create from now on be readable by their owner alone.

    Stores, logs, reports and exports hold personal data, and the permissions that a process starts with are those of a login shell.
    """
    os.umask(0o077)

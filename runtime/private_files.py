"""Files that no other user of the machine can read."""

import os
import tempfile
from pathlib import Path


def make_new_files_private() -> None:
    """Let all files and directories that this process and its children create from now on be readable by their owner alone.

    Stores, logs, reports and exports hold personal data, and the permissions that a process starts with are those of a login shell.
    """
    os.umask(0o077)


def write_private(path: Path, text: str) -> None:
    """Replace `path` by `text` at once, readable by its owner alone."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as draft:  # mode 0600
        draft.write(text)
        draft.flush()
        os.fsync(draft.fileno())
    Path(draft.name).replace(path)

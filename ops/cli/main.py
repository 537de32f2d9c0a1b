"""The `onefold` command."""

import io
import sys

from ops.cli.command_table import new_application
from ops.cli.terminal import protect_streams
from runtime.errors import OnefoldError
from runtime.private_files import make_new_files_private


def main() -> None:
    """Run one command. An error that Onefold raises on purpose is one line on stderr and exit 1."""
    make_new_files_private()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that a terminal of another encoding cannot show ends no command
    protect_streams()
    try:
        new_application()()
    except OnefoldError as error:
        sys.stderr.write(f"onefold: {error}\n")
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()

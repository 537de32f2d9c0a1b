"""What `onefold status` prints for a shell."""

import subprocess

from ops.cli.stack import export_lines

STATE = {
    "addresses": {"collector": "http://127.0.0.1:1234", "clickhouse": "http://analyst:a'b$(c)@127.0.0.1:8123"},
    "write_keys": {"default": "key with space"},
    "api_token": "token",
}


def test_a_shell_reads_the_lines_back_as_they_are() -> None:
    script = "\n".join(export_lines(STATE)) + '\nprintf "%s\\n" "$COLLECTOR" "$CLICKHOUSE" "$WRITE_KEY" "$API_TOKEN"\n'
    printed = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, check=True).stdout
    assert printed.splitlines() == [
        "http://127.0.0.1:1234",
        "http://analyst:a'b$(c)@127.0.0.1:8123",
        "key with space",
        "token",
    ]

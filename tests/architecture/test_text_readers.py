"""Text from outside is read in time that grows with its length: by methods of str, or by RE2, and every reader is measured."""

import ast
from pathlib import Path
from typing import Final

from tests.fuzz.text_readers import READERS
from tests.support.source_tree import production_files, tree_of

TEXT_MACHINES: Final = frozenset(
    {
        "re", "re2", "csv", "phonenumbers", "ua_parser", "unicodedata", "ipaddress", "yaml", "email.utils",
        "urllib.parse.parse_qs", "urllib.parse.parse_qsl", "urllib.parse.unquote", "urllib.parse.urlparse", "urllib.parse.urlsplit",
        "domain.letters", "html", "string", "difflib", "fnmatch", "shlex", "textwrap", "tomllib", "configparser",
    }
)  # fmt: skip
"""What a module imports that takes a text apart."""

MAY_USE_BACKTRACKING: Final = {
    "embedded/clickhouse/lexer.py": "RE2 would copy the whole text for each token; no pattern there can match one text in two ways",
    "embedded/clickhouse/statement_scan.py": "the text may be no UTF-8, which RE2 does not read; the patterns are words and an end",
}
"""The files that use `re` all the same, each with the reason."""

READ_ELSEWHERE: Final = {
    "api/access.py": "the address of a connection, from the kernel",
    "api/openapi.py": "our own routes",
    "collector/openapi.py": "our own routes",
    "collector/responses.py": "names of headers: each is matched by one class, and the protocol bounds all of them",
    "collector/routes/analytics_js.py": "the names of files that the operator installed",
    "demo/customers.py": "names of our own list",
    "domain/definitions/error_messages.py": "words of definitions, cut to 60 letters",
    "domain/identity/households.py": "numbers in their one spelling",
    "domain/identity/rules.py": "patterns of definitions, which are RE2",
    "domain/intake/import_columns.py": "read by domain.intake.import_rows",
    "domain/intake/import_csv.py": "read by domain.intake.import_rows",
    "domain/intake/tracking_plan.py": "patterns of definitions, which are RE2",
    "domain/intake/webhook_spec.py": "paths of definitions, up to 512 letters",
    "domain/public_addresses.py": "addresses that a resolver returned",
    "domain/re2_options.py": "options alone",
    "domain/segments/leaves/regularly.py": "a definition's offset, which its pattern bounds",
    "domain/segments/sql/functions.py": "our own statements",
    "embedded/analytics_js.py": "the names in an archive that is fetched by its hash",
    "embedded/clickhouse/native_types.py": "names of the engine's own columns",
    "embedded/java.py": "what the operator's Java prints",
    "ops/cli/identity_answers.py": "lines of an answer, for a person",
    "ops/cli/stack.py": "addresses that the stack itself has printed",
    "ops/cli/tracking_plan.py": "an option of the operator",
    "ops/imports/collector_client.py": "the answer of the operator's own collector",
    "ops/imports/import_file.py": "a mapping of the operator",
    "ops/quarantine/entries.py": "a word of the operator, against a short list",
    "ops/segments/members.py": "it writes CSV",
    "profile_store/cluster_address.py": "an address of the settings",
    "runtime/http/connections.py": "the address of a connection, from the kernel or read by collector.client_address",
    "runtime/variables.py": "names of the environment's variables",
    "warehouse/connection.py": "an address of the settings",
    "warehouse/migrate.py": "names of our own files",
}
"""Files that take a text apart which nobody outside chooses, or whose readers are measured under another name."""


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for item in ast.walk(tree_of(path)):
        if isinstance(item, ast.Import):
            names |= {alias.name for alias in item.names}
        elif isinstance(item, ast.ImportFrom) and item.module:
            names |= {item.module, *(f"{item.module}.{alias.name}" for alias in item.names)}
    return names


def test_only_tokenizers_of_our_own_use_patterns_that_go_back() -> None:
    assert {path.as_posix() for path in production_files() if "re" in imports(path)} == set(MAY_USE_BACKTRACKING)


def test_every_file_that_takes_text_apart_is_measured_or_says_why_not() -> None:
    measured = {name.partition(" ")[0].replace(".", "/") + ".py" for name in READERS}
    machines = {path.as_posix() for path in production_files() if imports(path) & TEXT_MACHINES}
    assert machines - measured - set(READ_ELSEWHERE) == set(), "name the file's reader in tests/fuzz/text_readers.py"
    assert set(READ_ELSEWHERE) <= {path.as_posix() for path in production_files()}

"""Find the shipped definitions of webhooks and their samples. The samples have the published shapes, with made-up customers."""

from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from runtime.errors import Invalid

SOURCES: Final = files(__package__).joinpath("sources")
SAMPLES: Final = files(__package__).joinpath("samples")
_SUFFIX: Final = ".yaml"
_SAMPLE_SUFFIX: Final = ".http"


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """A request as the other system sends it, without its signature. `target` is path and query."""

    name: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def text(self) -> str:
        """Return the request in HTTP's own form, below a line with its name."""
        head = [f"### {self.name}", f"POST {self.target} HTTP/1.1", *(f"{name}: {value}" for name, value in self.headers)]
        return "\n".join([*head, "", self.body.decode(), ""])


def webhook_names() -> list[str]:
    """Return the names of the shipped definitions, sorted."""
    return sorted(entry.name.removesuffix(_SUFFIX) for entry in SOURCES.iterdir() if entry.name.endswith(_SUFFIX))


def definition_of(name: str) -> str:
    """Return the YAML of a definition. Raises Invalid, which names those that are shipped."""
    names = webhook_names()
    if name not in names:
        raise Invalid(f"no webhook of that name is shipped: there are {', '.join(names)}", reason="unknown_webhook")
    return SOURCES.joinpath(f"{name}{_SUFFIX}").read_text(encoding="utf-8")


def summary_of(name: str) -> str:
    """Return the first sentence of a definition's comment. Raises Invalid."""
    comment = definition_of(name).partition("\napiVersion")[0].replace("\n# ", " ").removeprefix("# ")
    return comment.partition(". ")[0].partition("\n")[0].removesuffix(".")


def samples_of(name: str) -> list[SampleRequest]:
    """Return the samples of a definition, sorted by name. Raises Invalid."""
    definition_of(name)
    entries = sorted((entry.name, entry) for entry in SAMPLES.iterdir())
    return [
        _parse_sample(file_name.removesuffix(_SAMPLE_SUFFIX), entry.read_text(encoding="utf-8"))
        for file_name, entry in entries
        if file_name.startswith(f"{name}-") and file_name.endswith(_SAMPLE_SUFFIX)
    ]


def _parse_sample(name: str, text: str) -> SampleRequest:
    """Return the request of a text in HTTP's own form: a line with method and target, headers, an empty line, the body."""
    head, _, body = text.partition("\n\n")
    first, *header_lines = head.splitlines()
    headers = tuple((key, value.strip()) for key, _, value in (line.partition(":") for line in header_lines))
    return SampleRequest(name, first.split()[1], headers, body.strip().encode())

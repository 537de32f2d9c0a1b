"""Reading what is stored of many profiles, in chunks."""

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from ops.apply.baseline import Person
from domain.profiles import fragment as model
from profile_store.port import Document, ProfileStore

CHUNK: Final = 500


def chunks(names: Collection[str]) -> Iterator[Sequence[str]]:
    """In their order, so many at a time."""
    ordered = sorted(names)
    return (ordered[start : start + CHUNK] for start in range(0, len(ordered), CHUNK))


async def people(store: ProfileStore, profile_ids: Sequence[str]) -> dict[str, tuple[Document, Person]]:
    """Each profile's membership document, and what it is made of."""
    documents = await store.documents("membership", profile_ids)
    members = await store.members(profile_ids)
    nodes = sorted({node for entry in members.values() for node in entry.nodes})
    stored = await store.documents("fragment", nodes) if nodes else {}
    fragments = {node: model.decode(document.data) for node, document in stored.items() if document.data is not None}
    return {
        name: (
            documents[name],
            Person(documents[name].data, members[name], [fragments[node] for node in members[name].nodes if node in fragments]),
        )
        for name in profile_ids
    }

"""Reading what is stored of many profiles, in chunks."""

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from domain.profiles.baseline import StoredProfile
from domain.profiles.fragment import decode_fragment
from profile_store.port import GuardedDocument, ProfileStore

CHUNK: Final = 500


def chunks(names: Collection[str]) -> Iterator[Sequence[str]]:
    """Yield the names in their order, CHUNK at a time."""
    ordered = sorted(names)
    return (ordered[start : start + CHUNK] for start in range(0, len(ordered), CHUNK))


async def read_profiles(store: ProfileStore, profile_ids: Sequence[str]) -> dict[str, tuple[GuardedDocument, StoredProfile]]:
    """Read each profile's membership document and the profile itself. Raises Transient."""
    documents = await store.documents("membership", profile_ids)
    members = await store.members(profile_ids)
    nodes = sorted({node for entry in members.values() for node in entry.nodes})
    stored = await store.documents("fragment", nodes) if nodes else {}
    fragments = {node: decode_fragment(document.data) for node, document in stored.items() if document.data is not None}
    return {
        profile_id: (
            documents[profile_id],
            StoredProfile(
                documents[profile_id].data,
                members[profile_id],
                [fragments[node] for node in members[profile_id].nodes if node in fragments],
            ),
        )
        for profile_id in profile_ids
    }

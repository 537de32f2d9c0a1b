"""The worked example of the join: a merge adds fragments to a profile, a split takes them out again."""

from domain.profiles.fragment import Fragment
from domain.profiles.join import join_fragments
from schemas.records import TraitValue

COOKIE = Fragment(
    identifiers={"c": ("anonymous_id", "cookie")}, traits={"city": TraitValue("Huế", 3, "m1")}, counters={"Ordered": 2}, first_ms=1
)
USER = Fragment(
    identifiers={"u": ("user_id", "kh-1")}, traits={"city": TraitValue("Hà Nội", 5, "m2")}, counters={"Ordered": 1}, first_ms=4
)


def test_merged_profile_adds_counters_and_has_the_latest_trait() -> None:
    joined = join_fragments([COOKIE, USER], {})
    assert joined.counters == {"Ordered": 3}
    assert joined.traits == {"city": "Hà Nội"}
    assert joined.first_seen_ms == 1


def test_profile_after_a_split_is_the_same_as_before_the_merge() -> None:
    before = join_fragments([COOKIE], {})
    join_fragments([COOKIE, USER], {})
    assert join_fragments([COOKIE], {}) == before


def test_identifier_of_another_profile_is_named_but_is_no_own_identifier() -> None:
    joined = join_fragments([COOKIE, USER], {}, members=["u"])
    assert joined.identifiers == (("user_id", "kh-1"),)
    assert joined.event_identifiers == (("anonymous_id", "cookie"), ("user_id", "kh-1"))

"""The results of comparing the stream with SQL: of segments their members, of computed traits their values."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DifferingProfiles:
    """The profiles that are members of a segment in one of the two alone."""

    stream: frozenset[str] = frozenset()
    sql: frozenset[str] = frozenset()

    @property
    def profiles(self) -> frozenset[str]:
        """The profiles of both sides."""
        return self.stream | self.sql


@dataclass(frozen=True, slots=True)
class DriftCauses:
    """Why profiles differ, counted over the first MAX_EXPLAINED of a segment or computed trait.

    `approximate`: more happened than a register keeps; `leaves` are the texts of such conditions, each with its number of
    profiles. `stale`: an evaluation of the profile as it is now agrees with SQL. `registers`: the registers contradict
    history.
    """

    approximate: int = 0
    stale: int = 0
    registers: int = 0
    leaves: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class SegmentComparison:
    """The result for one segment: how many profiles are members in both, and the profiles that still differ."""

    segment: str
    version: str
    both: int
    differing: DifferingProfiles = DifferingProfiles()
    causes: DriftCauses = DriftCauses()

    @property
    def agrees(self) -> bool:
        """Whether no profile differs."""
        return not self.differing.profiles


@dataclass(frozen=True, slots=True)
class TraitComparison:
    """The result for one computed trait: how many profiles have the same value in both, and the profiles that still differ.

    A profile that has a value in one of the two alone differs.
    """

    trait: str
    version: str
    equal: int
    differing: frozenset[str] = frozenset()
    causes: DriftCauses = DriftCauses()

    @property
    def agrees(self) -> bool:
        """Whether no profile differs."""
        return not self.differing


@dataclass(frozen=True, slots=True)
class SegmentVerification:
    """The results of all compared segments and computed traits, in the order of their names.

    `comparisons` is how often profiles were compared, and `at_ms` the instant of the last comparison. `repaired` is how many
    profiles were evaluated again, None when repair was not requested.
    """

    segments: tuple[SegmentComparison, ...]
    comparisons: int
    at_ms: int
    repaired: int | None = None
    traits: tuple[TraitComparison, ...] = ()

    @property
    def agrees(self) -> bool:
        """Whether stream and SQL agree about every segment and every computed trait."""
        return all(segment.agrees for segment in self.segments) and all(trait.agrees for trait in self.traits)

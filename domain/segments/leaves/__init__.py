"""The leaves of the segment language, one module each. `LEAVES` is the only place where they are listed.

A new leaf is a module with a subclass of `LeafCondition`, a line here, a section in docs/segment-language.md, and its tests.
"""

from typing import Final

from domain.segments.leaves.account import AccountCondition
from domain.segments.leaves.aggregate import AggregateCondition
from domain.segments.leaves.calendar import CalendarCondition
from domain.segments.leaves.consent import ConsentCondition
from domain.segments.leaves.did import DidCondition
from domain.segments.leaves.did_not import DidNotCondition
from domain.segments.leaves.everyone import EveryoneCondition
from domain.segments.leaves.household import HouseholdCondition
from domain.segments.leaves.leaf import LeafCondition
from domain.segments.leaves.lifecycle import LifecycleCondition
from domain.segments.leaves.listed import InListCondition
from domain.segments.leaves.occurrence import FirstCondition, LastCondition
from domain.segments.leaves.percent import PercentCondition
from domain.segments.leaves.regularly import RegularlyCondition
from domain.segments.leaves.rfm import RfmCondition
from domain.segments.leaves.sequence import SequenceCondition
from domain.segments.leaves.subscribed import SubscribedCondition
from domain.segments.leaves.trait import TraitCondition

LEAVES: Final[tuple[type[LeafCondition], ...]] = (
    TraitCondition,
    DidCondition,
    DidNotCondition,
    FirstCondition,
    LastCondition,
    AggregateCondition,
    SequenceCondition,
    RegularlyCondition,
    InListCondition,
    PercentCondition,
    RfmCondition,
    LifecycleCondition,
    ConsentCondition,
    SubscribedCondition,
    CalendarCondition,
    AccountCondition,
    HouseholdCondition,
    EveryoneCondition,
)
"""In the order of the language page, which is also the order in error messages and in the JSON Schema."""

"""Opens the profile store that the settings name."""

from profile_store.cluster_address import CLUSTER_SCHEMES
from profile_store.cluster_store import ClusterStore
from profile_store.port import ProfileStore
from profile_store.redis_store import RedisStore
from runtime.clock import Clock
from runtime.settings import Settings


def open_store(settings: Settings, clock: Clock) -> ProfileStore:
    """Return a driver for ONEFOLD_REDIS_URL; it connects at the first call. Raises Misconfigured for an invalid address.

    The scheme decides between one server and a cluster.
    """
    scheme = settings.redis_url.get_secret_value().partition("://")[0]
    return ClusterStore(settings, clock) if scheme in CLUSTER_SCHEMES else RedisStore(settings, clock)

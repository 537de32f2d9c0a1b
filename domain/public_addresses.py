"""Which addresses belong to the public internet. Pure.

The list is our own: what `ipaddress` calls global differs between releases of Python, and it leaves out the metadata services of
clouds. IPv4 is public unless a network of the list holds it. IPv6 is public in 2000::/3 alone, the only range that is assigned to
the public, unless a network of the list holds it. An address that carries an IPv4 address, to which a translator or a tunnel on the
way would send, is public only if the carried one is.

Sources: the IANA special-purpose address registries of IPv4 and IPv6 (https://www.iana.org/assignments/iana-ipv4-special-registry,
…/iana-ipv6-special-registry), and the manuals of the clouds.
"""

import ipaddress
from typing import Final

_IPV4: Final = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by providers' customers; Alibaba's metadata service is 100.100.100.200
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's platform services
        "169.254.0.0/16",  # link-local; the metadata service of most clouds is 169.254.169.254
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata service was 192.0.0.192
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112: answered by the nearest machine, which may be in the own network
        "192.52.193.0/24",  # AMT relays: the same
        "192.88.99.0/24",  # 6to4 relays, withdrawn
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and the broadcast address
    )
)
_IPV6_PUBLIC: Final = ipaddress.IPv6Network("2000::/3")
_IPV6: Final = tuple(
    ipaddress.IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID, AMT, AS112 and others
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, withdrawn: it tunnels to the IPv4 address that it carries
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)
_MAPPED: Final = ipaddress.IPv6Network("::ffff:0:0/96")
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""The well-known prefix of NAT64: in a network without IPv4, the resolver gives public IPv4 hosts such addresses. The prefix for
local use, 64:ff9b:1::/48, is not public: it may lead anywhere in the operator's network."""
_ISATAP_IDS: Final = (0x0000_5EFE, 0x0200_5EFE)


def is_public(text: str) -> bool:
    """Return whether an IPv4 or IPv6 address belongs to the public internet. Raises ValueError for a text that is no address."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv4Address):
        return _is_public_ipv4(address)
    carried = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    if address in _MAPPED or address in _NAT64:
        return _is_public_ipv4(carried)
    is_isatap = (int(address) >> 32) & 0xFFFF_FFFF in _ISATAP_IDS
    return (
        address in _IPV6_PUBLIC and not any(address in network for network in _IPV6) and (not is_isatap or _is_public_ipv4(carried))
    )


def _is_public_ipv4(address: ipaddress.IPv4Address) -> bool:
    return not any(address in network for network in _IPV4)


def is_loopback(text: str) -> bool:
    """Return whether an address is this machine's own. Raises ValueError for a text that is no address."""
    return ipaddress.ip_address(text).is_loopback

"""Which addresses are public, by our own list: the same on every release of Python."""

import ipaddress

import pytest

from domain.public_addresses import is_loopback, is_public

SPECIAL_NETWORKS = {
    # The IANA registry of IPv4, whole
    "0.0.0.0/8": "0.1.2.3",
    "10.0.0.0/8": "10.1.2.3",
    "100.64.0.0/10": "100.64.0.1",
    "127.0.0.0/8": "127.9.9.9",
    "169.254.0.0/16": "169.254.1.1",
    "172.16.0.0/12": "172.16.0.1",
    "192.0.0.0/24": "192.0.0.171",
    "192.0.0.0/29": "192.0.0.1",
    "192.0.0.8/32": "192.0.0.8",
    "192.0.0.9/32": "192.0.0.9",
    "192.0.0.10/32": "192.0.0.10",
    "192.0.2.0/24": "192.0.2.1",
    "192.31.196.0/24": "192.31.196.1",
    "192.52.193.0/24": "192.52.193.1",
    "192.88.99.0/24": "192.88.99.1",
    "192.168.0.0/16": "192.168.1.1",
    "192.175.48.0/24": "192.175.48.1",
    "198.18.0.0/15": "198.19.0.1",
    "198.51.100.0/24": "198.51.100.1",
    "203.0.113.0/24": "203.0.113.1",
    "224.0.0.0/4": "239.255.255.250",
    "240.0.0.0/4": "250.1.2.3",
    "255.255.255.255/32": "255.255.255.255",
    # The IANA registry of IPv6, whole, but for what is carried within (below)
    "::1/128": "::1",
    "::/128": "::",
    "64:ff9b:1::/48": "64:ff9b:1::8.8.8.8",
    "100::/64": "100::1",
    "100:0:0:1::/64": "100:0:0:1::1",
    "2001::/23": "2001:1ff::1",
    "2001::/32": "2001::1",
    "2001:1::1/128": "2001:1::1",
    "2001:1::2/128": "2001:1::2",
    "2001:1::3/128": "2001:1::3",
    "2001:2::/48": "2001:2::1",
    "2001:3::/32": "2001:3::1",
    "2001:4:112::/48": "2001:4:112::1",
    "2001:10::/28": "2001:10::1",
    "2001:20::/28": "2001:20::1",
    "2001:30::/28": "2001:30::1",
    "2001:db8::/32": "2001:db8::1",
    "2002::/16": "2002:808:808::1",
    "2620:4f:8000::/48": "2620:4f:8000::1",
    "3fff::/20": "3fff::1",
    "5f00::/16": "5f00::1",
    "fc00::/7": "fd12:3456::1",
    "fe80::/10": "fe80::1",
    # Others that lead to no public host
    "::/96": "::8.8.8.8",
    "::ffff:0:0:0/96": "::ffff:0:808:808",
    "fec0::/10": "fec0::1",
    "ff00::/8": "ff0e::1",
    "4000::/3": "4000::1",
}
"""An address of each network of which nothing is public."""
METADATA_SERVICES = {
    "AWS, Azure, Google, DigitalOcean, OpenStack": "169.254.169.254",
    "AWS, containers": "169.254.170.2",
    "AWS, IPv6": "fd00:ec2::254",
    "Google, IPv6": "fd20:ce::254",
    "Azure, platform": "168.63.129.16",
    "Alibaba": "100.100.100.200",
    "Oracle, old": "192.0.0.192",
}
INNER = ("127.0.0.1", "10.0.0.1", "169.254.169.254", "168.63.129.16", "192.0.0.8")


@pytest.mark.parametrize(("network", "address"), SPECIAL_NETWORKS.items())
def test_an_address_of_a_special_network_is_not_public(network: str, address: str) -> None:
    assert ipaddress.ip_address(address) in ipaddress.ip_network(network)
    assert not is_public(address)


@pytest.mark.parametrize("network", [name for name in SPECIAL_NETWORKS if ":" not in name])
def test_the_first_and_the_last_address_of_a_special_network_are_not_public(network: str) -> None:
    inside = ipaddress.ip_network(network)
    assert not is_public(str(inside[0]))
    assert not is_public(str(inside[-1]))


@pytest.mark.parametrize("address", METADATA_SERVICES.values(), ids=METADATA_SERVICES.keys())
def test_metadata_services_of_clouds_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize(
    "form",
    [
        "::ffff:{v4}",  # mapped
        "::{v4}",  # compatible
        "::ffff:0:{v4}",  # translated
        "64:ff9b::{v4}",  # NAT64
        "64:ff9b:1::{v4}",  # NAT64 for local use
        "2002:{hex}::1",  # 6to4
        "2001:0:{hex}::1",  # Teredo, the server
        "2001:0:808:808::{inverted}",  # Teredo, the client
        "2606:4700::5efe:{v4}",  # ISATAP
        "2606:4700::200:5efe:{v4}",  # ISATAP
    ],
)
def test_an_inner_address_is_not_public_in_any_form_that_carries_it(form: str, inner: str) -> None:
    number = int(ipaddress.IPv4Address(inner))
    inverted = number ^ 0xFFFF_FFFF
    address = form.format(
        v4=inner, hex=f"{number >> 16:x}:{number & 0xFFFF:x}", inverted=f"{inverted >> 16:x}:{inverted & 0xFFFF:x}"
    )
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.0", "126.255.255.255", "168.63.129.15", "168.63.129.17",
        "172.15.255.255", "172.32.0.0", "192.0.1.0", "198.17.255.255", "198.20.0.0", "223.255.255.255",
        "2001:4860:4860::8888", "2001:200::1", "2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8",
        "2606:4700::5efe:8.8.8.8",
    ],
)  # fmt: skip
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)


def test_the_zone_of_an_address_does_not_matter() -> None:
    assert not is_public("fe80::1%eth0")


@pytest.mark.parametrize("text", ["", "localhost", "1.2.3", "::g"])
def test_what_is_no_address_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        is_public(text)


def test_only_this_machines_own_addresses_are_loopback() -> None:
    assert is_loopback("127.9.9.9")
    assert is_loopback("::1")
    assert not is_loopback("10.0.0.1")

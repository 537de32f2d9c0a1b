import pytest

from activation.address_guard import Refused, choose_address, is_public
from runtime.errors import Transient


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "224.0.0.1", "::1", "::",
        "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1",
        "2002:7f00:1::", "255.255.255.255",
    ],
)  # fmt: skip
def test_inner_addresses_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2001:4860:4860::8888", "::ffff:8.8.8.8"])
def test_public_addresses_are(address: str) -> None:
    assert is_public(address)


async def test_one_inner_address_among_public_ones_is_refused() -> None:
    async def two(_host: str, _port: int) -> list[str]:
        return ["8.8.8.8", "10.0.0.1"]

    with pytest.raises(Refused, match="allow_private_addresses"):
        await choose_address("shop.vn", 443, two, allow_private=False)
    assert await choose_address("shop.vn", 443, two, allow_private=True) == "8.8.8.8"


async def test_unresolvable_host_is_retryable() -> None:
    async def none(_host: str, _port: int) -> list[str]:
        raise OSError("no such name")

    with pytest.raises(Transient):
        await choose_address("shop.vn", 443, none, allow_private=False)

import pytest

from activation.address_guard import Refused, choose_address
from runtime.errors import Transient


@pytest.mark.parametrize("inner", ["10.0.0.1", "192.0.0.8", "168.63.129.16", "::ffff:169.254.169.254", "64:ff9b:1::1"])
async def test_one_inner_address_among_public_ones_is_refused(inner: str) -> None:
    async def two(_host: str, _port: int) -> list[str]:
        return ["8.8.8.8", inner]

    with pytest.raises(Refused, match="allow_private_addresses"):
        await choose_address("shop.vn", 443, two, allow_private=False)
    assert await choose_address("shop.vn", 443, two, allow_private=True) == "8.8.8.8"


async def test_unresolvable_host_is_retryable() -> None:
    async def none(_host: str, _port: int) -> list[str]:
        raise OSError("no such name")

    with pytest.raises(Transient):
        await choose_address("shop.vn", 443, none, allow_private=False)

"""A small database of places in MaxMind's format."""

from pathlib import Path

from mmdb_writer import MMDBWriter
from netaddr import IPSet

HANOI = {
    "city": {"names": {"en": "Hanoi", "vi": "Hà Nội"}},
    "country": {"iso_code": "VN"},
    "location": {"latitude": 21.0, "longitude": 105.8, "time_zone": "Asia/Bangkok"},
    "subdivisions": [{"iso_code": "HN"}],
}


def geoip_file(directory: Path) -> Path:
    """Write a GeoIP database and return its path.

    203.0.113.0/24 and 2001:db8::/32 are in Hà Nội; of 198.51.100.0/24 only the country is known.
    """
    writer = MMDBWriter(ip_version=6, ipv4_compatible=True, database_type="test")
    writer.insert_network(IPSet(["203.0.113.0/24", "2001:db8::/32"]), HANOI)
    writer.insert_network(IPSet(["198.51.100.0/24"]), {"country": {"iso_code": "DE"}})
    path = directory / "places.mmdb"
    writer.to_db_file(str(path))
    return path

"""The sample files of the documentation fit the mappings beside them: every row is sent, and read as it is meant."""

from pathlib import Path
from typing import Any

from domain.intake.import_columns import ImportKind
from ops.imports.import_file import load_mapping
from ops.imports.import_run import run
from tests.unit.ops.imports.test_import_run import Collector

SAMPLES = Path(__file__).parents[4] / "docs" / "samples"


def calls_of(kind: ImportKind, name: str, mapping: str | None, event: str | None = None) -> list[dict[str, Any]]:
    collector = Collector()
    loaded = load_mapping(None if mapping is None else SAMPLES / mapping, event, None)
    summary = run(kind, SAMPLES / name, loaded, collector.client, lambda _, __: None)
    calls = [call for batch in collector.batches for call in batch]
    assert summary.stored == len(calls)
    assert summary.reasons == {}
    return calls


def test_the_customers_of_the_sample_are_read_as_they_are_meant() -> None:
    ánh, đạt, hoàng = calls_of("customers", "khach-hang.csv", "khach-hang.yaml")
    assert ánh["identifiers"]["user_id"] == "KH-001"
    assert ánh["traits"]["tier"] == "Vàng"
    assert ánh["traits"]["points"] == 1250
    assert ánh["traits"]["birthday"] == "1990-02-17"
    assert ánh["traits"]["address"] == {"ward": "Phường Bến Nghé", "city": "TP. Hồ Chí Minh"}
    assert ánh["timestamp"].startswith("2025-06-15T02:30:00")
    assert "gọi buổi sáng" not in str(ánh)
    assert đạt["traits"]["name"] == "Trần Văn Đạt"
    assert hoàng["traits"]["name"] == "Lê Hoàng; Cửa hàng Đà Nẵng"


def test_the_orders_of_the_sample_are_read_as_they_are_meant() -> None:
    first, second, third = calls_of("events", "don-hang.csv", "don-hang.yaml", "Order Completed")
    assert first["event"] == "Order Completed"
    assert first["properties"] == {"order_id": "DH-1001", "total": 1250000, "channel": "Website", "currency": "VND"}
    assert second["properties"]["total"] == 350000
    assert first["identifiers"]["user_id"] == third["identifiers"]["user_id"] == "KH-001"
    assert third["timestamp"].startswith("2025-06-18T01:05:00")


def test_the_sample_in_segments_words_needs_no_mapping() -> None:
    hương, long = calls_of("customers", "khach-hang.jsonl", None)
    assert hương["traits"]["address"] == {"city": "Huế"}
    assert long["identifiers"]["user_id"] == "KH-005"

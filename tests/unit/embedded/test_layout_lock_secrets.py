import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest

from embedded import secrets
from embedded.attach import settings_of_running
from embedded.child_process import process_identity, surviving_pid, write_pid
from embedded.directory_lock import lock_directory, lock_holder
from embedded.layout import Layout
from embedded.leftovers import end_leftovers
from embedded.roles import PORT_NAMES, Role, addresses, selected_roles
from runtime.api_tokens import read_tokens, revoke_token
from runtime.errors import Misconfigured

OF_A_SERVER = {
    "ONEFOLD_KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "ONEFOLD_KAFKA_USER": "lan", "ONEFOLD_KAFKA_PASSWORD_FILE": "/run/secrets/kafka",
    "ONEFOLD_KAFKA_CA_FILE": "/run/secrets/ca.pem", "ONEFOLD_REDIS_PASSWORD": "hush", "ONEFOLD_CLICKHOUSE_PASSWORD": "hush",
    "ONEFOLD_TENANT_SECRET_FILE": "/run/secrets/tenant",
}  # fmt: skip
"""What a shell may hold for another Onefold."""


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout.of(tmp_path / "dữ liệu")
    made.create_directories()
    return made


def test_unwritable_directory_is_reported_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Misconfigured, match=r"cannot write in .*/file/data \(Not a directory\): .*--data-dir") as raised:
        Layout.of(tmp_path / "file" / "data").create_directories()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_data_directory_that_was_open_is_closed_to_other_users(layout: Layout, mode: int) -> None:
    layout.root.chmod(mode)
    layout.create_directories()
    assert stat.S_IMODE(layout.root.stat().st_mode) == 0o700


def test_a_directory_that_holds_other_files_is_refused_and_stays_open(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    (home / "thư.txt").write_text("")
    with pytest.raises(Misconfigured, match=r"is open to other users and holds other files: .*chmod 700"):
        Layout.of(home).create_directories()
    assert stat.S_IMODE(home.stat().st_mode) == 0o755
    home.chmod(0o700)
    Layout.of(home).create_directories()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory to another user")
def test_a_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, 12_345, 12_345)
    with pytest.raises(Misconfigured, match="belongs to another user"):
        Layout.of(tmp_path).create_directories()


def test_a_path_that_kafka_cannot_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="holds a comma"):
        Layout.of(tmp_path / "a,b").create_directories()


def test_a_full_disk_is_said_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"only \d+ MB free .*free space"):
        Layout.of(tmp_path).create_directories(min_free_bytes=1 << 60)


def test_a_socket_path_too_long_for_the_kernel_moves_to_a_private_directory(tmp_path: Path) -> None:
    layout = Layout.of(tmp_path / ("x" * 120))
    layout.create_directories()
    path = layout.socket("redis")
    assert len(os.fsencode(path)) <= 100
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert layout.socket("redis") == path
    path.parent.rmdir()


def test_a_second_claim_names_the_holder(layout: Layout) -> None:
    with lock_directory(layout):
        assert lock_holder(layout) == os.getpid()
        with pytest.raises(Misconfigured, match=rf"is in use by `onefold up` with process id {os.getpid()}: .*onefold down"):
            lock_directory(layout)
    assert lock_holder(layout) is None
    with lock_directory(layout):
        pass


def test_a_claim_ends_with_its_process_however_it_ends(layout: Layout) -> None:
    code = (
        "import sys,time; from pathlib import Path; from embedded.layout import Layout\n"
        "from embedded.directory_lock import lock_directory\n"
    )
    code += "lock = lock_directory(Layout.of(Path(sys.argv[1]))); print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, str(layout.root)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert lock_holder(layout) == process.pid
        process.kill()
    with lock_directory(layout):
        pass


def test_secrets_are_random_private_and_stay(layout: Layout, tmp_path: Path) -> None:
    first = secrets.load_or_create(layout)
    assert secrets.load_or_create(layout) == first
    layout.secrets_file.chmod(0o644)
    assert secrets.load_or_create(layout) == first
    assert stat.S_IMODE(layout.secrets_file.stat().st_mode) == 0o600
    another = Layout.of(tmp_path / "another")
    another.create_directories()
    assert secrets.load_or_create(another) != first
    assert first.api_token not in repr(first)


def test_the_stack_makes_one_token_of_the_api_and_a_revoked_one_does_not_come_back(layout: Layout) -> None:
    made = secrets.load_or_create(layout)
    secrets.give_first_token(layout, made, 1_750_000_000_000)
    assert secrets.api_token_in_force(layout, made) == made.api_token
    (token,) = read_tokens(layout.api_tokens)
    assert token.name == "operator"
    assert token.scopes == ("all",)
    assert made.api_token not in layout.api_tokens.read_text()
    revoke_token(layout.api_tokens, "operator")
    secrets.give_first_token(layout, made, 1_750_000_000_000)
    assert read_tokens(layout.api_tokens) == ()
    assert secrets.api_token_in_force(layout, made) == ""


@pytest.mark.parametrize("content", ["", "{torn", "[]", '{"tenant_secret": "short"}'])
def test_damaged_secrets_are_not_replaced(layout: Layout, content: str) -> None:
    layout.secrets_file.write_text(content)
    with pytest.raises(Misconfigured, match="restore it from a backup"):
        secrets.load_or_create(layout)
    assert layout.secrets_file.read_text() == content


@pytest.mark.parametrize("store", ["kafka", "redis", "clickhouse"])
def test_missing_secrets_are_not_replaced_once_a_store_holds_data(layout: Layout, store: str) -> None:
    secrets.load_or_create(layout)
    layout.secrets_file.unlink()
    (layout.root / store / "data").write_text("hashes")
    with pytest.raises(Misconfigured, match="is missing, and the stores beside it were filled with its secrets: restore the file"):
        secrets.load_or_create(layout)
    assert not layout.secrets_file.exists()


def test_clickhouse_users_hold_hashes_only(layout: Layout) -> None:
    made = secrets.load_or_create(layout)
    users = json.loads(made.clickhouse_users())
    assert {name: user["role"] for name, user in users.items()} == {"onefold": "app", "analyst": "analyst"}
    assert made.clickhouse_app not in made.clickhouse_users()


def test_attaching_where_nothing_runs_says_how_to_start(layout: Layout) -> None:
    with pytest.raises(Misconfigured, match=r"nothing runs in .*: start it with `onefold up`"):
        settings_of_running(layout.root)


def test_attaching_reaches_the_running_stack(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEFOLD_KAFKA_BOOTSTRAP", "elsewhere:9092")
    monkeypatch.setenv("ONEFOLD_PARTITIONS", "8")
    for name, value in OF_A_SERVER.items():
        monkeypatch.setenv(name, value)
    made = secrets.load_or_create(layout)
    (layout.run / "ports.json").write_text(json.dumps({name: 20_000 + number for number, name in enumerate(PORT_NAMES)}))
    with lock_directory(layout):
        settings = settings_of_running(layout.root)
    assert settings.kafka_bootstrap == "127.0.0.1:20000"
    assert settings.clickhouse_url.get_secret_value() == f"http://onefold:{made.clickhouse_app}@127.0.0.1:20003"
    assert settings.redis_url.get_secret_value() == f"unix://:{made.redis_password}@{quote(str(layout.run))}/redis.sock?db=0"
    assert (settings.kafka_security_protocol, settings.kafka_user) == ("SASL_PLAINTEXT", "onefold")
    assert settings.kafka_password is not None
    assert settings.kafka_password.get_secret_value() == made.kafka_password
    assert settings.kafka_ca_file is None
    assert settings.tenant_secret.get_secret_value() == made.tenant_secret
    monkeypatch.setenv("ONEFOLD_PARTITIONS", "none-of-your-business")
    with lock_directory(layout), pytest.raises(Misconfigured, match=r"^ONEFOLD_PARTITIONS: [^;]*$") as raised:
        settings_of_running(layout.root)
    assert "business" not in str(raised.value)
    assert settings.collector_port == 20_004
    assert settings.partitions == 8
    assert settings.data_dir == layout.root


def test_addresses_give_people_the_reading_user(layout: Layout) -> None:
    made = secrets.load_or_create(layout)
    results = addresses(dict.fromkeys(PORT_NAMES, 20_000), made)
    assert set(results) == {"collector", "api", "clickhouse", "kafka", "redis"}
    assert made.clickhouse_app not in str(results)


def test_roles_can_be_restricted() -> None:
    roles = (Role("collector", "collector"), Role("streams", "streams"))
    assert selected_roles({}, roles) == roles
    assert selected_roles({"ONEFOLD_ROLES": ""}, roles) == ()
    assert selected_roles({"ONEFOLD_ROLES": " streams ,"}, roles) == roles[1:]
    with pytest.raises(Misconfigured, match="ONEFOLD_ROLES names nope, which is no role: choose among collector, streams"):
        selected_roles({"ONEFOLD_ROLES": "nope"}, roles)


def test_orphaned_child_is_stopped_and_foreign_process_is_not(layout: Layout) -> None:
    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    with subprocess.Popen(sleeper) as remaining, subprocess.Popen(sleeper) as stranger:
        write_pid(layout.run / "kafka.pid", remaining.pid)
        (layout.run / "redis.pid").write_text(json.dumps({"pid": stranger.pid, "identity": "of an earlier process"}))
        assert surviving_pid(layout.run / "kafka.pid") == remaining.pid
        end_leftovers(layout.run, kernel_wait_s=0.1)
        assert process_identity(remaining.pid) is None
        assert stranger.poll() is None
        stranger.kill()
    assert list(layout.run.glob("*.pid")) == []

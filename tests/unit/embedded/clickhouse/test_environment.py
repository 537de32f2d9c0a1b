"""The environment of the engine's process: what it needs passes, and nothing that anybody put a secret into."""

from embedded.clickhouse.environment import needed_variables


def test_secrets_do_not_reach_the_process() -> None:
    environ = {
        "PATH": "/bin", "LC_ALL": "C.UTF-8", "PYTHONPATH": "x", "ONEFOLD_LOG_LEVEL": "debug", "ONEFOLD_TENANT_SECRET": "a",
        "ONEFOLD_CLICKHOUSE_URL": "b", "CRM_WEBHOOK_SECRET": "c", "AWS_SECRET_ACCESS_KEY": "d", "HOME": "/root",
    }  # fmt: skip
    assert sorted(needed_variables(environ)) == ["LC_ALL", "ONEFOLD_LOG_LEVEL", "PATH", "PYTHONPATH"]

from segments.definitions import Destination, load_yaml

TEXT = """
apiVersion: onefold/v1
kind: Destination
metadata: {name: hook}
spec:
  type: webhook
  url: https://shop.vn/hook
  secret_env: HOOK_SECRET
  allow_private_addresses: true
  triggers: [{segment: vip, on: [entered, exited]}]
"""


def test_the_key_on_needs_no_quotes_and_true_stays_a_boolean() -> None:
    (found,) = load_yaml(TEXT, "hook.yaml")
    assert isinstance(found, Destination)
    assert found.spec.triggers[0].on == ("entered", "exited")
    assert found.spec.allow_private_addresses is True

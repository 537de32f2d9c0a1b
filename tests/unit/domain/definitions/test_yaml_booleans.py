from hypothesis import example, given
from hypothesis import strategies as st

from domain.definitions.kinds import Destination, load_yaml
from domain.definitions.yaml_text import yaml_documents, yaml_text

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


@example(text="\x85", key=False)
@example(text="a\u2028 b", key=True)
@given(text=st.one_of(st.text("0179._-+eExXoO:#~<=nulyoftrsTN ", max_size=8), st.text()), key=st.booleans())
def test_what_is_written_is_read_the_same(text: str, key: bool) -> None:
    document = {text: 1} if key else [text, 0.5, True, 5, None]
    assert repr(yaml_documents(yaml_text(document))) == repr([document])

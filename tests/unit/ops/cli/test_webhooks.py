import pytest

from domain.definitions.kinds import Source, load_yaml
from ops.cli.webhooks import show
from ops.webhooks.catalogue import samples_of, webhook_names
from runtime.errors import Invalid


def test_the_list_names_every_definition(capsys: pytest.CaptureFixture[str]) -> None:
    show()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == webhook_names()
    assert all(len(line) <= 80 for line in lines), lines


@pytest.mark.parametrize("name", webhook_names())
def test_a_definition_and_its_samples_are_printed_whole(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    show(name)
    (source,) = load_yaml(capsys.readouterr().out, name)
    assert isinstance(source, Source)
    show(name, samples=True)
    printed = capsys.readouterr().out
    for sample in samples_of(name):
        assert sample.text in printed
        assert sample.body.decode() in printed


def test_a_name_that_is_not_shipped_is_refused_with_those_that_are() -> None:
    with pytest.raises(Invalid, match="there are 3cx, asterisk"):
        show("shopyfi")

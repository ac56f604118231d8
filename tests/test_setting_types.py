"""Whatever type a setting has, its value is written as TOML that is read as the same value."""

from __future__ import annotations

import tomllib
from typing import Any

import attrs
import pytest
from attrs import NOTHING, frozen
from hypothesis import given
from hypothesis import strategies as st

from livestream import checks
from livestream.config import SETTINGS, load
from livestream.setting_types import WrongType, read, write
from livestream.settings import setting
from tests.other_values import other_value, with_other

DEFAULTS = load("all", None, {}, (), lambda path: "")
NAMES = list(SETTINGS)
QUOTED = "a \"name\" = 'b' # \\n \\ \N{SNOWMAN} \N{GRINNING FACE}"
CONTROLS = 'a"\n\r\n\t\x00\x1b\x7f\x85\u2028\\'


@frozen
class Certificate:
    certificate: str = setting(NOTHING, "a file")
    key: str = setting(NOTHING, "a file")
    weight: float = setting(1.0, "how often", checks.positive)
    port: int | None = setting(None, "where")
    is_default: bool = setting(False, "for all names")


CERTIFICATES = tuple[Certificate, ...]


def read_toml(text: str, kind: Any) -> Any:
    return read(tomllib.loads(f"value = {text}")["value"], kind)


def printed(name: str, value: Any) -> Any:
    """What is in the printed configuration for a setting with this value; ``None`` if it is not in there."""
    section, _, key = name.partition(".")
    return tomllib.loads(DEFAULTS.replace({name: value}).to_toml())[section].get(key)


def plain(value: Any) -> Any:
    """A value as `tomllib` gives it."""
    if isinstance(value, tuple):
        return [plain(each) for each in value]
    if attrs.has(type(value)):
        return {key: each for key, each in attrs.asdict(value).items() if each is not None}
    return value


@pytest.mark.parametrize("text", [QUOTED, CONTROLS], ids=["quoted", "controls"])
@pytest.mark.parametrize("name", [name for name in NAMES if not SETTINGS[name].metadata["secret"]])
def test_a_printed_setting_is_read_as_it_was(name: str, text: str) -> None:
    value = with_other(DEFAULTS, name, text).get(name)
    assert value != SETTINGS[name].default
    assert printed(name, value) == plain(value)


@pytest.mark.parametrize("name", [name for name in NAMES if SETTINGS[name].metadata["secret"]])
def test_a_secret_is_not_printed(name: str) -> None:
    secret = "redis://:hush@h" if SETTINGS[name].metadata["shown"] else "hush"
    config = with_other(DEFAULTS, name, secret)
    assert tomllib.loads(config.to_toml())[name.partition(".")[0]].get(name.partition(".")[2]) is None
    assert "hush" not in config.to_toml()


@pytest.mark.parametrize("name", [name for name in NAMES if hasattr(SETTINGS[name].default, "__len__")])
def test_an_empty_value_is_printed_whatever_the_default_is(name: str) -> None:
    kind = type(SETTINGS[name].default)
    assert printed(name, kind()) == plain(kind())


def test_what_may_be_none_is_none_unless_it_is_set_for_toml_has_no_word_for_it() -> None:
    optional = [name for name in NAMES if type(None) in getattr(SETTINGS[name].type, "__args__", ())]
    assert optional == [name for name in NAMES if SETTINGS[name].default is None]
    assert [printed(name, None) for name in optional] == [None] * len(optional)


def test_no_field_of_a_table_is_a_secret_for_the_setting_itself_would_have_to_be_one() -> None:
    items = [item for each in SETTINGS.values() for item in getattr(each.type, "__args__", ()) if attrs.has(item)]
    assert items
    assert not any(each.metadata["secret"] for item in items for each in attrs.fields(item))


VALUES = st.one_of(
    *(st.text(), st.integers(), st.floats(allow_nan=False), st.booleans()),
    st.lists(st.integers() | st.text()).map(tuple),
    st.dictionaries(st.text(), st.text()),
    st.lists(st.builds(Certificate, st.text(), st.text(), st.floats(1), st.none() | st.integers())).map(tuple),
)


@given(VALUES)
def test_what_is_written_is_one_line_that_tomllib_reads_as_it_was(value: Any) -> None:
    text = write(value)
    assert text.splitlines() == [text]
    assert tomllib.loads(f"value = {text}")["value"] == plain(value)


def test_a_list_of_tables_has_the_fields_of_its_class() -> None:
    text = '[{certificate = "a", key = "b"}, {key = "d", certificate = "c", weight = 2, port = 5, is_default = true}]'
    both = (Certificate("a", "b"), Certificate("c", "d", 2.0, 5, True))
    assert read_toml(text, CERTIFICATES) == both
    assert read_toml(write(both), CERTIFICATES) == both
    assert other_value(CERTIFICATES, (), "x") == (Certificate("x", "x", 1.5, 1, True),) * 2


SHAPE = r"write each as \{certificate = \.\., key = \.\..*; optional: weight, port, is_default"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[{certificate = "a"}]', SHAPE),
        ('[{certificate = "a", key = "b", kye = "c"}]', SHAPE),
        ("[[]]", SHAPE),
        ('["a"]', SHAPE),
        ('[{certificate = "a", key = "b\\n"}]', "control character"),
        ('[{certificate = "a", key = "b", weight = -1}]', "-1.0 is not above 0"),
    ],
)
def test_a_table_of_another_shape_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_toml(text, CERTIFICATES)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ('{certificate = "a", key = "b"}', "a list"),
        ('[{certificate = 5, key = "b"}]', "a string"),
        ('[{certificate = "a", key = "b", port = 1.5}]', "a whole number"),
    ],
)
def test_a_field_of_another_type_is_refused(text: str, wanted: str) -> None:
    with pytest.raises(WrongType, match=wanted):
        read_toml(text, CERTIFICATES)

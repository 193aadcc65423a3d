"""Whatever a parser raises is one line that names the file; what people write is bounded before it is expanded."""

import errno
import time

import numpy as np
import pytest

from transformer_spectrum.config.aliases import read_config
from transformer_spectrum.config.load import load_params
from transformer_spectrum.config.resolve import Asked, assigned, resolve
from transformer_spectrum.runtime.errors import InputError, quoted, shortened
from transformer_spectrum.runtime.files import read_arrays
from transformer_spectrum.runtime.parsing import MOST_VALUES, parse_yaml, parsing, read_npy


class Unheard(Exception):
    """Of a library that nobody has thought of."""


@pytest.mark.parametrize(
    "error",
    [Unheard("odd"), Unheard(), KeyError("x"), AssertionError(), RecursionError(), MemoryError(), EOFError("end")],
)
def test_whatever_a_parser_raises_names_the_file_in_one_line(error):
    with (
        pytest.raises(InputError, match=r"^a\.bin: not a readable table") as caught,
        parsing("a.bin", "a readable table"),
    ):
        raise error
    assert "\n" not in str(caught.value)


def test_what_is_no_fault_of_the_content_stays_what_it_is():
    for error in (InputError("mine"), KeyboardInterrupt(), OSError(errno.EACCES, "Permission denied", "a.bin")):
        with pytest.raises(type(error)) as caught, parsing("a.bin", "a readable table"):
            raise error
        assert caught.value is error


def test_the_words_of_a_parser_are_shortened():
    with pytest.raises(InputError) as caught, parsing("a.bin", "text"):
        raise ValueError("x\n" * 10**6)
    assert len(str(caught.value)) < 300


def test_a_billion_laughs_are_counted_and_not_written_out():
    lines = ["a0: &a0 [x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 40))]
    began = time.monotonic()
    with pytest.raises(InputError, match=f"^bomb: holds more than {MOST_VALUES:,} values"):
        parse_yaml("\n".join(lines), "bomb")
    assert time.monotonic() - began < 2


def test_a_few_aliases_are_fine():
    assert parse_yaml("a: &a [1, 2]\nb: *a\nc: *a", "few") == {"a": [1, 2], "b": [1, 2], "c": [1, 2]}


def test_what_holds_itself_is_refused():
    with pytest.raises(InputError, match="an alias stands inside of what it stands for"):
        parse_yaml("&a [*a]", "itself")


@pytest.mark.parametrize("read", [load_params, read_config])
def test_700_000_unknown_keys_end_at_once(read, tmp_path):
    path = tmp_path / "many.yaml"
    path.write_text("".join(f"k{i}: 1\n" for i in range(700_000)))
    began = time.monotonic()
    with pytest.raises(InputError, match="has more than 262,144 bytes"):
        read(path)
    assert time.monotonic() - began < 1


@pytest.mark.slow
def test_as_many_unknown_keys_as_may_be_end_soon_and_in_one_short_line(tmp_path):
    path = tmp_path / "many.yaml"
    path.write_text("".join(f"k{i}: 1\n" for i in range(MOST_VALUES // 2 - 1)))
    with pytest.raises(InputError) as caught:
        load_params(path)
    assert len(str(caught.value)) < 200


@pytest.mark.slow
def test_a_large_value_is_shown_shortened(tmp_path):
    path = tmp_path / "params.yaml"
    for text in (
        "seed: " + "a" * 200_000,
        "seed: [" + "1," * 20_000 + "]",
        "a" * 200_000 + ": 1",
        f"seed: {'9' * 4000}",
    ):
        path.write_text(text)
        with pytest.raises(InputError) as caught:
            resolve(Asked({}, params=str(path)))
        assert len(str(caught.value)) < 500
    for text in ("a" * 10**6, "a" * 10**6 + "=1", "seed=" + "a" * 10**6, "seed=[" + "1," * 20_000 + "]"):
        with pytest.raises(InputError) as caught:
            assigned([text])
            resolve(Asked({}, (text,)))
        assert len(str(caught.value)) < 500


def test_quoting_takes_bounded_time_and_space():
    nested: list = []
    for _ in range(200):
        nested = [nested] * 10
    itself: list = []
    itself.append(itself)
    for value in (nested, itself, {i: i for i in range(10**5)}, b"x" * 10**6, 10**10_000, np.zeros(10**6)):
        assert len(quoted(value)) <= 120
    assert quoted(0.1) == "0.1"
    assert quoted({"q": 3.0}) == "{'q': 3.0}"
    assert shortened("a  b") == "a b"


def test_an_array_is_not_believed_beyond_the_end_of_its_file(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((10, 10)))
    whole = path.read_bytes()
    np.testing.assert_array_equal(read_npy(path), np.zeros((10, 10)))
    for length in (0, 5, 9, 60, 127, 128, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"a\.npy: "):
            read_npy(path)


def test_a_member_that_is_no_array_is_refused(tmp_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("steps.npy", b"text")
    with pytest.raises(InputError, match=r"a\.npz: steps is no array"):
        read_arrays(tmp_path / "a.npz", ["steps"])

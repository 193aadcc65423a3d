"""How a script ends."""

import pytest

from transformer_spectrum.runtime.errors import InputError, one_line_errors


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (InputError("loss.q = 1:\n  too small"), 2, "stage: error: loss.q = 1: too small\n"),
        (OSError(28, "No space left on device", "a/b"), 2, "stage: error: a/b: No space left on device\n"),
        (FileNotFoundError(2, "No such file or directory", "x"), 2, "stage: error: x: No such file or directory\n"),
        (KeyboardInterrupt(), 130, "stage: interrupted\n"),
    ],
)
def test_a_users_mistake_is_one_line_and_an_exit_code(error, code, words, capsys):
    with pytest.raises(SystemExit) as ended, one_line_errors("stage"):
        raise error
    assert ended.value.code == code
    assert capsys.readouterr().err == words


def test_a_defect_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError), one_line_errors("stage"):
        raise ZeroDivisionError

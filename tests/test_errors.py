from gradcheck.errors import told


class Mute(Exception):
    """An exception that cannot be shown."""

    def __str__(self):
        raise RuntimeError("no message")


def test_an_exception_is_told_by_its_class_and_its_first_line():
    assert told(ValueError("one\ntwo")) == "ValueError: one"


def test_an_exception_that_says_nothing_or_cannot_be_shown_is_told_by_its_class():
    assert told(ValueError()) == "ValueError"
    assert told(Mute()) == "Mute"

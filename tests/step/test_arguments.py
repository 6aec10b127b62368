"""What every step's command line shares."""

import argparse
from unittest import mock

import pytest

import run_on_board
import show_detections
from lib.step.arguments import StepParser
from lib.step.errors import UserError
from lib.step.words import words


def test_an_option_under_its_old_name_works_and_says_so(capsys):
    parser = StepParser("A step.", opens_log=False)
    parser.add_argument("--images", type=int, default=4)
    parser.add_renamed("--pictures", "--images", type=int)
    assert parser.parse_args([]).images == 4
    assert parser.parse_args(["--pictures", "2"]).images == 2
    assert "--pictures is now called --images" in "".join(capsys.readouterr())


class Understood(Exception):
    """Ends a command once its arguments are parsed; holds them."""


SWEEP = ("--model", "m", "--imgsz", "320", "--head", "split", "--algorithm", "normal", "--max-images", "4")


@pytest.mark.parametrize(
    "command, arguments, old, new, value",
    [
        (run_on_board, ("--run", "r", "--names", "n"), "--images", "--part", "all"),
        (show_detections, ("--run", "r", "--names", "n", "--output", "o", *SWEEP), "--images", "--count", 2),
        (show_detections, ("--run", "r", "--names", "n", "--output", "o", *SWEEP), "--pictures", "--count", 2),
    ],
)
def test_what_people_type_works_under_its_old_name(command, arguments, old, new, value, capsys):
    def parse(parser, argv):
        raise Understood(argparse.ArgumentParser.parse_args(parser, argv))

    with mock.patch.object(StepParser, "parse_args", parse), pytest.raises(Understood) as ended:
        command.main([*arguments, old, str(value)])
    assert getattr(ended.value.args[0], new.strip("-")) == value
    assert f"WARNING: {old} is now called {new}; use the new name" in "".join(capsys.readouterr())


def test_a_command_is_words_or_one_sentence_that_names_its_place():
    assert words("ccache 'my cc' -m32", "CC") == ["ccache", "my cc", "-m32"]
    for command, fault in (("cc 'x", "no closing quotation"), ("cc \\", "no escaped character")):
        with pytest.raises(UserError, match=f"--emulator is not a valid command: .* has {fault}"):
            words(command, "--emulator")

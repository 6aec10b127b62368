"""What every step's command line shares."""

from lib.step.arguments import StepParser


def test_an_option_under_its_old_name_works_and_says_so(capsys):
    parser = StepParser("A step.", opens_log=False)
    parser.add_argument("--images", type=int, default=4)
    parser.add_renamed("--pictures", "--images", type=int)
    assert parser.parse_args([]).images == 4
    assert parser.parse_args(["--pictures", "2"]).images == 2
    assert "--pictures is called --images now" in "".join(capsys.readouterr())

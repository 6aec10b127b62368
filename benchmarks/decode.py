"""Compare a bundle's decode.h with a decoder that dequantizes everything first: python benchmarks/decode.py BUNDLE …

Compiles decode.c of this folder with each bundle's headers and runs it on the bundle's golden outputs. Prints a table
of medians on this machine. What counts is the ratio: both decoders are timed alternately in one run.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from lib.bundle.contract import Contract
from lib.bundle.program import FLAGS, compiler
from lib.step.errors import run_step


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="+", type=Path, metavar="BUNDLE")
    parser.add_argument("--confidence", nargs="+", type=float, default=[0.25, 0.001])
    args = parser.parse_args()
    print("| model | imgsz | kind | confidence | detections | all to float first, µs | decode.h, µs | ratio |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for bundle in args.bundles:
        contract = Contract.of_bundle(bundle)
        variant = contract.variant
        kind = f"{contract.family}{', end2end' if contract.end2end else ''}, {variant.head}"
        for confidence in args.confidence:
            plain, ours, _, count = timed(bundle, confidence)
            print(
                f"| {variant.model} | {variant.imgsz} | {kind} | {confidence} | {count:.0f} | {plain:.0f} "
                f"| {ours:.0f} | {plain / ours:.1f} |"
            )


def timed(bundle: Path, confidence: float) -> list[float]:
    """Microseconds per image of the plain decoder and of decode.h, and the number of detections of each."""
    with tempfile.TemporaryDirectory() as scratch:
        binary = Path(scratch, "decode")
        source = Path(__file__).with_suffix(".c")
        subprocess.run([*compiler(), *FLAGS, f"-I{bundle}", str(source), "-o", str(binary), "-lm"], check=True)
        done = subprocess.run([binary, bundle / "golden", str(confidence)], check=True, capture_output=True, text=True)
    return [float(word) for word in done.stdout.split()]


if __name__ == "__main__":
    sys.exit(run_step(main))

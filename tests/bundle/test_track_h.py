"""track.h gives the same numbers as Ultralytics' ByteTrack on moving scenes with flickering scores; safely."""

import ctypes
import subprocess
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from c_library import fuzzer
from moving_scenes import NOBODY, Seen, moving_scene, switches
from scipy.optimize import linear_sum_assignment
from test_letterbox_h import SOURCES, compile_c, shim  # noqa: F401

HIGH, LOW = 0.25, 0.1
PATIENCE = 30
SCENES = range(10)


def lapjv(cost, extend_cost, cost_limit):
    """`lap.lapjv` as Ultralytics calls it, by SciPy: an unassigned row or column costs half the limit."""
    assert extend_cost
    rows, columns = cost.shape
    extended = np.full((rows + columns, rows + columns), cost_limit / 2)
    extended[rows:, columns:] = 0
    extended[:rows, :columns] = cost
    by_row, column_of = linear_sum_assignment(extended)
    x, y = np.full(rows, -1), np.full(columns, -1)
    for row, column in zip(by_row, column_of):
        if row < rows and column < columns:
            x[row], y[column] = column, row
    return 0.0, x, y


@pytest.fixture(scope="module")
def reference():
    """A function scene → numbers [n] of each image, by Ultralytics."""
    with pytest.MonkeyPatch.context() as patch:
        lap = ModuleType("lap")
        lap.__version__, lap.lapjv = "SciPy's", lapjv
        patch.setitem(sys.modules, "lap", lap)
        from ultralytics.engine.results import Boxes
        from ultralytics.trackers.byte_tracker import BYTETracker

        def numbers(scene):
            # Ultralytics keeps a track one image longer than it says.
            arguments = SimpleNamespace(track_high_thresh=HIGH, track_low_thresh=LOW, new_track_thresh=HIGH,
                                        track_buffer=PATIENCE - 1, match_thresh=0.8, fuse_score=True)  # fmt: skip
            tracker = BYTETracker(arguments)
            for seen in scene:
                rows = np.hstack([seen.table[:, 2:], seen.table[:, 1:2], seen.table[:, :1]])
                tracked = tracker.update(Boxes(rows, (360, 640)))
                given = np.zeros(len(rows), int)
                for row in tracked:
                    given[int(row[7])] = int(row[4])
                yield given

        yield lambda scene: list(numbers(scene))


class Tracking(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_float) for name in ("high", "low", "start", "first", "second", "new_track")),
        ("patience", ctypes.c_int),
    ]


def track(library, scene: list[Seen], options=None) -> list[np.ndarray]:
    """The numbers that track.h gives."""
    library.shim_tracker_size.restype = ctypes.c_size_t
    tracker = ctypes.create_string_buffer(library.shim_tracker_size())
    assert library.shim_start_tracking(tracker, options) == 0
    given = []
    for seen in scene:
        table = np.ascontiguousarray(seen.table, np.float32)
        numbers = np.full(len(table) + 1, -7, np.int32)
        followed = library.shim_track(tracker, table.ctypes.data_as(ctypes.c_void_p), len(table),
                                      numbers.ctypes.data_as(ctypes.c_void_p))  # fmt: skip
        assert numbers[-1] == -7 and followed == (numbers[:-1] > 0).sum()
        given.append(numbers[:-1])
    return given


@pytest.mark.parametrize("seed", SCENES)
def test_numbers_equal_ultralytics(shim, reference, seed):  # noqa: F811
    scene = moving_scene(seed)
    expected, given = reference(scene), track(shim, scene)
    for image, pair in enumerate(zip(expected, given)):
        np.testing.assert_array_equal(*pair, err_msg=f"image {image}")
    assert switches(scene, expected) == switches(scene, given)


def test_scenes_are_hard_enough_and_numbers_stay(shim):  # noqa: F811
    """Scores often fall below the threshold, so a tracker without the second stage loses numbers."""
    options = [None, ctypes.byref(Tracking(HIGH, HIGH, HIGH, 0.2, 0.5, 0.3, PATIENCE))]
    flickers, followed, changes = 0, [0, 0], [0, 0]
    for seed in SCENES:
        scene = moving_scene(seed)
        flickers += sum(int(((seen.table[:, 1] < HIGH) & (seen.objects != NOBODY)).sum()) for seen in scene)
        for stages in range(2):
            numbers = track(shim, scene, options[stages])
            changes[stages] += switches(scene, numbers)
            followed[stages] += sum(
                int(((given > 0) & (seen.objects != NOBODY)).sum()) for seen, given in zip(scene, numbers)
            )
    print(f"\n{flickers} below the threshold; two stages, one: {followed} detections followed, {changes} switches")
    assert flickers > 200 and followed[0] > followed[1] + 150


def test_an_object_keeps_its_number_behind_another(shim):  # noqa: F811
    """Two objects cross; the one behind is hidden for nine images."""
    scene = []
    for image in range(60):
        rows = [
            [0, 0.8, 100 + 6 * image, 100, 160 + 6 * image, 220],
            [0, 0.6, 400 - 5 * image, 110, 450 - 5 * image, 200],
        ]
        hidden = 23 <= image < 32
        scene.append(Seen(np.array(rows[: 1 if hidden else 2], np.float32), np.arange(1 if hidden else 2)))
    given = track(shim, scene)
    assert switches(scene, given) == 0 and set(np.concatenate(given)) == {1, 2}


def test_an_object_seen_once_gets_no_number(shim):  # noqa: F811
    row = np.array([[0, 0.9, 10, 10, 50, 50]], np.float32)
    nothing = row[:0]
    first, later = (
        [Seen(row, [0])],
        [Seen(nothing, []), Seen(row, [0]), Seen(nothing, []), Seen(row, [0]), Seen(row, [0])],
    )
    assert [given.tolist() for given in track(shim, first)] == [[1]]
    assert [given.tolist() for given in track(shim, later)] == [[], [0], [], [0], [2]]


def test_lost_tracks_make_room_for_new_ones(shim):  # noqa: F811
    """At most 128 tracks: the best detections are tracked, and later objects replace lost tracks."""

    def many(offset):
        corners = np.array([(40 * (i % 20) + offset, 40 * (i // 20)) for i in range(200)])
        scores = 0.9 - np.arange(200) / 1000
        table = np.column_stack([np.zeros(200), scores, corners, corners + 30])
        return Seen(table.astype(np.float32), np.arange(200))

    first, again, moved, twice = track(shim, [many(0), many(0), many(5000), many(5000)])
    assert first.tolist() == again.tolist() == [*range(1, 129), *[0] * 72]
    assert not moved.any() and twice.tolist() == [*range(129, 257), *[0] * 72]


def test_numbers_start_again_after_the_largest(shim):  # noqa: F811
    """Two objects from the first image on, the second of them after the largest number."""
    shim.shim_tracker_size.restype = ctypes.c_size_t
    tracker = ctypes.create_string_buffer(shim.shim_tracker_size())
    assert shim.shim_start_tracking(tracker, None) == 0
    # Behind the options: image, last_number.
    ctypes.c_int.from_buffer(tracker, ctypes.sizeof(Tracking) + 4).value = 2**31 - 2
    table = np.array([[0, 0.9, 10, 10, 50, 50], [0, 0.8, 100, 10, 150, 50]], np.float32)
    numbers = np.zeros(2, np.int32)
    for _ in range(2):
        shim.shim_track(tracker, table.ctypes.data_as(ctypes.c_void_p), 2, numbers.ctypes.data_as(ctypes.c_void_p))
        assert numbers.tolist() == [2**31 - 1, 1]


def test_invalid_options_are_refused(shim):  # noqa: F811
    tracker = ctypes.create_string_buffer(shim.shim_tracker_size())
    good = (0.25, 0.1, 0.25, 0.2, 0.5, 0.3, 30)
    assert shim.shim_start_tracking(tracker, ctypes.byref(Tracking(*good))) == 0
    for number, value in [(0, 0.05), (1, -1), (2, float("nan")), (3, -0.1), (4, float("nan")), (5, -1), (6, -1)]:
        wrong = Tracking(*good[:number], value, *good[number + 1 :])
        assert shim.shim_start_tracking(tracker, ctypes.byref(wrong)) == -3
    row = np.zeros(6, np.float32).ctypes.data_as(ctypes.c_void_p)
    assert shim.shim_start_tracking(None, None) == -3 and shim.shim_track(None, row, 0, None) == -3
    assert shim.shim_track(tracker, row, 1, None) == -3 and shim.shim_track(tracker, row, 0, None) == 0


def test_random_detections_under_sanitizers(tmp_path):
    """Random boxes, also infinite and empty ones; numbers are unique in each image."""
    fuzz = fuzzer(tmp_path, "-DRV1106_MAX_TRACKS=16", SOURCES / "track_fuzz.c")
    done = subprocess.run([fuzz, "30000", "7"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split()[0]) > 10_000

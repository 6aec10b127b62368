"""The best classes of an image, as instances: each with its probability, and with the part of the image in the input.

So everything that handles detections also handles classes.
"""

from dataclasses import replace

import numpy as np

from lib.data.letterbox import Letterbox
from lib.detector.head import BOX
from lib.detector.instances import Instances
from lib.detector.output_spec import OutputSpec
from lib.tasks.task import Predicted

BEST = 5  # classes among which a class counts as found in top-5
VALUE = "value"  # the extra: the model's value for the class, a logit, float32 [n, 1]


def predict(outputs: OutputSpec, raw: list[np.ndarray]) -> Predicted:
    """One prediction, the whole input: its scores are probabilities, its columns the values of all classes."""
    return Predicted(outputs.predictions(raw), raw[0].reshape(1, -1).astype(np.float32))


def keep(predicted: Predicted, confidence: float, iou: float | None, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The best classes, at most `most`, the best one first, with a probability of at least `confidence`.

    Of equal values, the lower class comes first. `iou` is not used.
    """
    classes = np.argsort(-predicted.columns[0], kind="stable")
    classes = classes[predicted.predictions[0, BOX + classes] >= np.float32(confidence)][:most]
    return np.zeros(len(classes), int), classes


def found(outputs: OutputSpec, predicted: Predicted, rows: np.ndarray, boxes: Instances, fit: Letterbox) -> Instances:
    """The instances with the model's value for each."""
    return replace(boxes, extras={VALUE: predicted.columns[rows, boxes.classes][:, None]})

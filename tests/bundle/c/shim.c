/* decode.h as a shared library, for the property tests to call. */
#include "decode.h"

int shim_init(yolov8_decoder *decoder, const yolov8_model *model) { return yolov8_init(decoder, model); }

yolov8_letterbox shim_fit(const yolov8_model *model, int width, int height) { return yolov8_fit(model, width, height); }

int shim_decode(const yolov8_decoder *decoder, const int8_t *const *buffers, const size_t *sizes, float confidence,
                float iou, const yolov8_letterbox *fit, yolov8_candidate *candidates, int candidate_capacity,
                yolov8_detection *detections, int capacity)
{
    return yolov8_decode(decoder, buffers, sizes, confidence, iou, fit, candidates, candidate_capacity, detections,
                         capacity);
}

float shim_iou(const float *a, const float *b) { return yolov8_iou(a, b); }

int shim_any_above(const int8_t *bytes, int limit) { return yolov8_any_above(bytes, limit) != 0; }

void shim_score_limits(const yolov8_output *objectness, const yolov8_output *scores, float confidence, int limits[256])
{
    yolov8_score_limits(objectness, scores, confidence, limits);
}

double shim_exp(double x) { return yolov8_exp(x); }

size_t shim_decoder_size(void) { return sizeof(yolov8_decoder); }

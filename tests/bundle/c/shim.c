/* decode.h and the headers of families and tasks as a shared library, for the property tests. */
#include "anchors.h"
#include "classify.h"
#include "dfl.h"
#include "distances.h"
#include "obb.h"
#include "pose.h"
#include "segment.h"
#include "yolox.h"

int shim_init(rv1106_decoder *decoder, const rv1106_model *model) { return rv1106_init(decoder, model); }

rv1106_letterbox shim_fit(const rv1106_model *model, int width, int height) { return rv1106_fit(model, width, height); }

int shim_decode(const rv1106_decoder *decoder, const int8_t *const *buffers, const size_t *sizes, float confidence,
                float iou, const rv1106_letterbox *fit, rv1106_candidate *candidates, int candidate_capacity,
                rv1106_detection *detections, int capacity)
{
    return rv1106_decode(decoder, buffers, sizes, confidence, iou, fit, candidates, candidate_capacity, detections,
                         capacity);
}

float shim_iou(const float *a, const float *b) { return rv1106_iou(a, b); }

int shim_any_above(const int8_t *bytes, int limit) { return rv1106_any_above(bytes, limit) != 0; }

void shim_anchors_limits(const rv1106_output *objectness, const rv1106_output *scores, float confidence, int limits[256])
{
    rv1106_anchors_limits(objectness, scores, confidence, limits);
}

double shim_exp(double x) { return rv1106_exp(x); }

size_t shim_decoder_size(void) { return sizeof(rv1106_decoder); }

const rv1106_family *shim_family(int number)
{
    static const rv1106_family *const families[] = {&rv1106_dfl, &rv1106_distances, &rv1106_anchors, &rv1106_yolox,
                                                    &rv1106_classes};
    return families[number];
}

const rv1106_task *shim_task(int number)
{
    static const rv1106_task *const tasks[] = {NULL, &rv1106_pose, &rv1106_obb_angle, &rv1106_obb_turn,
                                               &rv1106_segment, &rv1106_classify_task};
    return tasks[number];
}

int shim_classify(const rv1106_decoder *decoder, const int8_t *const *buffers, const size_t *sizes, rv1106_class *best,
                  int capacity)
{
    return rv1106_classify(decoder, buffers, sizes, best, capacity);
}

typedef struct {
    double *values;
    int count, capacity;
} shim_list;

static void shim_put(void *to, double value, int decimals)
{
    shim_list *list = (shim_list *)to;
    (void)decimals;
    if (list->count < list->capacity) list->values[list->count] = value;
    list->count++;
}

int shim_values(const rv1106_decoder *decoder, const int8_t *const *buffers, const rv1106_letterbox *fit,
                const rv1106_detection *detection, double *values, int capacity)
{
    shim_list list = {values, 0, capacity};
    const rv1106_sink sink = {shim_put, &list};
    decoder->model->task->values(decoder, buffers, fit, detection, &sink);
    return list.count;
}

int shim_keypoints(const rv1106_decoder *decoder, const int8_t *const *buffers, const rv1106_letterbox *fit,
                   const rv1106_detection *detection, rv1106_keypoint *keypoints, int capacity)
{
    return rv1106_keypoints(decoder, buffers, fit, detection, keypoints, capacity);
}

int shim_mask(const rv1106_decoder *decoder, const int8_t *const *buffers, const rv1106_letterbox *fit,
              const rv1106_detection *detection, uint8_t *pixels, size_t pitch)
{
    return rv1106_mask(decoder, buffers, fit, detection, pixels, pitch);
}

rv1106_area shim_mask_area(const rv1106_letterbox *fit, const rv1106_detection *detection)
{
    return rv1106_mask_area(fit, detection);
}

/* Computes the mask at the resolution of the prototypes; `area` is a result. */
int shim_small_mask(const rv1106_decoder *decoder, const int8_t *const *buffers, const rv1106_letterbox *fit,
                    const rv1106_detection *detection, rv1106_area *area, uint8_t *pixels)
{
    const rv1106_letterbox cells = rv1106_prototype_fit(decoder->model);
    const rv1106_detection small = rv1106_on_prototypes(decoder->model, fit, detection);
    *area = rv1106_mask_area(&cells, &small);
    return rv1106_mask(decoder, buffers, &cells, &small, pixels, (size_t)area->width);
}

int shim_rotated_box(const rv1106_decoder *decoder, const int8_t *const *buffers, const rv1106_letterbox *fit,
                     const rv1106_detection *detection, rv1106_rotated *rotated)
{
    return rv1106_rotated_box(decoder, buffers, fit, detection, rotated);
}

static rv1106_rectangle rectangle_of(const rv1106_rotated *box)
{
    rv1106_rectangle rectangle = {box->cx, box->cy, box->width, box->height, 1, 0, box->angle};
    rv1106_cos_sin(box->angle, &rectangle.cos, &rectangle.sin);
    return rectangle;
}

double shim_likeness(const rv1106_rotated *first, const rv1106_rotated *other)
{
    const rv1106_rectangle a = rectangle_of(first), b = rectangle_of(other);
    return rv1106_likeness(&a, &b);
}

int shim_are_apart(const rv1106_rotated *first, const rv1106_rotated *other, double limit)
{
    const rv1106_rectangle a = rectangle_of(first), b = rectangle_of(other);
    return rv1106_are_apart(&a, &b, limit);
}

void shim_cos_sin(double x, double *cosine, double *sine) { rv1106_cos_sin(x, cosine, sine); }

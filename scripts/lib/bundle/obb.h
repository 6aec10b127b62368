/* Task OBB (oriented bounding boxes). After the family's outputs, each level has a map [1, 1, H/s, W/s] of the angle,
 * or of a value from which the angle is computed.
 *
 *   n = rv1106_decode(&decoder, buffers, ..., detections, 100);          NMS uses the rotated boxes; x1 to y2 are the
 *                                                                        axis-aligned box around each rotated box
 *   rv1106_rotated_box(&decoder, buffers, &fit, &detections[i], &box);   the rotated box of a detection
 *
 * Formulas, with the family's box of a prediction (cx, cy, w, h; not rotated) and the centre (px, py) of its cell, in
 * input pixels:
 *   angle   = real (rv1106_obb_angle) or (real - 0.25) * pi (rv1106_obb_turn), in radians: from the x axis to the side
 *             w, clockwise in the image, because y points down
 *   dx, dy  = cx - px, cy - py
 *   rotated : cx = px + dx cos - dy sin, cy = py + dx sin + dy cos; w and h are unchanged, but at least 0
 * NMS uses the probabilistic IoU, as Ultralytics does. A stretched image is rejected, because stretching does not keep
 * rectangles rectangular.
 */
#ifndef RV1106_OBB_H
#define RV1106_OBB_H

#include "decode.h"

#define RV1106_PI 3.14159265358979323846

/* A rotated box: centre and sides in pixels, angle in radians. It is not clipped to the image. */
typedef struct {
    float cx, cy, width, height, angle;
} rv1106_rotated;

/* A rotated box with the cosine and sine of its angle. */
typedef struct {
    double cx, cy, width, height, cos, sin;
    float angle;
} rv1106_rectangle;

/* Computes cosine and sine of x, for |x| <= 1000, by Taylor series. Multiples of pi / 2 are subtracted first; pi / 2 is
 * split in two parts, and the first part is so short that its products are exact. cos() and sin() of libm would do, but
 * then main.c would need -lm. */
static inline void rv1106_cos_sin(double x, double *cosine, double *sine)
{
    /* 1 / n! */
    static const double terms[17] = {
        1, 1, 0.5, 0.16666666666666666, 0.041666666666666664, 0.008333333333333333, 0.001388888888888889,
        0.0001984126984126984, 2.48015873015873e-05, 2.7557319223985893e-06, 2.755731922398589e-07,
        2.505210838544172e-08, 2.08767569878681e-09, 1.6059043836821613e-10, 1.1470745597729725e-11,
        7.647163731819816e-13, 4.779477332387385e-14,
    };
    const int turns = (int)(x / (RV1106_PI / 2) + (x < 0 ? -0.5 : 0.5));
    const double rest = x - turns * 1.5707963267341256 - turns * 6.077100506506192e-11, square = rest * rest;
    double c = terms[16], s = terms[15];
    int n;
    for (n = 14; n >= 0; n -= 2) c = terms[n] - c * square;
    for (n = 13; n > 0; n -= 2) s = terms[n] - s * square;
    s *= rest;
    switch (turns & 3) {
    case 0: *cosine = c, *sine = s; break;
    case 1: *cosine = -s, *sine = c; break;
    case 2: *cosine = -c, *sine = -s; break;
    default: *cosine = s, *sine = -c;
    }
}

/* Returns 1 if the task's maps are valid: one map of one channel per level. Angles must be below 1000; those of trained
 * models go to about 4. */
static inline int rv1106_obb_are_maps(const rv1106_model *model, const rv1106_output *maps, int count)
{
    int i;
    if (count != model->level_count) return 0;
    for (i = 0; i < count; i++) {
        const rv1106_level *level = &model->levels[i];
        if (level->per_cell != 1 || maps[i].scale * 255 > 300 ||
            !rv1106_is(&maps[i], 1, rv1106_cells(model->height, level->stride),
                       rv1106_cells(model->width, level->stride)))
            return 0;
    }
    return 1;
}

/* Returns 1 if a form is one of this task, otherwise 0. */
static inline int rv1106_obb_is_form(rv1106_form form)
{
    return form == RV1106_OBB_ANGLE || form == RV1106_OBB_TURN;
}

/* Returns the angle of a prediction. It is rounded to float where numpy rounds; products of double are exact before. */
static inline float rv1106_obb_angle_of(const rv1106_model *model, const int8_t *const buffers[],
                                        const rv1106_source *source)
{
    const int number = rv1106_box_outputs(model) + source->level;
    const rv1106_output *map = &model->outputs[number];
    const float real = rv1106_real(map, rv1106_stored(map, buffers[number], 0, source->cell));
    if (model->task->form == RV1106_OBB_ANGLE) return real;
    return (float)((double)(real - 0.25f) * (double)(float)RV1106_PI);
}

/* Rounds to the nearest float. `volatile`, because GCC 12 with -O2 on x86-64 removes the conversion to float and back
 * for two doubles at once. */
static inline double rv1106_rounded(double value)
{
    volatile float rounded = (float)value;
    return rounded;
}

/* Returns the rotated box of a prediction in input pixels. */
static inline rv1106_rectangle rv1106_obb_box(const rv1106_decoder *decoder, const int8_t *const buffers[],
                                              int prediction)
{
    const rv1106_model *model = decoder->model;
    const rv1106_source source = rv1106_source_of(model, buffers, prediction);
    const int width = source.map->width, stride = model->levels[source.level].stride;
    const double px = (source.cell % width + 0.5) * stride, py = (source.cell / width + 0.5) * stride;
    rv1106_rectangle rectangle;
    double dx, dy;
    float box[4];
    model->family->box(decoder, &source, box);
    rectangle.angle = rv1106_obb_angle_of(model, buffers, &source);
    rv1106_cos_sin(rectangle.angle, &rectangle.cos, &rectangle.sin);
    dx = box[0] - px, dy = box[1] - py;
    rectangle.cx = rv1106_rounded(px + (dx * rectangle.cos - dy * rectangle.sin));
    rectangle.cy = rv1106_rounded(py + (dx * rectangle.sin + dy * rectangle.cos));
    rectangle.width = box[2] > 0 ? box[2] : 0;
    rectangle.height = box[3] > 0 ? box[3] : 0;
    return rectangle;
}

/* Returns the similarity of two rotated boxes, taken as normal distributions with the same mean and covariance: the
 * square of their Bhattacharyya coefficient, 0 to 1. The probabilistic IoU (https://arxiv.org/abs/2106.06072) is
 * 1 - sqrt(1 - coefficient). */
static inline double rv1106_likeness(const rv1106_rectangle *a, const rv1106_rectangle *b)
{
    const double a_w = a->width * a->width, a_h = a->height * a->height;
    const double b_w = b->width * b->width, b_h = b->height * b->height;
    const double areas = a->width * a->height * b->width * b->height;
    /* 12 times the sum of both covariance matrices. */
    const double xx = a_w * a->cos * a->cos + a_h * a->sin * a->sin + b_w * b->cos * b->cos + b_h * b->sin * b->sin;
    const double yy = a_w * a->sin * a->sin + a_h * a->cos * a->cos + b_w * b->sin * b->sin + b_h * b->cos * b->cos;
    const double xy = (a_w - a_h) * a->cos * a->sin + (b_w - b_h) * b->cos * b->sin;
    const double determinant = xx * yy - xy * xy, right = b->cx - a->cx, down = b->cy - a->cy;
    double squared;
    if (!(areas > 0) || !(determinant > 0)) return 0;
    squared = 4 * areas / determinant *
              rv1106_exp(-6 * (xx * down * down + yy * right * right - 2 * xy * right * down) / determinant);
    return squared < 1 ? squared : 1;
}

/* Returns the similarity that corresponds to a probabilistic IoU of `iou`. */
static inline double rv1106_likeness_limit(float iou)
{
    const double rest = 1 - (double)iou, limit = rest > 0 ? 1 - rest * rest : 1;
    return limit * limit;
}

/* Returns 1 if two rotated boxes are so far apart that their similarity cannot be above `limit`. With the distance d of
 * their centres and the sum s of their squared sides, it is at most exp(-6 d^2 / s), and so at most
 * 1 / (1 + 6 d^2 / s). */
static inline int rv1106_are_apart(const rv1106_rectangle *a, const rv1106_rectangle *b, double limit)
{
    const double right = b->cx - a->cx, down = b->cy - a->cy;
    const double sides = a->width * a->width + a->height * a->height + b->width * b->width + b->height * b->height;
    return (sides + 6 * (right * right + down * down)) * limit > sides;
}

/* Returns 1 if the similarity to a better box of the same class is above `limit`. During selection, x1 to y2 of the
 * detections hold cx, cy, width and height. */
static inline int rv1106_obb_overlaps(const rv1106_decoder *decoder, const int8_t *const buffers[],
                                      const rv1106_detection *better, int count, int class_id,
                                      const rv1106_rectangle *rectangle, double limit)
{
    int i;
    for (i = 0; i < count; i++) {
        rv1106_rectangle other = {better[i].x1, better[i].y1, better[i].x2, better[i].y2, 1, 0, 0};
        if (class_id == better[i].class_id && !rv1106_are_apart(rectangle, &other, limit)) {
            const rv1106_source source = rv1106_source_of(decoder->model, buffers, better[i].prediction);
            rv1106_cos_sin(rv1106_obb_angle_of(decoder->model, buffers, &source), &other.cos, &other.sin);
            if (rv1106_likeness(&other, rectangle) > limit) return 1;
        }
    }
    return 0;
}

/* Returns the rotated box of a prediction in image pixels. */
static inline rv1106_rectangle rv1106_obb_placed(const rv1106_decoder *decoder, const int8_t *const buffers[],
                                                 const rv1106_letterbox *fit, int prediction)
{
    rv1106_rectangle rectangle = rv1106_obb_box(decoder, buffers, prediction);
    rectangle.cx = (rectangle.cx - fit->left) / fit->scale;
    rectangle.cy = (rectangle.cy - fit->top) / fit->scale;
    rectangle.width /= fit->scale;
    rectangle.height /= fit->scale;
    return rectangle;
}

/* Computes one axis of the axis-aligned box around a rotated box: `centre` plus or minus the reach of the corners,
 * clipped to the image. */
static inline void rv1106_obb_around(double centre, double along, double across, int side, float *low, float *high)
{
    const double reach = (along < 0 ? -along : along) + (across < 0 ? -across : across);
    const double first = centre - reach, last = centre + reach;
    *low = (float)(first > 0 ? (first < side ? first : side) : 0);
    *high = (float)(last > 0 ? (last < side ? last : side) : 0);
}

static inline int rv1106_is_stretched(const rv1106_letterbox *fit)
{
    const double difference = fit->scale_y - fit->scale, most = fit->scale * 1e-9;
    return fit->scale_y > 0 && (difference > most || difference < -most);
}

/* Replaces rv1106_select_boxes: NMS with rotated boxes; x1 to y2 become the axis-aligned box around the rotated box. */
static inline int rv1106_obb_select(const rv1106_decoder *decoder, const int8_t *const buffers[],
                                    const rv1106_candidate *candidates, int count, float iou,
                                    const rv1106_letterbox *fit, rv1106_detection *detections, int capacity)
{
    const int classes = decoder->model->classes;
    const double limit = rv1106_likeness_limit(iou);
    int i, kept = 0;
    if (rv1106_is_stretched(fit)) return RV1106_BAD_ARGUMENT;
    for (i = 0; i < count && kept < capacity; i++) {
        const int class_id = candidates[i].rank % classes, prediction = candidates[i].rank / classes;
        const rv1106_rectangle rectangle = rv1106_obb_box(decoder, buffers, prediction);
        if (decoder->model->end2end ||
            !rv1106_obb_overlaps(decoder, buffers, detections, kept, class_id, &rectangle, limit)) {
            const rv1106_detection detection = {
                class_id,
                candidates[i].score,
                (float)rectangle.cx,
                (float)rectangle.cy,
                (float)rectangle.width,
                (float)rectangle.height,
                prediction,
            };
            detections[kept++] = detection;
        }
    }
    for (i = 0; i < kept; i++) {
        const rv1106_rectangle placed = rv1106_obb_placed(decoder, buffers, fit, detections[i].prediction);
        const double w = placed.width / 2, h = placed.height / 2;
        rv1106_obb_around(placed.cx, w * placed.cos, h * placed.sin, fit->width, &detections[i].x1, &detections[i].x2);
        rv1106_obb_around(placed.cy, w * placed.sin, h * placed.cos, fit->height, &detections[i].y1, &detections[i].y2);
    }
    return kept;
}

static inline rv1106_rotated rv1106_obb_rotated(const rv1106_decoder *decoder, const int8_t *const buffers[],
                                                const rv1106_letterbox *fit, int prediction)
{
    const rv1106_rectangle placed = rv1106_obb_placed(decoder, buffers, fit, prediction);
    const rv1106_rotated rotated = {
        (float)placed.cx, (float)placed.cy, (float)placed.width, (float)placed.height, placed.angle,
    };
    return rotated;
}

/* Computes the rotated box of a detection, in image pixels.
 *   buffers, fit  the same as in the call of rv1106_decode that found `detection`; not needed afterwards
 *   rotated       the result
 * Returns 0, RV1106_BAD_MODEL if the model has no rotated boxes, or RV1106_BAD_ARGUMENT. Thread-safe. */
static inline int rv1106_rotated_box(const rv1106_decoder *decoder, const int8_t *const buffers[],
                                     const rv1106_letterbox *fit, const rv1106_detection *detection,
                                     rv1106_rotated *rotated)
{
    if (!decoder || !buffers || !fit || !detection || !rotated || !(fit->scale > 0) || rv1106_is_stretched(fit))
        return RV1106_BAD_ARGUMENT;
    if (!decoder->model->task || !rv1106_obb_is_form(decoder->model->task->form)) return RV1106_BAD_MODEL;
    if (detection->prediction < 0 || detection->prediction >= rv1106_prediction_count(decoder->model))
        return RV1106_BAD_ARGUMENT;
    *rotated = rv1106_obb_rotated(decoder, buffers, fit, detection->prediction);
    return 0;
}

/* Passes cx, cy, width, height and angle to `sink`. */
static inline void rv1106_obb_values(const rv1106_decoder *decoder, const int8_t *const buffers[],
                                     const rv1106_letterbox *fit, const rv1106_detection *detection,
                                     const rv1106_sink *sink)
{
    const rv1106_rotated rotated = rv1106_obb_rotated(decoder, buffers, fit, detection->prediction);
    sink->put(sink->to, (double)rotated.cx, 4);
    sink->put(sink->to, (double)rotated.cy, 4);
    sink->put(sink->to, (double)rotated.width, 4);
    sink->put(sink->to, (double)rotated.height, 4);
    sink->put(sink->to, (double)rotated.angle, 7);
}

static const rv1106_task rv1106_obb_angle = {
    rv1106_obb_are_maps, rv1106_obb_select, rv1106_obb_values, RV1106_OBB_ANGLE,
};
static const rv1106_task rv1106_obb_turn = {
    rv1106_obb_are_maps, rv1106_obb_select, rv1106_obb_values, RV1106_OBB_TURN,
};

#endif

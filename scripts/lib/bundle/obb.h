/* The task OBB, boxes at an angle: behind the family's outputs lies of each level a map [1, 1, H/s, W/s] of the angle, or of
 * the turn that it follows from.
 *
 *   n = rv1106_decode(&decoder, buffers, …, detections, 100);          NMS by rotated boxes; x1 to y2 are the box around
 *   rv1106_rotated_box(&decoder, buffers, &fit, &detections[i], &box);   the rotated box of a detection
 *
 * With the family's box of a prediction (cx, cy, w, h; not turned) and (px, py) the middle of its cell in input pixels:
 *   angle   = real, in radians (rv1106_obb_angle), or (real - 0.25) * pi (rv1106_obb_turn), from the x axis to the side w,
 *             clockwise on the screen: y points down
 *   dx, dy  = cx - px, cy - py
 *   rotated : cx = px + dx cos - dy sin, cy = py + dx sin + dy cos, w and h as they are, 0 where below
 * The IoU of NMS is that of the two rectangles as polygons. A stretched image turns rectangles into others and is refused.
 */
#ifndef RV1106_OBB_H
#define RV1106_OBB_H

#include "decode.h"

/* What a model's map holds; the `form` of its task. */
enum { RV1106_OBB_ANGLE = 1, RV1106_OBB_TURN = 2 };

#define RV1106_PI 3.14159265358979323846

/* Centre, sides in pixels; the angle in radians. Nothing is cut at the image's edges. */
typedef struct {
    float cx, cy, width, height, angle;
} rv1106_rotated;

/* A rectangle with what is computed once: cosine and sine. */
typedef struct {
    double cx, cy, width, height, cos, sin;
    float angle;
} rv1106_rectangle;

/* Cosine and sine of x, |x| <= 1000: quarter turns taken off (pi / 2 in two parts, the first so short that its products
 * are exact), then Taylor series. libm's would do, but then a program of one file would need -lm. */
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

/* A map of one channel a level; angles below 1000, a real one goes to some 4. */
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

/* The angle of a prediction. Rounded to float where numpy does; products are of double, so exact before. */
static inline float rv1106_obb_angle_of(const rv1106_model *model, const int8_t *const buffers[],
                                        const rv1106_source *source)
{
    const int number = rv1106_box_outputs(model) + source->level;
    const rv1106_output *map = &model->outputs[number];
    const float real = rv1106_real(map, rv1106_stored(map, buffers[number], 0, source->cell));
    if (model->task->form == RV1106_OBB_ANGLE) return real;
    return (float)((double)(real - 0.25f) * (double)(float)RV1106_PI);
}

/* The nearest float. Volatile, since GCC 12 leaves out the way of two doubles to float and back (-O2 on x86-64, where it
 * takes both at once). */
static inline double rv1106_rounded(double value)
{
    volatile float rounded = (float)value;
    return rounded;
}

/* The rotated box of a prediction in input pixels. */
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

static inline double rv1106_limited(double value, double limit)
{
    return value < -limit ? -limit : value > limit ? limit : value;
}

/* The mean of x limited to -limit..limit, where x goes evenly from one end to the other. */
static inline double rv1106_mean_limited(double start, double end, double limit)
{
    const double low = start < end ? start : end, high = start < end ? end : start;
    const double inner_low = rv1106_limited(low, limit), inner_high = rv1106_limited(high, limit);
    const double below = (high < -limit ? high : -limit) - low, above = high - (low > limit ? low : limit);
    if (!(high > low)) return inner_low;
    return (limit * ((above > 0 ? above : 0) - (below > 0 ? below : 0)) +
            (inner_high - inner_low) * (inner_low + inner_high) / 2) /
           (high - low);
}

/* The area that two rectangles share. Green's theorem, in the frame of the first, where it is |x| <= a, |y| <= b: the
 * integral over the other's boundary, where |y| <= b, of x limited to -a..a, is the integral over its inside of what that
 * has as derivative by x: 1 where |x| < a and |y| < b, else 0. So each edge counts for itself, no polygon is cut, and
 * edges that touch or coincide are no special case. */
static inline double rv1106_shared_area(const rv1106_rectangle *first, const rv1106_rectangle *other)
{
    static const int along[5] = {1, 1, -1, -1, 1}, across[5] = {1, -1, -1, 1, 1};
    const double a = first->width / 2, b = first->height / 2;
    const double cosine = first->cos * other->cos + first->sin * other->sin;
    const double sine = first->cos * other->sin - first->sin * other->cos;
    const double right = other->cx - first->cx, down = other->cy - first->cy;
    const double cx = right * first->cos + down * first->sin, cy = down * first->cos - right * first->sin;
    double area = 0, x = 0, y = 0;
    int i;
    for (i = 0; i < 5; i++) {
        const double w = along[i] * other->width / 2, h = across[i] * other->height / 2;
        const double next_x = cx + cosine * w - sine * h, next_y = cy + sine * w + cosine * h;
        if (i && next_y != y) {
            const double start = rv1106_limited(y, b), end = rv1106_limited(next_y, b), rise = next_y - y;
            area += rv1106_mean_limited(x + (next_x - x) * ((start - y) / rise), x + (next_x - x) * ((end - y) / rise),
                                        a) *
                    (end - start);
        }
        x = next_x, y = next_y;
    }
    return area < 0 ? -area : area;
}

/* Intersection over union of two rectangles as polygons; 0 of two points, and for what rounding leaves of two that do
 * not meet. */
static inline double rv1106_rotated_iou(const rv1106_rectangle *first, const rv1106_rectangle *other)
{
    const double area = first->width * first->height, other_area = other->width * other->height;
    const double least = area < other_area ? area : other_area;
    double shared = rv1106_shared_area(first, other);
    if (shared > least) shared = least;
    return shared > (area + other_area) * 1e-9 ? shared / (area + other_area - shared) : 0;
}

/* Whether the circles around two rectangles are so far apart that these cannot meet. */
static inline int rv1106_are_apart(const rv1106_rectangle *first, const rv1106_rectangle *other)
{
    const double right = other->cx - first->cx, down = other->cy - first->cy;
    const double reach = first->width * first->width + first->height * first->height + other->width * other->width +
                         other->height * other->height; /* (r + s)^2 <= 2 r^2 + 2 s^2, and these are 4 r^2 + 4 s^2 */
    return (right * right + down * down) * 2 > reach;
}

/* Whether a rectangle overlaps a better one of its class by more than `iou`. Until all detections are found, x1 to y2
 * hold cx, cy, width and height. */
static inline int rv1106_obb_overlaps(const rv1106_decoder *decoder, const int8_t *const buffers[],
                                      const rv1106_detection *better, int count, int class_id,
                                      const rv1106_rectangle *rectangle, float iou)
{
    int i;
    for (i = 0; i < count; i++) {
        rv1106_rectangle other = {better[i].x1, better[i].y1, better[i].x2, better[i].y2, 1, 0, 0};
        if (class_id == better[i].class_id && !rv1106_are_apart(rectangle, &other)) {
            const rv1106_source source = rv1106_source_of(decoder->model, buffers, better[i].prediction);
            rv1106_cos_sin(rv1106_obb_angle_of(decoder->model, buffers, &source), &other.cos, &other.sin);
            if (rv1106_rotated_iou(&other, rectangle) > iou) return 1;
        }
    }
    return 0;
}

/* The rotated box of a prediction in pixels of the image. */
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

/* One axis of the box around: from `centre` as far as the corners reach, cut at the image's edges. */
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

/* As rv1106_select_boxes: NMS of rotated boxes, and the boxes around them. */
static inline int rv1106_obb_select(const rv1106_decoder *decoder, const int8_t *const buffers[],
                                    const rv1106_candidate *candidates, int count, float iou,
                                    const rv1106_letterbox *fit, rv1106_detection *detections, int capacity)
{
    const int classes = decoder->model->classes;
    int i, kept = 0;
    if (rv1106_is_stretched(fit)) return RV1106_BAD_ARGUMENT;
    for (i = 0; i < count && kept < capacity; i++) {
        const int class_id = candidates[i].rank % classes, prediction = candidates[i].rank / classes;
        const rv1106_rectangle rectangle = rv1106_obb_box(decoder, buffers, prediction);
        if (decoder->model->end2end ||
            !rv1106_obb_overlaps(decoder, buffers, detections, kept, class_id, &rectangle, iou)) {
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

/* The rotated box, in pixels of the image, of a detection that rv1106_decode found in the same buffers. Returns 0,
 * RV1106_BAD_MODEL where the model has none, or RV1106_BAD_ARGUMENT. */
static inline int rv1106_rotated_box(const rv1106_decoder *decoder, const int8_t *const buffers[],
                                     const rv1106_letterbox *fit, const rv1106_detection *detection,
                                     rv1106_rotated *rotated)
{
    if (!decoder || !buffers || !fit || !detection || !rotated || !(fit->scale > 0) || rv1106_is_stretched(fit))
        return RV1106_BAD_ARGUMENT;
    if (!decoder->model->task || !decoder->model->task->form) return RV1106_BAD_MODEL;
    if (detection->prediction < 0 || detection->prediction >= rv1106_prediction_count(decoder->model))
        return RV1106_BAD_ARGUMENT;
    *rotated = rv1106_obb_rotated(decoder, buffers, fit, detection->prediction);
    return 0;
}

/* cx, cy, width, height and angle, for programs that print. */
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

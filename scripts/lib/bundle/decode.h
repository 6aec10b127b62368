/* From the raw INT8 outputs of a YOLOv8 .rknn, as the NPU leaves them in memory (NC1HWC2), to boxes in the picture.
 *
 * C99 (and C++), no library, no allocation, nothing static: the caller owns every buffer, so threads need only one each.
 *
 *   yolov8_decoder decoder;                                        once: checks the model, fills the tables
 *   yolov8_init(&decoder, &yolov8_this_model);                     (the model is in model.h)
 *   yolov8_letterbox fit = yolov8_fit(&yolov8_this_model, 1920, 1080);
 *   n = yolov8_decode(&decoder, buffers, sizes, 0.25f, 0.7f, &fit, candidates, 1000, detections, 100);
 *
 * Formulas, C classes, N anchor points, strides 8, 16, 32, anchor points row by row, stride by stride:
 *   real    = (stored - zero_point) * scale                        a scale and a zero point an output
 *   NC1HWC2 : channel c of cell y, x lies at ((c / c2 * height + y) * width + x) * c2 + c % c2; the rest is padding
 *   single  : [1, 4 + C, N, 1]; cx, cy, w, h divided by the input's width and height, then C scores
 *   split   : a stride [1, 64, H/s, W/s], then [1, C, H/s, W/s] scores; four sides of 16 bins, a side's distance is
 *             the mean bin under the softmax (DFL, https://arxiv.org/abs/2006.04388), in strides from the cell's centre
 *   picture = (input - (left, top)) / scale                        the letterbox undone
 */
#ifndef YOLOV8_DECODE_H
#define YOLOV8_DECODE_H

#include <float.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { YOLOV8_STRIDES = 3, YOLOV8_MAX_OUTPUTS = 2 * YOLOV8_STRIDES, YOLOV8_BINS = 16, YOLOV8_SIDE_LIMIT = 8192 };

/* YOLOV8_SINGLE_DARKNET is as YOLOV8_SINGLE, but from a Darknet model, whose predictions are as many as it has. */
typedef enum { YOLOV8_SINGLE, YOLOV8_SPLIT, YOLOV8_SINGLE_DARKNET } yolov8_head;

/* What can be wrong; every function that can fail returns one of these, all below 0. */
enum {
    YOLOV8_BAD_MODEL = -1,    /* shapes that are not those of the head, or a scale that is none */
    YOLOV8_BAD_SIZE = -2,     /* a buffer is not as long as its output in NC1HWC2 */
    YOLOV8_BAD_ARGUMENT = -3, /* a null pointer, room for nothing, a threshold or a letterbox that is none */
};

/* One output: logical shape [1, channels, height, width], in memory [1, c1, height, width, c2] with c1 * c2 channels
 * (c2 = channels makes it NHWC, c2 = 1 NCHW). What lies in the c1 * c2 - channels channels of padding is never read. */
typedef struct {
    int channels, height, width, c1, c2, zero_point;
    float scale;
} yolov8_output;

/* A model: its input in pixels, and its outputs as the runtime numbers them (split: box, scores of each stride). */
typedef struct {
    yolov8_head head;
    int width, height, classes, output_count;
    yolov8_output outputs[YOLOV8_MAX_OUTPUTS];
} yolov8_model;

/* A model ready to decode: for each output of box logits, exp(real value) of all 256 bytes, up to a common factor. */
typedef struct {
    const yolov8_model *model;
    double exponential[YOLOV8_STRIDES][256];
} yolov8_decoder;

/* How a picture of `width` x `height` pixels lies in the input: input = picture * scale + (left, top). */
typedef struct {
    int width, height, left, top;
    double scale;
} yolov8_letterbox;

/* One class of one anchor point above the threshold; `rank` is anchor point * classes + class. */
typedef struct {
    float score;
    int32_t rank;
} yolov8_candidate;

/* One object: score 0..1, corners in pixels of the picture, cut at its edges. */
typedef struct {
    int class_id;
    float score, x1, y1, x2, y2;
} yolov8_detection;

static inline const char *yolov8_message(int status)
{
    switch (status) {
    case YOLOV8_BAD_MODEL: return "the model's shapes or scales are not those of its head";
    case YOLOV8_BAD_SIZE: return "a buffer is not as long as its output in NC1HWC2";
    case YOLOV8_BAD_ARGUMENT: return "a null pointer, no room, or a threshold or letterbox that is none";
    default: return "no error";
    }
}

/* Bytes of an output in NC1HWC2. */
static inline size_t yolov8_size(const yolov8_output *output)
{
    return (size_t)output->c1 * (size_t)output->c2 * (size_t)output->height * (size_t)output->width;
}

/* The real value of a stored byte, rounded to float once, as the toolkit's simulator does. */
static inline float yolov8_real(const yolov8_output *output, int stored)
{
    return (float)(stored - output->zero_point) * output->scale;
}

/* The largest byte whose real value is not above `threshold`; -129 when all are above. */
static inline int yolov8_stored_limit(const yolov8_output *output, float threshold)
{
    int limit = 127;
    while (limit >= -128 && yolov8_real(output, limit) > threshold) limit--;
    return limit;
}

/* exp(x) for x in -700..0 to some 1e-13 of itself: Taylor series of a small part of x, then squared again and again.
 * libm's would do, but then a program of one file would need -lm. */
static inline double yolov8_exp(double x)
{
    double sum = 1, term = 1;
    int squarings = 0;
    for (; x < -0.125; x /= 2) squarings++;
    for (int n = 1; n < 12; n++) {
        term *= x / n;
        sum += term;
    }
    for (; squarings > 0; squarings--) sum *= sum;
    return sum;
}

/* Whether an output has these dimensions, lies in memory as NC1HWC2 does, and has a scale and zero point of INT8. */
static inline int yolov8_is(const yolov8_output *output, int channels, int height, int width)
{
    return output->channels == channels && output->height == height && output->width == width && output->c2 >= 1 &&
           output->c2 <= YOLOV8_SIDE_LIMIT && output->c1 == (channels - 1) / output->c2 + 1 &&
           (int64_t)output->c1 * output->c2 * height * width <= INT32_MAX && output->zero_point >= -128 &&
           output->zero_point <= 127 && output->scale > 0 && output->scale <= FLT_MAX / 512;
}

/* Number of anchor points of a model whose sides are multiples of 32. */
static inline int yolov8_anchor_count(const yolov8_model *model)
{
    return model->width * model->height / 1024 * 21;
}

/* Check `model` and make `decoder` ready for it; `model` must live as long. Returns 0 or YOLOV8_BAD_MODEL.
 * Box logits must span less than 700 (scale < 2.74), or their exponentials would not fit; real ones span some 30. */
static inline int yolov8_init(yolov8_decoder *decoder, const yolov8_model *model)
{
    int split, anchors, s;
    if (!decoder || !model) return YOLOV8_BAD_ARGUMENT;
    split = model->head == YOLOV8_SPLIT;
    if ((!split && model->head != YOLOV8_SINGLE && model->head != YOLOV8_SINGLE_DARKNET) ||
        model->output_count != (split ? YOLOV8_MAX_OUTPUTS : 1) || model->width < 32 || model->height < 32 ||
        model->width % 32 || model->height % 32 || model->width > YOLOV8_SIDE_LIMIT ||
        model->height > YOLOV8_SIDE_LIMIT || model->classes < 1)
        return YOLOV8_BAD_MODEL;
    anchors = model->head == YOLOV8_SINGLE_DARKNET ? model->outputs[0].height : yolov8_anchor_count(model);
    if (anchors < 1 || model->classes > INT32_MAX / anchors - 4) return YOLOV8_BAD_MODEL;
    decoder->model = model;
    if (!split) return yolov8_is(&model->outputs[0], 4 + model->classes, anchors, 1) ? 0 : YOLOV8_BAD_MODEL;
    for (s = 0; s < YOLOV8_STRIDES; s++) {
        const yolov8_output *box = &model->outputs[2 * s];
        int height = model->height / (8 << s), width = model->width / (8 << s), stored;
        if (!yolov8_is(box, 4 * YOLOV8_BINS, height, width) || !yolov8_is(box + 1, model->classes, height, width) ||
            box->scale * 255 > 700)
            return YOLOV8_BAD_MODEL;
        for (stored = -128; stored < 128; stored++)
            decoder->exponential[s][stored + 128] =
                yolov8_exp((double)yolov8_real(box, stored) - (double)yolov8_real(box, 127));
    }
    return 0;
}

/* How a picture is fitted into the model's input: scaled to touch two edges, rounded to pixels (halves to even, as
 * Python does), in the middle, an odd pixel right or below. All zero when a size is below 1. */
static inline yolov8_letterbox yolov8_fit(const yolov8_model *model, int width, int height)
{
    yolov8_letterbox fit = {0, 0, 0, 0, 0};
    int sides[2], i;
    if (width < 1 || height < 1) return fit;
    fit.width = width;
    fit.height = height;
    fit.scale = (double)model->width / width;
    if ((double)model->height / height < fit.scale) fit.scale = (double)model->height / height;
    for (i = 0; i < 2; i++) {
        double exact = (i ? height : width) * fit.scale;
        int whole = (int)exact;
        double rest = exact - whole;
        if (rest > 0.5 || (rest == 0.5 && whole % 2)) whole++;
        sides[i] = whole > 1 ? whole : 1;
    }
    fit.left = (model->width - sides[0]) / 2;
    fit.top = (model->height - sides[1]) / 2;
    return fit;
}

/* The order of candidates: by score, then by anchor point, then by class. */
static inline int yolov8_is_worse(yolov8_candidate a, yolov8_candidate b)
{
    return a.score < b.score || (a.score == b.score && a.rank > b.rank);
}

/* Move the candidate at `at` down a heap whose worst is on top. */
static inline void yolov8_sift(yolov8_candidate *heap, int count, int at)
{
    yolov8_candidate moved = heap[at];
    int child;
    for (; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && yolov8_is_worse(heap[child + 1], heap[child])) child++;
        if (!yolov8_is_worse(heap[child], moved)) break;
        heap[at] = heap[child];
    }
    heap[at] = moved;
}

static inline void yolov8_make_heap(yolov8_candidate *heap, int count)
{
    int at;
    for (at = count / 2 - 1; at >= 0; at--) yolov8_sift(heap, count, at);
}

/* Keep a candidate; once all room is taken, in place of the worst one if that is worse. Returns the new count. */
static inline int yolov8_push(yolov8_candidate *candidates, int capacity, int count, yolov8_candidate one)
{
    if (count < capacity) {
        candidates[count++] = one;
        if (count == capacity) yolov8_make_heap(candidates, count);
    } else if (yolov8_is_worse(candidates[0], one)) {
        candidates[0] = one;
        yolov8_sift(candidates, count, 0);
    }
    return count;
}

/* Heapsort, best first. */
static inline void yolov8_sort(yolov8_candidate *candidates, int count)
{
    yolov8_make_heap(candidates, count);
    while (count > 1) {
        yolov8_candidate worst = candidates[0];
        candidates[0] = candidates[--count];
        candidates[count] = worst;
        yolov8_sift(candidates, count, 0);
    }
}

/* Not 0 when any of 8 bytes is above `limit`, -129 to 126: all eight are compared in one word of 64 bits, after moving
 * -128..127 to 0..255, by whether adding 127 - limit carries into a byte's highest bit. */
static inline uint64_t yolov8_any_above(const int8_t *bytes, int limit)
{
    const uint64_t ones = 0x0101010101010101u, highest = ones << 7;
    const int moved = limit + 128;
    uint64_t word, sum;
    if (moved < 0) return 1;
    memcpy(&word, bytes, sizeof word);
    word ^= highest;
    sum = (word & ~highest) + ones * (uint64_t)(127 - moved % 128);
    return (moved < 128 ? sum | word : sum & word) & highest;
}

/* Gather the candidates of one output: its channels from `first` on are scores, its first cell is anchor point
 * `anchor`. Bytes are compared as they are stored; only what passes is dequantized. Returns the new count. */
static inline int yolov8_gather(const yolov8_model *model, const yolov8_output *output, const int8_t *stored, int first,
                                int anchor, float confidence, yolov8_candidate *candidates, int capacity, int count)
{
    const int limit = yolov8_stored_limit(output, confidence), cells = output->height * output->width, c2 = output->c2;
    int c1;
    for (c1 = 0; c1 < output->c1 && limit < 127; c1++) {
        const int8_t *group = stored + (size_t)c1 * (size_t)cells * (size_t)c2;
        const int begin = first > c1 * c2 ? first - c1 * c2 : 0;
        const int end = output->channels - c1 * c2 < c2 ? output->channels - c1 * c2 : c2;
        /* A group of scores alone is one run of bytes; of others the scores of each cell are one. */
        const int whole = begin == 0 && end == c2, runs = whole ? 1 : cells, length = whole ? cells * c2 : end - begin;
        int run, at;
        for (run = 0; run < runs; run++) {
            const int start = run * c2 + begin;
            for (at = start; at < start + length; at++) {
                while (start + length - at >= 8 && !yolov8_any_above(group + at, limit)) at += 8;
                if (at < start + length && group[at] > limit) {
                    const yolov8_candidate one = {
                        yolov8_real(output, group[at]),
                        (anchor + at / c2) * model->classes + c1 * c2 + at % c2 - first,
                    };
                    count = yolov8_push(candidates, capacity, count, one);
                }
            }
        }
    }
    return count;
}

/* Byte of channel `channel` in cell number `cell` of an output. */
static inline int yolov8_stored(const yolov8_output *output, const int8_t *stored, int channel, int cell)
{
    const size_t cells = (size_t)output->height * (size_t)output->width, c2 = (size_t)output->c2;
    return stored[((size_t)channel / c2 * cells + (size_t)cell) * c2 + (size_t)channel % c2];
}

/* Mean bin of one side of a cell under the softmax. */
static inline float yolov8_distance(const yolov8_output *output, const double *exponential, const int8_t *stored,
                                    int side, int cell)
{
    double sum = 0, weighted = 0;
    int bin;
    for (bin = 0; bin < YOLOV8_BINS; bin++) {
        const double weight = exponential[yolov8_stored(output, stored, side * YOLOV8_BINS + bin, cell) + 128];
        sum += weight;
        weighted += weight * bin;
    }
    return (float)(weighted / sum);
}

/* The box of an anchor point in input pixels: x, y of its corner, width, height. Each step is rounded to float where
 * numpy rounds, with no product left for a fused multiply-add to round another way. */
static inline void yolov8_box(const yolov8_decoder *decoder, const int8_t *const buffers[], int anchor, float box[4])
{
    const yolov8_model *model = decoder->model;
    const yolov8_output *output = model->outputs;
    float centre[2], size[2];
    int axis, s = 0;
    if (model->head != YOLOV8_SPLIT) {
        for (axis = 0; axis < 2; axis++) {
            const double side = axis ? model->height : model->width;
            const float middle = yolov8_real(output, yolov8_stored(output, buffers[0], axis, anchor));
            const float extent = yolov8_real(output, yolov8_stored(output, buffers[0], axis + 2, anchor));
            centre[axis] = (float)(middle * side);
            size[axis] = (float)(extent * side);
        }
    } else {
        for (; anchor >= output->height * output->width; output += 2, s++) anchor -= output->height * output->width;
        for (axis = 0; axis < 2; axis++) {
            const float point = (float)(axis ? anchor / output->width : anchor % output->width) + 0.5f;
            const double *exponential = decoder->exponential[s];
            const float low = point - yolov8_distance(output, exponential, buffers[2 * s], axis, anchor);
            const float high = point + yolov8_distance(output, exponential, buffers[2 * s], axis + 2, anchor);
            centre[axis] = (low + high) / 2 * (float)(8 << s);
            size[axis] = (high - low) * (float)(8 << s);
        }
    }
    for (axis = 0; axis < 2; axis++) {
        box[axis] = centre[axis] - size[axis] / 2;
        box[axis + 2] = size[axis];
    }
}

/* Length that two spans share, given where they begin and how long they are. */
static inline double yolov8_shared(double a, double a_length, double b, double b_length)
{
    const double inside = a < b ? a_length - (b - a) : b_length - (a - b), other = a < b ? b_length : a_length;
    return inside < other ? inside : other;
}

/* Intersection over union of two boxes x, y, w, h as OpenCV's NMSBoxes rounds it; 1 for two boxes without an area. */
static inline float yolov8_iou(const float a[4], const float b[4])
{
    const double area_a = (double)a[2] * a[3], area_b = (double)b[2] * b[3];
    double shared = 0;
    if (area_a + area_b <= DBL_EPSILON) return 1;
    if (a[2] > 0 && a[3] > 0 && b[2] > 0 && b[3] > 0) {
        const double width = yolov8_shared(a[0], a[2], b[0], b[2]), height = yolov8_shared(a[1], a[3], b[1], b[3]);
        if (width > 0 && height > 0) shared = width * height;
    }
    return 1 - (float)(1 - shared / (area_a + area_b - shared));
}

/* From input pixels to pixels of the picture, cut at its edge. */
static inline float yolov8_to_picture(float position, int border, double scale, int side)
{
    const double moved = ((double)position - border) / scale;
    return (float)(moved > 0 ? (moved < side ? moved : side) : 0);
}

/* Decode one picture's outputs.
 *   buffers, sizes   each output's memory in NC1HWC2 and its length in bytes, as many as the model has outputs
 *   confidence, iou  keep scores above the one; within a class drop a box that overlaps a better one by more than the other
 *   candidates       room to work in; when there are more, the best are kept
 *   detections       room for the result, best first; what does not fit is the worst
 * Returns the number of detections, or YOLOV8_BAD_SIZE or YOLOV8_BAD_ARGUMENT. */
static inline int yolov8_decode(const yolov8_decoder *decoder, const int8_t *const buffers[], const size_t sizes[],
                                float confidence, float iou, const yolov8_letterbox *fit, yolov8_candidate *candidates,
                                int candidate_capacity, yolov8_detection *detections, int capacity)
{
    const yolov8_model *model;
    int i, j, found = 0, kept = 0, anchor = 0;
    if (!decoder || !buffers || !sizes || !fit || !candidates || !detections || candidate_capacity < 1 ||
        capacity < 1 || !(confidence >= 0) || !(iou >= 0) || !(fit->scale > 0))
        return YOLOV8_BAD_ARGUMENT;
    model = decoder->model;
    for (i = 0; i < model->output_count; i++) {
        if (!buffers[i]) return YOLOV8_BAD_ARGUMENT;
        if (sizes[i] != yolov8_size(&model->outputs[i])) return YOLOV8_BAD_SIZE;
    }
    if (model->head != YOLOV8_SPLIT)
        found = yolov8_gather(model, model->outputs, buffers[0], 4, 0, confidence, candidates, candidate_capacity, 0);
    for (i = 1; i < model->output_count; i += 2) {
        const yolov8_output *scores = &model->outputs[i];
        found = yolov8_gather(model, scores, buffers[i], 0, anchor, confidence, candidates, candidate_capacity, found);
        anchor += scores->height * scores->width;
    }
    yolov8_sort(candidates, found);
    for (i = 0; i < found && kept < capacity; i++) {
        const int class_id = candidates[i].rank % model->classes;
        float box[4];
        yolov8_box(decoder, buffers, candidates[i].rank / model->classes, box);
        for (j = 0; j < kept; j++) {
            const float other[4] = {detections[j].x1, detections[j].y1, detections[j].x2, detections[j].y2};
            if (detections[j].class_id == class_id && yolov8_iou(box, other) > iou) break;
        }
        if (j == kept) {
            /* Until all are found, x2 and y2 hold width and height, as NMS wants them. */
            const yolov8_detection one = {class_id, candidates[i].score, box[0], box[1], box[2], box[3]};
            detections[kept++] = one;
        }
    }
    for (i = 0; i < kept; i++) {
        yolov8_detection *one = &detections[i];
        const float x2 = one->x1 + one->x2, y2 = one->y1 + one->y2;
        one->x1 = yolov8_to_picture(one->x1, fit->left, fit->scale, fit->width);
        one->y1 = yolov8_to_picture(one->y1, fit->top, fit->scale, fit->height);
        one->x2 = yolov8_to_picture(x2, fit->left, fit->scale, fit->width);
        one->y2 = yolov8_to_picture(y2, fit->top, fit->scale, fit->height);
    }
    return kept;
}

#endif

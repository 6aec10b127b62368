/* From the raw INT8 outputs of a YOLO .rknn, as the NPU leaves them in memory (NC1HWC2), to boxes in the image.
 *
 * C99 (and C++), no library, no allocation, nothing static: the caller owns every buffer, so threads need only one each.
 *
 *   yolov8_decoder decoder;                                        once: checks the model, fills the tables
 *   yolov8_init(&decoder, &yolov8_this_model);                     (the model is in model.h)
 *   yolov8_letterbox fit = yolov8_fit(&yolov8_this_model, 1920, 1080);
 *   n = yolov8_decode(&decoder, buffers, sizes, 0.25f, 0.7f, &fit, candidates, 1000, detections, 100);
 *
 * Formulas, C classes, N predictions, cells row by row, stride by stride (8, 16, 32) or [yolo] layer by layer:
 *   real    = (stored - zero_point) * scale                        a scale and a zero point an output
 *   NC1HWC2 : channel c of cell y, x lies at ((c / c2 * height + y) * width + x) * c2 + c % c2; the rest is padding
 *   single  : [1, 4 + C, N, 1]; cx, cy, w, h divided by the input's width and height, then C scores
 *   split   : a stride s a box map and [1, C, H/s, W/s] scores; the box map by the model's family:
 *     DFL       [1, 4 R, H/s, W/s], R bins for each of left, top, right, bottom: a side's distance is the mean bin
 *               under the softmax (https://arxiv.org/abs/2006.04388), in strides from the cell's centre
 *     DISTANCES [1, 4, H/s, W/s], those distances themselves
 *     ANCHORS   (Darknet, https://arxiv.org/abs/1804.02767) a [yolo] layer with A anchors: box [1, 4 A, H/s, W/s],
 *               objectness [1, A, H/s, W/s], scores [1, C A, H/s, W/s]; channel quantity * A + anchor. In column i:
 *               cx = (i + (sigmoid(tx) - 0.5) * scale_x_y + 0.5) * s, w = anchor width * exp(tw), at most the input's;
 *               with new_coords tx and tw are sigmoids already, w = anchor width * (2 tw)^2. Score = objectness * score
 *   end2end : a one-to-one head predicts each object once; the best predictions are the detections, without NMS
 *   image = (input - (left, top)) / scale                        the letterbox undone
 */
#ifndef YOLOV8_DECODE_H
#define YOLOV8_DECODE_H

#include <float.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    YOLOV8_STRIDES = 3, /* 8, 16, 32, of every model but Darknet's */
    YOLOV8_MAX_BINS = 32,
    YOLOV8_MAX_LAYERS = 6, /* [yolo] layers of a Darknet model: strides 4 to 128 */
    YOLOV8_MAX_ANCHORS = 16, /* anchors of one of them */
    YOLOV8_MAX_OUTPUTS = 3 * YOLOV8_MAX_LAYERS,
    YOLOV8_SIDE_LIMIT = 8192,
};

typedef enum { YOLOV8_SINGLE, YOLOV8_SPLIT } yolov8_head;
typedef enum { YOLOV8_DFL, YOLOV8_DISTANCES, YOLOV8_ANCHORS } yolov8_family;

/* What can be wrong; every function that can fail returns one of these, all below 0. */
enum {
    YOLOV8_BAD_MODEL = -1,    /* shapes that are not those of head and family, a scale or a layer that is none */
    YOLOV8_BAD_SIZE = -2,     /* a buffer is not as long as its output in NC1HWC2 */
    YOLOV8_BAD_ARGUMENT = -3, /* a null pointer, room for nothing, a threshold or a letterbox that is none */
};

/* One output: logical shape [1, channels, height, width], in memory [1, c1, height, width, c2] with c1 * c2 channels
 * (c2 = channels makes it NHWC, c2 = 1 NCHW). The c1 * c2 - channels channels of padding count for nothing. */
typedef struct {
    int channels, height, width, c1, c2, zero_point;
    float scale;
} yolov8_output;

/* A [yolo] layer of a Darknet model: input pixels a cell, and each anchor's width and height in input pixels. */
typedef struct {
    int stride, anchor_count, new_coords;
    double scale_x_y; /* above 0, at most 100 */
    float anchors[YOLOV8_MAX_ANCHORS][2];
} yolov8_layer;

/* A model: its input in pixels, and its outputs as the runtime numbers them (split: box, scores of each stride; of a
 * Darknet model box, objectness, scores of each [yolo] layer). `layers` are a Darknet model's, with either head. */
typedef struct {
    yolov8_head head;
    yolov8_family family;
    int end2end, width, height, classes, output_count;
    yolov8_output outputs[YOLOV8_MAX_OUTPUTS];
    int layer_count;
    yolov8_layer layers[YOLOV8_MAX_LAYERS];
} yolov8_model;

/* A model ready to decode: for each box map, what a byte means.
 *   DFL        [0] exp(real value), up to a common factor
 *   DISTANCES  [0] the real value
 *   ANCHORS    [0] where in its cell a centre lies, 0 to 1; [1] what an anchor's side is multiplied by */
typedef struct {
    const yolov8_model *model;
    double table[YOLOV8_MAX_LAYERS][2][256];
} yolov8_decoder;

/* How a image of `width` x `height` pixels lies in the input: input = image * scale + (left, top). */
typedef struct {
    int width, height, left, top;
    double scale;
} yolov8_letterbox;

/* One class of one prediction above the threshold; `rank` is prediction * classes + class, predictions numbered stride
 * by stride, cell by cell (row by row), of a [yolo] layer anchor by anchor, then cell by cell. */
typedef struct {
    float score;
    int32_t rank;
} yolov8_candidate;

/* One object: score 0..1, corners in pixels of the image, cut at its edges. */
typedef struct {
    int class_id;
    float score, x1, y1, x2, y2;
} yolov8_detection;

static inline const char *yolov8_message(int status)
{
    switch (status) {
    case YOLOV8_BAD_MODEL: return "the model's shapes, scales or layers are not those of its head and family";
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

/* exp(x) for x in -700..0, exp(-700) below, to some 1e-13 of itself: Taylor series of a small part of x, then squared
 * again and again. libm's would do, but then a program of one file would need -lm. */
static inline double yolov8_exp(double x)
{
    double sum = 1, term = 1;
    int squarings = 0;
    if (x < -700) x = -700;
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

/* Sets of maps of a model with the head `split`, one a stride or a [yolo] layer. */
static inline int yolov8_set_count(const yolov8_model *model)
{
    return model->family == YOLOV8_ANCHORS ? model->layer_count : YOLOV8_STRIDES;
}

/* Maps of such a set: box and scores, or box, objectness and scores. */
static inline int yolov8_map_count(const yolov8_model *model)
{
    return model->family == YOLOV8_ANCHORS ? 3 : 2;
}

/* Input pixels a cell of a set of maps. */
static inline int yolov8_stride(const yolov8_model *model, int set)
{
    return model->family == YOLOV8_ANCHORS ? model->layers[set].stride : 8 << set;
}

/* Predictions that a set of maps makes in each cell. */
static inline int yolov8_per_cell(const yolov8_model *model, int set)
{
    return model->family == YOLOV8_ANCHORS ? model->layers[set].anchor_count : 1;
}

/* Whether a [yolo] layer is one that these formulas hold for. */
static inline int yolov8_is_layer(const yolov8_layer *layer)
{
    int i;
    if (layer->stride < 1 || layer->stride > YOLOV8_SIDE_LIMIT || layer->anchor_count < 1 ||
        layer->anchor_count > YOLOV8_MAX_ANCHORS || !(layer->scale_x_y > 0) || !(layer->scale_x_y <= 100))
        return 0;
    for (i = 0; i < 2 * layer->anchor_count; i++) {
        const float side = layer->anchors[i / 2][i % 2];
        if (!(side > 0) || !(side <= FLT_MAX)) return 0;
    }
    return 1;
}

/* Number of predictions that a model makes, or 0 when they or their classes are too many to number. */
static inline int yolov8_prediction_count(const yolov8_model *model)
{
    int64_t count = 0;
    int set;
    for (set = 0; set < yolov8_set_count(model); set++) {
        const int stride = yolov8_stride(model, set);
        count += (int64_t)(model->width / stride) * (model->height / stride) * yolov8_per_cell(model, set);
    }
    return count < 1 || count > INT32_MAX || model->classes > INT32_MAX / count - 4 ? 0 : (int)count;
}

/* Whether the maps of a set are those of the model's family; `maps` is the first of them. */
static inline int yolov8_are_maps(const yolov8_model *model, int set, const yolov8_output *maps)
{
    const int stride = yolov8_stride(model, set), height = model->height / stride, width = model->width / stride;
    const int per_cell = yolov8_per_cell(model, set), channels = maps->channels;
    if (height < 1 || width < 1) return 0;
    if (model->family == YOLOV8_DFL) {
        if (channels != model->outputs->channels || channels < 8 || channels > 4 * YOLOV8_MAX_BINS || channels % 4 ||
            maps->scale * 255 > 700)
            return 0;
    } else if (channels != 4 * per_cell) return 0;
    if (model->family == YOLOV8_ANCHORS && !yolov8_is(maps + 1, per_cell, height, width)) return 0;
    return yolov8_is(maps, channels, height, width) &&
           yolov8_is(maps + yolov8_map_count(model) - 1, model->classes * per_cell, height, width);
}

/* Whether everything that a model tells of itself fits together. */
static inline int yolov8_is_model(const yolov8_model *model)
{
    int set, predictions;
    if ((model->head != YOLOV8_SINGLE && model->head != YOLOV8_SPLIT) ||
        (model->family != YOLOV8_DFL && model->family != YOLOV8_DISTANCES && model->family != YOLOV8_ANCHORS) ||
        model->width < 32 || model->height < 32 || model->width % 32 || model->height % 32 ||
        model->width > YOLOV8_SIDE_LIMIT || model->height > YOLOV8_SIDE_LIMIT || model->classes < 1)
        return 0;
    if (model->family == YOLOV8_ANCHORS) {
        if (model->layer_count < 1 || model->layer_count > YOLOV8_MAX_LAYERS) return 0;
        for (set = 0; set < model->layer_count; set++)
            if (!yolov8_is_layer(&model->layers[set])) return 0;
    }
    predictions = yolov8_prediction_count(model);
    if (!predictions) return 0;
    if (model->head == YOLOV8_SINGLE)
        return model->output_count == 1 && yolov8_is(model->outputs, 4 + model->classes, predictions, 1);
    if (model->output_count != yolov8_set_count(model) * yolov8_map_count(model)) return 0;
    for (set = 0; set < yolov8_set_count(model); set++)
        if (!yolov8_are_maps(model, set, &model->outputs[set * yolov8_map_count(model)])) return 0;
    return 1;
}

/* Where in its cell a centre lies, 0 to 1 or a little beyond, by the real value of tx or ty. */
static inline double yolov8_in_cell(const yolov8_layer *layer, double real)
{
    double sigmoid = real;
    if (!layer->new_coords) {
        const double power = yolov8_exp(real > 0 ? -real : real);
        sigmoid = (real > 0 ? 1 : power) / (1 + power);
    }
    return (sigmoid - 0.5) * layer->scale_x_y + 0.5;
}

/* What an anchor's side is multiplied by, by the real value of tw or th. */
static inline double yolov8_growth(const yolov8_layer *layer, double real)
{
    if (layer->new_coords) return 4 * real * real;
    return real > 0 ? 1 / yolov8_exp(-real) : yolov8_exp(real);
}

/* Check `model` and make `decoder` ready for it; `model` must live as long. Returns 0 or YOLOV8_BAD_MODEL.
 * Logits of a DFL must span less than 700 (scale < 2.74), or exponentials would not fit; real ones span some 30. */
static inline int yolov8_init(yolov8_decoder *decoder, const yolov8_model *model)
{
    int set, stored;
    if (!decoder || !model) return YOLOV8_BAD_ARGUMENT;
    if (!yolov8_is_model(model)) return YOLOV8_BAD_MODEL;
    decoder->model = model;
    for (set = 0; model->head == YOLOV8_SPLIT && set < yolov8_set_count(model); set++) {
        const yolov8_output *box = &model->outputs[set * yolov8_map_count(model)];
        for (stored = -128; stored < 128; stored++) {
            const double real = yolov8_real(box, stored);
            double *first = &decoder->table[set][0][stored + 128];
            if (model->family == YOLOV8_DFL) *first = yolov8_exp(real - (double)yolov8_real(box, 127));
            else if (model->family == YOLOV8_DISTANCES) *first = real;
            else {
                *first = yolov8_in_cell(&model->layers[set], real);
                decoder->table[set][1][stored + 128] = yolov8_growth(&model->layers[set], real);
            }
        }
    }
    return 0;
}

/* How a image is fitted into the model's input: scaled to touch two edges, rounded to pixels (halves to even, as
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

/* The order of candidates: by score, then by prediction, then by class. */
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

/* Where candidates are gathered: those above `confidence`, `count` of them so far. */
typedef struct {
    const yolov8_model *model;
    float confidence;
    yolov8_candidate *candidates;
    int capacity, count;
} yolov8_gathering;

static inline void yolov8_keep(yolov8_gathering *into, float score, int prediction, int class_id)
{
    const yolov8_candidate one = {score, prediction * into->model->classes + class_id};
    into->count = yolov8_push(into->candidates, into->capacity, into->count, one);
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

/* Which of 8 bytes are above `limit`, -129 to 126: the highest bits of a word's bytes, 0 when none is. All eight are
 * compared at once, after moving -128..127 to 0..255, by whether adding 127 - limit carries into the highest bit. */
static inline uint64_t yolov8_any_above(const int8_t *bytes, int limit)
{
    const uint64_t ones = 0x0101010101010101u, highest = ones << 7;
    const int moved = limit + 128;
    uint64_t word, sum;
    if (moved < 0) return highest;
    memcpy(&word, bytes, sizeof word);
    word ^= highest;
    sum = (word & ~highest) + ones * (uint64_t)(127 - moved % 128);
    return (moved < 128 ? sum | word : sum & word) & highest;
}

/* The bytes `begin` to `end` - 1 of a word of 8, as ones, wherever this machine has them in a word. */
static inline uint64_t yolov8_lanes(int begin, int end)
{
    uint8_t bytes[8];
    uint64_t word;
    int lane;
    for (lane = 0; lane < 8; lane++) bytes[lane] = lane >= begin && lane < end ? 255 : 0;
    memcpy(&word, bytes, sizeof word);
    return word;
}

/* Gather the candidates of an output whose channels from `first` on are scores, and whose first cell is prediction
 * number `prediction`. Bytes are compared as they are stored; only what passes is dequantized. */
static inline void yolov8_gather(yolov8_gathering *into, const yolov8_output *output, const int8_t *stored, int first,
                                 int prediction)
{
    const int limit = yolov8_stored_limit(output, into->confidence), c2 = output->c2;
    const int cells = output->height * output->width, bytes = cells * c2;
    int c1, at, cell, word, lane;
    for (c1 = 0; c1 < output->c1 && limit < 127; c1++) {
        const int8_t *group = stored + (size_t)c1 * (size_t)bytes;
        const int channel = c1 * c2 - first; /* class of the group's first lane */
        const int begin = channel < 0 ? -channel : 0;
        const int end = output->channels - c1 * c2 < c2 ? output->channels - c1 * c2 : c2;
        if (begin == 0 && end == c2) { /* scores alone: one run of bytes */
            for (at = 0; at < bytes; at++) {
                while (bytes - at >= 8 && !yolov8_any_above(group + at, limit)) at += 8;
                if (at < bytes && group[at] > limit)
                    yolov8_keep(into, yolov8_real(output, group[at]), prediction + at / c2, channel + at % c2);
            }
            continue;
        }
        for (word = begin / 8 * 8; word < end; word += 8) { /* the other lanes of a word count for nothing */
            const int from = begin > word ? begin : word, to = end < word + 8 ? end : word + 8;
            const uint64_t lanes = yolov8_lanes(from - word, to - word);
            for (cell = 0; cell < cells; cell++) {
                const int8_t *here = group + (size_t)cell * (size_t)c2;
                if (c2 % 8 == 0 && !(yolov8_any_above(here + word, limit) & lanes)) continue;
                for (lane = from; lane < to; lane++)
                    if (here[lane] > limit)
                        yolov8_keep(into, yolov8_real(output, here[lane]), prediction + cell, channel + lane);
            }
        }
    }
}

/* Score of a class of a [yolo] layer, rounded to float once: the product of two floats is exact in double. */
static inline float yolov8_product(float objectness, float score)
{
    return (float)((double)objectness * score);
}

/* For each byte of objectness (at byte + 128), the largest byte of a class score whose product with it is not above
 * `confidence`. Negative objectness, which INT8 can hold, is none. */
static inline void yolov8_score_limits(const yolov8_output *objectness, const yolov8_output *scores, float confidence,
                                       int limits[256])
{
    int stored, limit = -129;
    for (stored = 127; stored >= -128; stored--) { /* the less objectness, the higher the limit */
        const float factor = yolov8_real(objectness, stored);
        if (factor <= 0) limit = 127;
        while (limit < 127 && !(yolov8_product(factor, yolov8_real(scores, limit + 1)) > confidence)) limit++;
        limits[stored + 128] = limit;
    }
}

/* Gather the candidates of one cell of a [yolo] layer: `limits` of each of its anchors are those of its objectness,
 * `factors` its real value. */
static inline void yolov8_gather_cell(yolov8_gathering *into, const yolov8_output *scores, const int8_t *stored,
                                      int per_cell, int cell, int prediction, const int limits[], const float factors[])
{
    const int cells = scores->height * scores->width, c2 = scores->c2;
    int c1, at, anchor, lowest = 127;
    for (anchor = 0; anchor < per_cell; anchor++)
        if (limits[anchor] < lowest) lowest = limits[anchor];
    for (c1 = 0; c1 < scores->c1; c1++) {
        const int8_t *group = stored + ((size_t)c1 * (size_t)cells + (size_t)cell) * (size_t)c2;
        const int first = c1 * c2, length = scores->channels - first < c2 ? scores->channels - first : c2;
        for (at = 0; at < length; at++) {
            while (length - at >= 8 && !yolov8_any_above(group + at, lowest)) at += 8;
            if (at < length && group[at] > lowest && group[at] > limits[(first + at) % per_cell]) {
                anchor = (first + at) % per_cell;
                yolov8_keep(into, yolov8_product(factors[anchor], yolov8_real(scores, group[at])),
                            prediction + anchor * cells + cell, (first + at) / per_cell);
            }
        }
    }
}

/* Gather the candidates of a [yolo] layer, whose objectness and scores are `maps` with the bytes `buffers`, and whose
 * first prediction is number `prediction`. Only cells with a byte of objectness that some score could lift above the
 * confidence are looked at. */
static inline void yolov8_gather_layer(yolov8_gathering *into, const yolov8_output maps[2],
                                       const int8_t *const buffers[2], int prediction)
{
    const int per_cell = maps->channels, c2 = maps->c2, cells = maps->height * maps->width;
    const int8_t *stored[YOLOV8_MAX_ANCHORS];
    int limits[256], limits_here[YOLOV8_MAX_ANCHORS], most = 127, cell, anchor;
    float factors[YOLOV8_MAX_ANCHORS];
    yolov8_score_limits(&maps[0], &maps[1], into->confidence, limits);
    while (most >= -128 && limits[most + 128] < 127) most--; /* the largest byte that no score lifts */
    for (anchor = 0; anchor < per_cell; anchor++)
        stored[anchor] = buffers[0] + (size_t)(anchor / c2) * (size_t)cells * (size_t)c2 + (size_t)(anchor % c2);
    for (cell = 0; cell < cells && most < 127; cell++) {
        int above = 0;
        for (anchor = 0; anchor < per_cell; anchor++) above |= stored[anchor][(size_t)cell * (size_t)c2] > most;
        if (!above) continue;
        for (anchor = 0; anchor < per_cell; anchor++) {
            const int8_t byte = stored[anchor][(size_t)cell * (size_t)c2];
            limits_here[anchor] = limits[byte + 128];
            factors[anchor] = yolov8_real(&maps[0], byte);
        }
        yolov8_gather_cell(into, &maps[1], buffers[1], per_cell, cell, prediction, limits_here, factors);
    }
}

/* Byte of channel `channel` in cell number `cell` of an output. */
static inline int yolov8_stored(const yolov8_output *output, const int8_t *stored, int channel, int cell)
{
    const size_t cells = (size_t)output->height * (size_t)output->width, c2 = (size_t)output->c2;
    return stored[((size_t)channel / c2 * cells + (size_t)cell) * c2 + (size_t)channel % c2];
}

/* Distance of one side of a box from its cell's centre, in strides: the mean bin under the softmax, or as it is.
 * Real values come from the table: a product here could be fused with the addition behind it, and round another way. */
static inline float yolov8_distance(const yolov8_output *output, const double table[256], const int8_t *stored,
                                    int side, int cell)
{
    const int bins = output->channels / 4;
    double sum = 0, weighted = 0;
    int bin;
    if (bins == 1) return (float)table[yolov8_stored(output, stored, side, cell) + 128];
    for (bin = 0; bin < bins; bin++) {
        const double weight = table[yolov8_stored(output, stored, side * bins + bin, cell) + 128];
        sum += weight;
        weighted += weight * bin;
    }
    return (float)(weighted / sum);
}

/* One axis of a box that a set of maps gives in `cell` (and with an anchor of a [yolo] layer), in input pixels. */
static inline void yolov8_span(const yolov8_decoder *decoder, int set, const yolov8_output *output,
                               const int8_t *stored, int anchor, int cell, int axis, float *centre, float *size)
{
    const yolov8_model *model = decoder->model;
    const int at = axis ? cell / output->width : cell % output->width, stride = yolov8_stride(model, set);
    if (model->family == YOLOV8_ANCHORS) {
        const int per_cell = yolov8_per_cell(model, set), most = axis ? model->height : model->width;
        const int shift = yolov8_stored(output, stored, axis * per_cell + anchor, cell);
        const int growth = yolov8_stored(output, stored, (axis + 2) * per_cell + anchor, cell);
        const double side = model->layers[set].anchors[anchor][axis] * decoder->table[set][1][growth + 128];
        *centre = (float)((at + decoder->table[set][0][shift + 128]) * stride);
        *size = (float)(side < most ? side : most);
    } else {
        const double *table = decoder->table[set][0];
        const float point = (float)at + 0.5f;
        const float low = point - yolov8_distance(output, table, stored, axis, cell);
        const float high = point + yolov8_distance(output, table, stored, axis + 2, cell);
        *centre = (low + high) / 2 * (float)stride;
        *size = (high - low) * (float)stride;
    }
}

/* The box of a prediction in input pixels: x, y of its corner, width, height. Each step is rounded to float where
 * numpy rounds, with no product left for a fused multiply-add to round another way. */
static inline void yolov8_box(const yolov8_decoder *decoder, const int8_t *const buffers[], int prediction,
                              float box[4])
{
    const yolov8_model *model = decoder->model;
    const yolov8_output *output = model->outputs;
    float centre[2], size[2];
    int axis;
    if (model->head == YOLOV8_SINGLE) {
        for (axis = 0; axis < 2; axis++) {
            const double side = axis ? model->height : model->width;
            const float middle = yolov8_real(output, yolov8_stored(output, buffers[0], axis, prediction));
            const float extent = yolov8_real(output, yolov8_stored(output, buffers[0], axis + 2, prediction));
            centre[axis] = (float)(middle * side);
            size[axis] = (float)(extent * side);
        }
    } else {
        const int maps = yolov8_map_count(model);
        int set = 0, cells = output->height * output->width;
        while (prediction >= cells * yolov8_per_cell(model, set)) {
            prediction -= cells * yolov8_per_cell(model, set);
            output += maps;
            buffers += maps;
            cells = output->height * output->width;
            set++;
        }
        for (axis = 0; axis < 2; axis++)
            yolov8_span(decoder, set, output, buffers[0], prediction / cells, prediction % cells, axis, &centre[axis],
                        &size[axis]);
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

/* From input pixels to pixels of the image, cut at its edge. */
static inline float yolov8_to_image(float position, int border, double scale, int side)
{
    const double moved = ((double)position - border) / scale;
    return (float)(moved > 0 ? (moved < side ? moved : side) : 0);
}

/* Gather the candidates of all outputs. */
static inline void yolov8_gather_all(yolov8_gathering *into, const int8_t *const buffers[])
{
    const yolov8_model *model = into->model;
    const yolov8_output *output = model->outputs;
    int set, first = 0;
    if (model->head == YOLOV8_SINGLE) {
        yolov8_gather(into, output, buffers[0], 4, 0);
        return;
    }
    for (set = 0; set < yolov8_set_count(model); set++) {
        if (model->family == YOLOV8_ANCHORS) yolov8_gather_layer(into, output + 1, buffers + 1, first);
        else yolov8_gather(into, output + 1, buffers[1], 0, first);
        first += output->height * output->width * yolov8_per_cell(model, set);
        output += yolov8_map_count(model);
        buffers += yolov8_map_count(model);
    }
}

/* Decode one image's outputs.
 *   buffers, sizes   each output's memory in NC1HWC2 and its length in bytes, as many as the model has outputs
 *   confidence, iou  keep scores above the one; within a class drop a box that overlaps a better one by more than the
 *                    other, which is not looked at where the model is end2end
 *   candidates       room to work in; when there are more, the best are kept
 *   detections       room for the result, best first; what does not fit is the worst
 * Returns the number of detections, or YOLOV8_BAD_SIZE or YOLOV8_BAD_ARGUMENT. */
static inline int yolov8_decode(const yolov8_decoder *decoder, const int8_t *const buffers[], const size_t sizes[],
                                float confidence, float iou, const yolov8_letterbox *fit, yolov8_candidate *candidates,
                                int candidate_capacity, yolov8_detection *detections, int capacity)
{
    const yolov8_model *model;
    yolov8_gathering into;
    int i, j, found, kept = 0;
    if (!decoder || !buffers || !sizes || !fit || !candidates || !detections || candidate_capacity < 1 ||
        capacity < 1 || !(confidence >= 0) || !(iou >= 0 || decoder->model->end2end) || !(fit->scale > 0))
        return YOLOV8_BAD_ARGUMENT;
    model = decoder->model;
    for (i = 0; i < model->output_count; i++) {
        if (!buffers[i]) return YOLOV8_BAD_ARGUMENT;
        if (sizes[i] != yolov8_size(&model->outputs[i])) return YOLOV8_BAD_SIZE;
    }
    /* Without NMS no candidate beyond the last detection can become one. */
    into.model = model;
    into.confidence = confidence;
    into.candidates = candidates;
    into.capacity = model->end2end && candidate_capacity > capacity ? capacity : candidate_capacity;
    into.count = 0;
    yolov8_gather_all(&into, buffers);
    found = into.count;
    yolov8_sort(candidates, found);
    for (i = 0; i < found && kept < capacity; i++) {
        const int class_id = candidates[i].rank % model->classes;
        float box[4];
        yolov8_box(decoder, buffers, candidates[i].rank / model->classes, box);
        for (j = model->end2end ? kept : 0; j < kept; j++) {
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
        one->x1 = yolov8_to_image(one->x1, fit->left, fit->scale, fit->width);
        one->y1 = yolov8_to_image(one->y1, fit->top, fit->scale, fit->height);
        one->x2 = yolov8_to_image(x2, fit->left, fit->scale, fit->width);
        one->y2 = yolov8_to_image(y2, fit->top, fit->scale, fit->height);
    }
    return kept;
}

#endif

/* From the raw INT8 outputs of a YOLO .rknn, as the NPU leaves them in memory (NC1HWC2), to boxes in the image: what
 * models of all families share. What a box map holds is told by a header a family: dfl.h, distances.h, anchors.h; what
 * a detection has besides its box, by a header a task: pose.h, obb.h.
 *
 * C99 (and C++), no library, no allocation, no state: the caller owns every buffer, so threads need only one each.
 *
 *   rv1106_decoder decoder;                                        once: checks the model, fills the tables
 *   rv1106_init(&decoder, &RV1106_MODEL);                          (the model is in model.h)
 *   rv1106_letterbox fit = rv1106_fit(&RV1106_MODEL, 1920, 1080);
 *   n = rv1106_decode(&decoder, buffers, sizes, 0.25f, 0.7f, &fit, candidates, 1000, detections, 100);
 *
 * Formulas, C classes, N predictions, cells row by row, level by level (a stride, or a layer of an anchor-based head):
 *   real    = (stored - zero_point) * scale                        a scale and a zero point an output
 *   NC1HWC2 : channel c of cell y, x lies at ((c / c2 * height + y) * width + x) * c2 + c % c2; the rest is padding
 *   single  : [1, 4 + C, N, 1]; cx, cy, w, h divided by the input's width and height, then C scores
 *   split   : of each level the maps of the model's family, box map first and scores last
 *   end2end : a one-to-one head predicts each object once; the best predictions are the detections, without NMS
 *   image = (input - (left, top)) / scale                        the letterbox undone (a stretched image: scale, scale_y)
 */
#ifndef RV1106_DECODE_H
#define RV1106_DECODE_H

#include <float.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    RV1106_MAX_LEVELS = 6,
    RV1106_MAX_MAPS = 3,      /* of one level */
    RV1106_MAX_TASK_MAPS = 2, /* of one level, what a task adds */
    RV1106_MAX_OUTPUTS = (RV1106_MAX_MAPS + RV1106_MAX_TASK_MAPS) * RV1106_MAX_LEVELS,
    RV1106_SIDE_LIMIT = 8192,
};

typedef enum { RV1106_SINGLE, RV1106_SPLIT } rv1106_head;

/* Where an image lies in the input. A stretched one fills it, and loses its proportions. */
typedef enum { RV1106_CENTRE, RV1106_TOP_LEFT, RV1106_STRETCH } rv1106_place;

/* How pixels lie in memory. A model wants one of the first three; the others are what cameras give (letterbox.h). */
typedef enum {
    RV1106_RGB,
    RV1106_BGR,
    RV1106_GREY,
    RV1106_NV12, /* plane 0: Y; plane 1, of half the width and height: U and V by turns */
    RV1106_NV21, /* the same with V before U */
    RV1106_YUYV, /* Y, U, Y, V: two pixels in four bytes; the width is even */
} rv1106_format;

/* What can be wrong; every function that can fail returns one of these, all below 0. */
enum {
    RV1106_BAD_MODEL = -1,    /* shapes that are not those of head and family, a scale or a layer that is none */
    RV1106_BAD_SIZE = -2,     /* a buffer is not as long as its output in NC1HWC2 */
    RV1106_BAD_ARGUMENT = -3, /* a null pointer, room for nothing, a threshold or a letterbox that is none */
};

/* One output: logical shape [1, channels, height, width], in memory [1, c1, height, width, c2] with c1 * c2 channels
 * (c2 = channels makes it NHWC, c2 = 1 NCHW). The c1 * c2 - channels channels of padding count for nothing. */
typedef struct {
    int channels, height, width, c1, c2, zero_point;
    float scale;
} rv1106_output;

/* A level: the maps of one stride, or of one layer of an anchor-based head. */
typedef struct {
    int stride;   /* input pixels a cell */
    int per_cell; /* predictions in each cell */
} rv1106_level;

typedef struct rv1106_family rv1106_family;
typedef struct rv1106_task rv1106_task;

/* A model: its input in pixels, its levels, and its outputs as the runtime numbers them (split: the maps of the first
 * level, of the second, …, then the task's). `details` is what the family's header wants to know of each level besides,
 * or NULL. `task` is what a detection has besides its box; NULL where that is nothing. `fill` is the grey around an
 * image, `toolkit` the version that built the model: the board's runtime must not be older. */
typedef struct {
    rv1106_head head;
    const rv1106_family *family;
    int end2end, width, height, classes, level_count;
    rv1106_level levels[RV1106_MAX_LEVELS];
    const void *details;
    int output_count;
    rv1106_output outputs[RV1106_MAX_OUTPUTS];
    rv1106_place place;
    const rv1106_task *task;
    rv1106_format channels;
    int fill;
    const char *toolkit;
} rv1106_model;

/* A model ready to decode: for each level's box map, what a byte (at byte + 128) means by the family's header. */
typedef struct {
    const rv1106_model *model;
    double table[RV1106_MAX_LEVELS][2][256];
} rv1106_decoder;

/* How an image of `width` x `height` pixels lies in the input: input = image * scale + (left, top). `scale_y` is the
 * scale of y where it has another, as a stretched image has; otherwise 0. */
typedef struct {
    int width, height, left, top;
    double scale, scale_y;
} rv1106_letterbox;

/* One class of one prediction above the threshold; `rank` is prediction * classes + class, predictions numbered level
 * by level, in a level by their number in the cell, then cell by cell (row by row). */
typedef struct {
    float score;
    int32_t rank;
} rv1106_candidate;

/* One object: score 0..1, corners in pixels of the image, cut at its edges, and the number of its prediction, by which a
 * task's header finds the rest. */
typedef struct {
    int class_id;
    float score, x1, y1, x2, y2;
    int prediction;
} rv1106_detection;

/* Where candidates are gathered: those above `confidence`, `count` of them so far. */
typedef struct {
    const rv1106_model *model;
    float confidence;
    rv1106_candidate *candidates;
    int capacity, count;
} rv1106_gathering;

/* Where a prediction of the head `split` comes from: its level, the level's box map and that map's bytes, the cell, and
 * its number among the cell's predictions. */
typedef struct {
    int level;
    const rv1106_output *map;
    const int8_t *stored;
    int cell, number;
} rv1106_source;

/* A family of models: what its header tells decode.h. */
struct rv1106_family {
    int map_count; /* of each level with the head `split`: box map, anything between, scores */
    /* Whether a level is one that the family's formulas hold for, with any head. */
    int (*is_level)(const rv1106_model *model, int level);
    /* Whether the box map of a level, and what lies between it and the scores, have the right channels and scales.
     * `height` and `width` are the level's cells. Size and scale of box map and scores are looked at elsewhere. */
    int (*are_maps)(const rv1106_model *model, int level, const rv1106_output *maps, int height, int width);
    /* Fill the tables of a level, whose box map is `map`. */
    void (*fill)(const rv1106_model *model, int level, const rv1106_output *map, double table[2][256]);
    /* Gather the candidates of a level, whose first prediction is number `prediction`. */
    void (*gather)(rv1106_gathering *into, const rv1106_output *maps, const int8_t *const buffers[], int prediction);
    /* The box of a prediction in input pixels: centre x, y, width, height. Each step is rounded to float where numpy
     * rounds, with no product left for a fused multiply-add to round another way. */
    void (*box)(const rv1106_decoder *decoder, const rv1106_source *source, float box[4]);
};

/* Where the numbers go that a detection has besides its box: `put` gets one after the other, and with how many decimals
 * it is worth printing. */
typedef struct {
    void (*put)(void *to, double value, int decimals);
    void *to;
} rv1106_sink;

/* A task: what its header tells decode.h, and programs that print. */
struct rv1106_task {
    /* Whether the `count` outputs behind the family's are the task's. */
    int (*are_maps)(const rv1106_model *model, const rv1106_output *maps, int count);
    /* As rv1106_select_boxes, in its place; NULL where boxes are selected as everywhere. */
    int (*select)(const rv1106_decoder *decoder, const int8_t *const buffers[], const rv1106_candidate *candidates,
                  int count, float iou, const rv1106_letterbox *fit, rv1106_detection *detections, int capacity);
    /* Give all numbers of a detection, which rv1106_decode found in the same buffers. */
    void (*values)(const rv1106_decoder *decoder, const int8_t *const buffers[], const rv1106_letterbox *fit,
                   const rv1106_detection *detection, const rv1106_sink *sink);
    /* Which of the header's kinds of maps the model has, where there are several; otherwise 0. */
    int form;
};

static inline const char *rv1106_message(int status)
{
    switch (status) {
    case RV1106_BAD_MODEL: return "the model's shapes, scales or layers are not those of its head and family";
    case RV1106_BAD_SIZE: return "a buffer is not as long as its output in NC1HWC2";
    case RV1106_BAD_ARGUMENT: return "a null pointer, no room, or a threshold or letterbox that is none";
    default: return "no error";
    }
}

/* Bytes of an output in NC1HWC2. */
static inline size_t rv1106_size(const rv1106_output *output)
{
    return (size_t)output->c1 * (size_t)output->c2 * (size_t)output->height * (size_t)output->width;
}

/* The real value of a stored byte, rounded to float once, as the toolkit's simulator does. */
static inline float rv1106_real(const rv1106_output *output, int stored)
{
    return (float)(stored - output->zero_point) * output->scale;
}

/* Byte of channel `channel` in cell number `cell` of an output. */
static inline int rv1106_stored(const rv1106_output *output, const int8_t *stored, int channel, int cell)
{
    const size_t cells = (size_t)output->height * (size_t)output->width, c2 = (size_t)output->c2;
    return stored[((size_t)channel / c2 * cells + (size_t)cell) * c2 + (size_t)channel % c2];
}

/* The largest byte whose real value is not above `threshold`; -129 when all are above. */
static inline int rv1106_stored_limit(const rv1106_output *output, float threshold)
{
    int limit = 127;
    while (limit >= -128 && rv1106_real(output, limit) > threshold) limit--;
    return limit;
}

/* exp(x) for x in -700..0, exp(-700) below, to some 1e-13 of itself: Taylor series of a small part of x, then squared
 * again and again. libm's would do, but then a program of one file would need -lm. */
static inline double rv1106_exp(double x)
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
static inline int rv1106_is(const rv1106_output *output, int channels, int height, int width)
{
    return output->channels == channels && output->height == height && output->width == width && output->c2 >= 1 &&
           output->c2 <= RV1106_SIDE_LIMIT && output->c1 == (channels - 1) / output->c2 + 1 &&
           (int64_t)output->c1 * output->c2 * height * width <= INT32_MAX && output->zero_point >= -128 &&
           output->zero_point <= 127 && output->scale > 0 && output->scale <= FLT_MAX / 512;
}

/* Cells along a side of the input. Convolutions with a border round halves of odd sides up. */
static inline int rv1106_cells(int side, int stride)
{
    return (side - 1) / stride + 1;
}

/* Number of predictions that a model makes, or 0 when they or their classes are too many to number. */
static inline int rv1106_prediction_count(const rv1106_model *model)
{
    int64_t count = 0;
    int i;
    for (i = 0; i < model->level_count; i++) {
        const rv1106_level *level = &model->levels[i];
        count += (int64_t)rv1106_cells(model->width, level->stride) * rv1106_cells(model->height, level->stride) *
                 level->per_cell;
    }
    return count < 1 || count > INT32_MAX || model->classes > INT32_MAX / count - 4 ? 0 : (int)count;
}

/* Whether the maps of a level are those of the model's family; `maps` is the first of them. */
static inline int rv1106_are_maps(const rv1106_model *model, int level, const rv1106_output *maps)
{
    const int stride = model->levels[level].stride;
    const int height = rv1106_cells(model->height, stride), width = rv1106_cells(model->width, stride);
    if (height < 1 || width < 1 || !model->family->are_maps(model, level, maps, height, width)) return 0;
    return rv1106_is(maps, maps->channels, height, width) &&
           rv1106_is(maps + model->family->map_count - 1, model->classes * model->levels[level].per_cell, height,
                     width);
}

/* Number of a model's outputs before those of its task. */
static inline int rv1106_box_outputs(const rv1106_model *model)
{
    return model->head == RV1106_SINGLE ? 1 : model->level_count * model->family->map_count;
}

/* Whether the outputs behind the family's are those of the model's task. */
static inline int rv1106_are_task_maps(const rv1106_model *model)
{
    const int first = rv1106_box_outputs(model);
    if (!model->task) return model->output_count == first;
    return model->head == RV1106_SPLIT && model->output_count > first && model->output_count <= RV1106_MAX_OUTPUTS &&
           model->task->are_maps(model, &model->outputs[first], model->output_count - first);
}

/* Whether everything that a model tells of itself fits together. */
static inline int rv1106_is_model(const rv1106_model *model)
{
    int i, predictions;
    if ((model->head != RV1106_SINGLE && model->head != RV1106_SPLIT) || !model->family || model->width < 32 ||
        model->height < 32 || model->width % 32 || model->height % 32 || model->width > RV1106_SIDE_LIMIT ||
        model->height > RV1106_SIDE_LIMIT || model->classes < 1 || model->level_count < 1 ||
        model->level_count > RV1106_MAX_LEVELS)
        return 0;
    for (i = 0; i < model->level_count; i++) {
        const rv1106_level *level = &model->levels[i];
        if (level->stride < 1 || level->stride > RV1106_SIDE_LIMIT || level->per_cell < 1 ||
            level->per_cell > RV1106_SIDE_LIMIT || !model->family->is_level(model, i))
            return 0;
    }
    predictions = rv1106_prediction_count(model);
    if (!predictions || !rv1106_are_task_maps(model)) return 0;
    if (model->head == RV1106_SINGLE) return rv1106_is(model->outputs, 4 + model->classes, predictions, 1);
    for (i = 0; i < model->level_count; i++)
        if (!rv1106_are_maps(model, i, &model->outputs[i * model->family->map_count])) return 0;
    return 1;
}

/* Check `model` and make `decoder` ready for it; `model` must live as long. Returns 0, RV1106_BAD_MODEL or
 * RV1106_BAD_ARGUMENT. */
static inline int rv1106_init(rv1106_decoder *decoder, const rv1106_model *model)
{
    int i;
    if (!decoder || !model) return RV1106_BAD_ARGUMENT;
    if (!rv1106_is_model(model)) return RV1106_BAD_MODEL;
    decoder->model = model;
    for (i = 0; model->head == RV1106_SPLIT && i < model->level_count; i++)
        model->family->fill(model, i, &model->outputs[i * model->family->map_count], decoder->table[i]);
    return 0;
}

/* How an image is fitted into the model's input: scaled to touch two edges, rounded to pixels (halves to even, as
 * Python does), in the middle, an odd pixel right or below; or at the top left, or stretched, as the model wants it. All
 * zero when a size is below 1. */
static inline rv1106_letterbox rv1106_fit(const rv1106_model *model, int width, int height)
{
    rv1106_letterbox fit = {0, 0, 0, 0, 0, 0};
    int sides[2], i;
    if (width < 1 || height < 1) return fit;
    fit.width = width;
    fit.height = height;
    fit.scale = (double)model->width / width;
    if (model->place == RV1106_STRETCH) {
        fit.scale_y = (double)model->height / height;
        return fit;
    }
    if ((double)model->height / height < fit.scale) fit.scale = (double)model->height / height;
    if (model->place == RV1106_TOP_LEFT) return fit;
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
static inline int rv1106_is_worse(rv1106_candidate a, rv1106_candidate b)
{
    return a.score < b.score || (a.score == b.score && a.rank > b.rank);
}

/* Move the candidate at `at` down a heap whose worst is on top. */
static inline void rv1106_sift(rv1106_candidate *heap, int count, int at)
{
    rv1106_candidate moved = heap[at];
    int child;
    for (; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && rv1106_is_worse(heap[child + 1], heap[child])) child++;
        if (!rv1106_is_worse(heap[child], moved)) break;
        heap[at] = heap[child];
    }
    heap[at] = moved;
}

static inline void rv1106_make_heap(rv1106_candidate *heap, int count)
{
    int at;
    for (at = count / 2 - 1; at >= 0; at--) rv1106_sift(heap, count, at);
}

/* Keep a candidate; once all room is taken, in place of the worst one if that is worse. Returns the new count. */
static inline int rv1106_push(rv1106_candidate *candidates, int capacity, int count, rv1106_candidate candidate)
{
    if (count < capacity) {
        candidates[count++] = candidate;
        if (count == capacity) rv1106_make_heap(candidates, count);
    } else if (rv1106_is_worse(candidates[0], candidate)) {
        candidates[0] = candidate;
        rv1106_sift(candidates, count, 0);
    }
    return count;
}

static inline void rv1106_keep(rv1106_gathering *into, float score, int prediction, int class_id)
{
    const rv1106_candidate candidate = {score, prediction * into->model->classes + class_id};
    into->count = rv1106_push(into->candidates, into->capacity, into->count, candidate);
}

/* Heapsort, best first. */
static inline void rv1106_sort(rv1106_candidate *candidates, int count)
{
    rv1106_make_heap(candidates, count);
    while (count > 1) {
        rv1106_candidate worst = candidates[0];
        candidates[0] = candidates[--count];
        candidates[count] = worst;
        rv1106_sift(candidates, count, 0);
    }
}

/* Which of 8 bytes are above `limit`, -129 to 126: the highest bits of a word's bytes, 0 when none is. All eight are
 * compared at once, after moving -128..127 to 0..255, by whether adding 127 - limit carries into the highest bit. */
static inline uint64_t rv1106_any_above(const int8_t *bytes, int limit)
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
static inline uint64_t rv1106_lanes(int begin, int end)
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
static inline void rv1106_gather(rv1106_gathering *into, const rv1106_output *output, const int8_t *stored, int first,
                                 int prediction)
{
    const int limit = rv1106_stored_limit(output, into->confidence), c2 = output->c2;
    const int cells = output->height * output->width, bytes = cells * c2;
    int c1, at, cell, word, lane;
    for (c1 = 0; c1 < output->c1 && limit < 127; c1++) {
        const int8_t *group = stored + (size_t)c1 * (size_t)bytes;
        const int channel = c1 * c2 - first; /* class of the group's first lane */
        const int begin = channel < 0 ? -channel : 0;
        const int end = output->channels - c1 * c2 < c2 ? output->channels - c1 * c2 : c2;
        if (begin == 0 && end == c2) { /* scores alone: one run of bytes */
            for (at = 0; at < bytes; at++) {
                while (bytes - at >= 8 && !rv1106_any_above(group + at, limit)) at += 8;
                if (at < bytes && group[at] > limit)
                    rv1106_keep(into, rv1106_real(output, group[at]), prediction + at / c2, channel + at % c2);
            }
            continue;
        }
        for (word = begin / 8 * 8; word < end; word += 8) { /* the other lanes of a word count for nothing */
            const int from = begin > word ? begin : word, to = end < word + 8 ? end : word + 8;
            const uint64_t lanes = rv1106_lanes(from - word, to - word);
            for (cell = 0; cell < cells; cell++) {
                const int8_t *here = group + (size_t)cell * (size_t)c2;
                if (c2 % 8 == 0 && !(rv1106_any_above(here + word, limit) & lanes)) continue;
                for (lane = from; lane < to; lane++)
                    if (here[lane] > limit)
                        rv1106_keep(into, rv1106_real(output, here[lane]), prediction + cell, channel + lane);
            }
        }
    }
}

/* As a family's `gather`: of levels with a box map and scores. */
static inline void rv1106_gather_scores(rv1106_gathering *into, const rv1106_output *maps,
                                        const int8_t *const buffers[], int prediction)
{
    rv1106_gather(into, maps + 1, buffers[1], 0, prediction);
}

/* Gather the candidates of all outputs. */
static inline void rv1106_gather_all(rv1106_gathering *into, const int8_t *const buffers[])
{
    const rv1106_model *model = into->model;
    const rv1106_output *output = model->outputs;
    int i, first = 0;
    if (model->head == RV1106_SINGLE) {
        rv1106_gather(into, output, buffers[0], 4, 0);
        return;
    }
    for (i = 0; i < model->level_count; i++) {
        model->family->gather(into, output, buffers, first);
        first += output->height * output->width * model->levels[i].per_cell;
        output += model->family->map_count;
        buffers += model->family->map_count;
    }
}

/* The box of a prediction of the head `single`, as a family's `box`. */
static inline void rv1106_single_box(const rv1106_model *model, const int8_t *stored, int prediction, float box[4])
{
    const rv1106_output *output = model->outputs;
    int i;
    for (i = 0; i < 4; i++) {
        const double side = i % 2 ? model->height : model->width;
        box[i] = (float)(rv1106_real(output, rv1106_stored(output, stored, i, prediction)) * side);
    }
}

/* Where a prediction of the head `split` comes from. */
static inline rv1106_source rv1106_source_of(const rv1106_model *model, const int8_t *const buffers[], int prediction)
{
    const rv1106_level *level = model->levels;
    const rv1106_output *map = model->outputs;
    int cells = map->height * map->width;
    rv1106_source source;
    for (; prediction >= cells * level->per_cell; cells = map->height * map->width) {
        prediction -= cells * level++->per_cell;
        map += model->family->map_count;
        buffers += model->family->map_count;
    }
    source.level = (int)(level - model->levels);
    source.map = map;
    source.stored = buffers[0];
    source.cell = prediction % cells;
    source.number = prediction / cells;
    return source;
}

/* The box of a prediction of the head `split`, as a family's `box`. */
static inline void rv1106_split_box(const rv1106_decoder *decoder, const int8_t *const buffers[], int prediction,
                                    float box[4])
{
    const rv1106_source source = rv1106_source_of(decoder->model, buffers, prediction);
    decoder->model->family->box(decoder, &source, box);
}

/* The box of a prediction in input pixels: x, y of its corner, width, height. */
static inline void rv1106_box(const rv1106_decoder *decoder, const int8_t *const buffers[], int prediction,
                              float box[4])
{
    if (decoder->model->head == RV1106_SINGLE) rv1106_single_box(decoder->model, buffers[0], prediction, box);
    else rv1106_split_box(decoder, buffers, prediction, box);
    box[0] -= box[2] / 2;
    box[1] -= box[3] / 2;
}

/* One axis of a box by the distances of its sides from the point of a cell, in strides. */
static inline void rv1106_span(float point, float low, float high, int stride, float *centre, float *size)
{
    const float first = point - low, last = point + high;
    *centre = (first + last) / 2 * (float)stride;
    *size = (last - first) * (float)stride;
}

/* Length that two spans share, given where they begin and how long they are. */
static inline double rv1106_shared(double a, double a_length, double b, double b_length)
{
    const double inside = a < b ? a_length - (b - a) : b_length - (a - b), other = a < b ? b_length : a_length;
    return inside < other ? inside : other;
}

/* Intersection over union of two boxes x, y, w, h as OpenCV's NMSBoxes rounds it; 1 for two boxes without an area. */
static inline float rv1106_iou(const float a[4], const float b[4])
{
    const double area_a = (double)a[2] * a[3], area_b = (double)b[2] * b[3];
    double shared = 0;
    if (area_a + area_b <= DBL_EPSILON) return 1;
    if (a[2] > 0 && a[3] > 0 && b[2] > 0 && b[3] > 0) {
        const double width = rv1106_shared(a[0], a[2], b[0], b[2]), height = rv1106_shared(a[1], a[3], b[1], b[3]);
        if (width > 0 && height > 0) shared = width * height;
    }
    return 1 - (float)(1 - shared / (area_a + area_b - shared));
}

/* Whether a box overlaps a better one of its class by more than `iou`. Until all detections are found, their x2 and y2
 * hold width and height, as NMS wants them. */
static inline int rv1106_overlaps(const rv1106_detection *better, int count, int class_id, const float box[4],
                                  float iou)
{
    int i;
    for (i = 0; i < count; i++) {
        const float other[4] = {better[i].x1, better[i].y1, better[i].x2, better[i].y2};
        if (better[i].class_id == class_id && rv1106_iou(box, other) > iou) return 1;
    }
    return 0;
}

/* From input pixels to pixels of the image, cut at its edge. */
static inline float rv1106_to_image(float position, int border, double scale, int side)
{
    const double moved = ((double)position - border) / scale;
    return (float)(moved > 0 ? (moved < side ? moved : side) : 0);
}

/* The scale of y. */
static inline double rv1106_scale_y(const rv1106_letterbox *fit)
{
    return fit->scale_y > 0 ? fit->scale_y : fit->scale;
}

/* From x, y of a corner, width and height in input pixels, which the four numbers of a box hold, to its corners in pixels
 * of the image. */
static inline void rv1106_place_box(rv1106_detection *detection, const rv1106_letterbox *fit)
{
    const double down = rv1106_scale_y(fit);
    const float x2 = detection->x1 + detection->x2, y2 = detection->y1 + detection->y2;
    detection->x1 = rv1106_to_image(detection->x1, fit->left, fit->scale, fit->width);
    detection->y1 = rv1106_to_image(detection->y1, fit->top, down, fit->height);
    detection->x2 = rv1106_to_image(x2, fit->left, fit->scale, fit->width);
    detection->y2 = rv1106_to_image(y2, fit->top, down, fit->height);
}

/* From `count` candidates, best first, to detections: boxes, NMS where the model needs it, the letterbox undone. Returns
 * their number, `capacity` at most. */
static inline int rv1106_select_boxes(const rv1106_decoder *decoder, const int8_t *const buffers[],
                                      const rv1106_candidate *candidates, int count, float iou,
                                      const rv1106_letterbox *fit, rv1106_detection *detections, int capacity)
{
    const rv1106_model *model = decoder->model;
    int i, kept = 0;
    for (i = 0; i < count && kept < capacity; i++) {
        const int class_id = candidates[i].rank % model->classes, prediction = candidates[i].rank / model->classes;
        float box[4];
        rv1106_box(decoder, buffers, prediction, box);
        if (model->end2end || !rv1106_overlaps(detections, kept, class_id, box, iou)) {
            const rv1106_detection detection = {
                class_id, candidates[i].score, box[0], box[1], box[2], box[3], prediction,
            };
            detections[kept++] = detection;
        }
    }
    for (i = 0; i < kept; i++) rv1106_place_box(&detections[i], fit);
    return kept;
}

/* Decode one image's outputs.
 *   buffers, sizes   each output's memory in NC1HWC2 and its length in bytes, as many as the model has outputs
 *   confidence, iou  keep scores above the one; within a class drop a box that overlaps a better one by more than the
 *                    other, which is not looked at where the model is end2end
 *   candidates       room to work in; when there are more, the best are kept
 *   detections       room for the result, best first; what does not fit is the worst
 * Returns the number of detections, or RV1106_BAD_SIZE or RV1106_BAD_ARGUMENT. */
static inline int rv1106_decode(const rv1106_decoder *decoder, const int8_t *const buffers[], const size_t sizes[],
                                float confidence, float iou, const rv1106_letterbox *fit, rv1106_candidate *candidates,
                                int candidate_capacity, rv1106_detection *detections, int capacity)
{
    const rv1106_model *model;
    rv1106_gathering into;
    int i;
    if (!decoder || !buffers || !sizes || !fit || !candidates || !detections || candidate_capacity < 1 ||
        capacity < 1 || !(confidence >= 0) || !(iou >= 0 || decoder->model->end2end) || !(fit->scale > 0))
        return RV1106_BAD_ARGUMENT;
    model = decoder->model;
    for (i = 0; i < model->output_count; i++) {
        if (!buffers[i]) return RV1106_BAD_ARGUMENT;
        if (sizes[i] != rv1106_size(&model->outputs[i])) return RV1106_BAD_SIZE;
    }
    /* Without NMS no candidate beyond the last detection can become one. */
    into.model = model;
    into.confidence = confidence;
    into.candidates = candidates;
    into.capacity = model->end2end && candidate_capacity > capacity ? capacity : candidate_capacity;
    into.count = 0;
    rv1106_gather_all(&into, buffers);
    rv1106_sort(candidates, into.count);
    return (model->task && model->task->select ? model->task->select : rv1106_select_boxes)(
        decoder, buffers, candidates, into.count, iou, fit, detections, capacity);
}

#endif

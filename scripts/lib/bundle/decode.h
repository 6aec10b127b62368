/* Decoder for the raw INT8 outputs of a YOLO .rknn model: from the NPU's output buffers (NC1HWC2) to boxes in an image.
 * This header holds the code that all models share. One header per family decodes the box maps (dfl.h, distances.h,
 * anchors.h, yolox.h). One header per task decodes what a detection has in addition to its box (pose.h, obb.h,
 * segment.h). classify.h decodes classifiers.
 *
 * C99 and C++. No library, no allocation, no global state. The caller owns all buffers. After rv1106_init the decoder
 * is read-only: several threads can share it if each thread has its own candidate and detection arrays.
 *
 *   rv1106_decoder decoder;
 *   rv1106_init(&decoder, &RV1106_MODEL);          once; checks the model (from model.h) and fills the lookup tables
 *   rv1106_letterbox fit = rv1106_fit(&RV1106_MODEL, 1920, 1080);
 *   n = rv1106_decode(&decoder, buffers, sizes, 0.25f, 0.7f, &fit, candidates, 1000, detections, 100);
 *
 * Formulas. C is the number of classes, N the number of predictions. Predictions are numbered level by level and row by
 * row. A level is one stride, or one output layer of an anchor-based head.
 *   real    = (stored - zero_point) * scale        dequantization; one scale and one zero point per output
 *   NC1HWC2 : channel c of cell (y, x) is at ((c / c2 * height + y) * width + x) * c2 + c % c2; the rest is padding
 *   single  : one output [1, 4 + C, N, 1]: cx, cy, w, h divided by the input's width and height, then C class scores
 *   split   : per level the maps of the model's family, with the box map first and the class scores last
 *   as_is   : a classifier: one output with a value per class for the whole image; see classify.h
 *   end2end : a one-to-one head predicts each object once, so the best predictions are the detections, without NMS
 *   image   = (input - (left, top)) / scale        undoes the letterbox; y uses scale_y if the image was stretched
 */
#ifndef RV1106_DECODE_H
#define RV1106_DECODE_H

#include <float.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    RV1106_MAX_LEVELS = 6,
    RV1106_MAX_MAPS = 3,      /* maps of the family per level */
    RV1106_MAX_TASK_MAPS = 3, /* maps of the task per level */
    RV1106_MAX_OUTPUTS = (RV1106_MAX_MAPS + RV1106_MAX_TASK_MAPS) * RV1106_MAX_LEVELS,
    RV1106_SIDE_LIMIT = 8192,
};

typedef enum { RV1106_SINGLE, RV1106_SPLIT, RV1106_AS_IS } rv1106_head;

/* Position of the image in the model input. RV1106_STRETCH fills the input and does not keep the aspect ratio;
 * RV1106_CROP fills it with the middle of the image, as classifiers expect. */
typedef enum { RV1106_CENTRE, RV1106_TOP_LEFT, RV1106_STRETCH, RV1106_CROP } rv1106_place;

/* Pixel format. A model input has one of the first three. A camera frame can have any of them (see letterbox.h). */
typedef enum {
    RV1106_RGB,
    RV1106_BGR,
    RV1106_GREY,
    RV1106_NV12, /* plane 0: Y; plane 1, half the width and half the height: U and V interleaved, U first */
    RV1106_NV21, /* as NV12, but V first */
    RV1106_YUYV, /* Y, U, Y, V: two pixels in four bytes; the width must be even */
} rv1106_format;

/* Error codes. Every function that can fail returns one of these; all are below 0. */
enum {
    RV1106_BAD_MODEL = -1,    /* a shape, scale or layer of the model does not match its head and family */
    RV1106_BAD_SIZE = -2,     /* a buffer does not have the size of its output in NC1HWC2 */
    RV1106_BAD_ARGUMENT = -3, /* a null pointer, a capacity below 1, an invalid threshold or an invalid letterbox */
};

/* One output tensor: logical shape [1, channels, height, width], in memory [1, c1, height, width, c2]. c2 = channels is
 * NHWC, c2 = 1 is NCHW. The last c1 * c2 - channels channels are padding and are never read as values. */
typedef struct {
    int channels, height, width, c1, c2, zero_point;
    float scale;
} rv1106_output;

/* One level: the maps of one stride, or of one output layer of an anchor-based head. */
typedef struct {
    int stride;   /* input pixels per cell */
    int per_cell; /* predictions per cell: the number of anchors, otherwise 1 */
} rv1106_level;

typedef struct rv1106_family rv1106_family;
typedef struct rv1106_task rv1106_task;

/* A model; model.h defines one.
 *   family, details  the family's functions, and its parameters per level (NULL if it has none)
 *   end2end          1 for a one-to-one head, which needs no NMS
 *   width, height    size of the input in pixels
 *   outputs          in the order of the runtime; head `split`: the maps of the first level, of the second, ..., then
 *                    the maps of the task
 *   place            position of the image in the input
 *   task             the task's functions; NULL if a detection has only a box
 *   channels, fill   pixel format of the input; grey value of the area around the image, 0 to 255
 *   toolkit          version of rknn-toolkit2 that built the model; the runtime of the board must not be older */
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

/* A model and its lookup tables: per level, what the box map's byte b means in the family, at index b + 128. */
typedef struct {
    const rv1106_model *model;
    double table[RV1106_MAX_LEVELS][2][256];
} rv1106_decoder;

/* Letterbox of an image of `width` x `height` pixels: input position = image position * scale + (left, top). `scale_y`
 * is the scale of y if it differs from `scale`, as for a stretched image; otherwise it is 0. If the image is cropped,
 * `left` and `top` are 0 or negative. */
typedef struct {
    int width, height, left, top;
    double scale, scale_y;
} rv1106_letterbox;

/* One class of one prediction with a score above the threshold. `rank` is prediction * classes + class. Predictions are
 * numbered level by level; within a level by anchor, then by cell, row by row. */
typedef struct {
    float score;
    int32_t rank;
} rv1106_candidate;

/* One detection: score 0..1; corners in image pixels, clipped to the image; and the number of its prediction, which the
 * functions of a task use to find its other values. */
typedef struct {
    int class_id;
    float score, x1, y1, x2, y2;
    int prediction;
} rv1106_detection;

/* The list in which candidates with a score above `confidence` are collected; `count` is their current number. */
typedef struct {
    const rv1106_model *model;
    float confidence;
    rv1106_candidate *candidates;
    int capacity, count;
} rv1106_gathering;

/* Location of a prediction of the head `split`: level, the level's box map and the bytes of that map, cell number, and
 * the number of the prediction within the cell (the anchor). */
typedef struct {
    int level;
    const rv1106_output *map;
    const int8_t *stored;
    int cell, number;
} rv1106_source;

/* A family of models: the functions that its header provides to decode.h. */
struct rv1106_family {
    int map_count; /* maps per level with the head `split`: box map, others (e.g. objectness), class scores */
    /* Returns 1 if the family can decode this level (stride, per_cell, details), for either head; otherwise 0. */
    int (*is_level)(const rv1106_model *model, int level);
    /* Returns 1 if the channels and scales of the level's box map, and of the maps between it and the scores, are
     * valid; otherwise 0. `height` and `width` are the level's cells. The caller checks size and scale of box map and
     * scores. */
    int (*are_maps)(const rv1106_model *model, int level, const rv1106_output *maps, int height, int width);
    /* Fills the lookup tables of a level from its box map `map`. */
    void (*fill)(const rv1106_model *model, int level, const rv1106_output *map, double table[2][256]);
    /* Adds the candidates of a level to `into`; `prediction` is the number of the level's first prediction. */
    void (*gather)(rv1106_gathering *into, const rv1106_output *maps, const int8_t *const buffers[], int prediction);
    /* Computes the box of a prediction in input pixels: centre x, centre y, width, height. Each step is rounded to
     * float where numpy rounds, and no product is left that a fused multiply-add could round differently. */
    void (*box)(const rv1106_decoder *decoder, const rv1106_source *source, float box[4]);
};

/* Receiver of a detection's task values. `put` is called once per value, in order; `decimals` is the number of decimals
 * worth printing. `to` is passed to `put` unchanged. */
typedef struct {
    void (*put)(void *to, double value, int decimals);
    void *to;
} rv1106_sink;

/* A task and its kind of maps. The address of a task's function does not identify the task: each source file that
 * includes the header has its own copy of the function. */
typedef enum { RV1106_OBB_ANGLE = 1, RV1106_OBB_TURN, RV1106_POSE, RV1106_SEGMENT, RV1106_CLASSIFY } rv1106_form;

/* A task: the functions that its header provides to decode.h and to programs that print. */
struct rv1106_task {
    /* Returns 1 if the `count` outputs after the family's outputs are valid for this task; otherwise 0. */
    int (*are_maps)(const rv1106_model *model, const rv1106_output *maps, int count);
    /* Replaces rv1106_select_boxes, with the same arguments and result; NULL if the task does not need that. */
    int (*select)(const rv1106_decoder *decoder, const int8_t *const buffers[], const rv1106_candidate *candidates,
                  int count, float iou, const rv1106_letterbox *fit, rv1106_detection *detections, int capacity);
    /* Passes all task values of a detection to `sink`. The buffers must be those that rv1106_decode found it in. */
    void (*values)(const rv1106_decoder *decoder, const int8_t *const buffers[], const rv1106_letterbox *fit,
                   const rv1106_detection *detection, const rv1106_sink *sink);
    /* Which task this is, and which kind of maps the model has. */
    rv1106_form form;
};

/* Returns a static message for an error code. */
static inline const char *rv1106_message(int status)
{
    switch (status) {
    case RV1106_BAD_MODEL: return "a shape, scale or layer of the model does not match its head and family";
    case RV1106_BAD_SIZE: return "a buffer does not have the size of its output in NC1HWC2";
    case RV1106_BAD_ARGUMENT: return "a null pointer, a capacity below 1, an invalid threshold or an invalid letterbox";
    default: return "no error";
    }
}

/* Returns the size of an output in NC1HWC2 in bytes. */
static inline size_t rv1106_size(const rv1106_output *output)
{
    return (size_t)output->c1 * (size_t)output->c2 * (size_t)output->height * (size_t)output->width;
}

/* Returns the dequantized value of a stored byte, rounded to float once, as in the toolkit's simulator. */
static inline float rv1106_real(const rv1106_output *output, int stored)
{
    return (float)(stored - output->zero_point) * output->scale;
}

/* Returns the stored byte (-128 to 127) of channel `channel` in cell number `cell` of an output. */
static inline int rv1106_stored(const rv1106_output *output, const int8_t *stored, int channel, int cell)
{
    const size_t cells = (size_t)output->height * (size_t)output->width, c2 = (size_t)output->c2;
    return stored[((size_t)channel / c2 * cells + (size_t)cell) * c2 + (size_t)channel % c2];
}

/* Returns the largest byte whose dequantized value is not above `threshold`; -129 if all are above. */
static inline int rv1106_stored_limit(const rv1106_output *output, float threshold)
{
    int limit = 127;
    while (limit >= -128 && rv1106_real(output, limit) > threshold) limit--;
    return limit;
}

/* Returns exp(x) for x in -700..0, and exp(-700) for smaller x, with a relative error of about 1e-13. It evaluates a
 * Taylor series of x / 2^k, then squares the result k times. exp() of libm would do, but then main.c would need -lm. */
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

/* Returns 1 if an output has these dimensions, a valid NC1HWC2 layout, and a valid INT8 scale and zero point. */
static inline int rv1106_is(const rv1106_output *output, int channels, int height, int width)
{
    return output->channels == channels && output->height == height && output->width == width && output->c2 >= 1 &&
           output->c2 <= RV1106_SIDE_LIMIT && output->c1 == (channels - 1) / output->c2 + 1 &&
           (int64_t)output->c1 * output->c2 * height * width <= INT32_MAX && output->zero_point >= -128 &&
           output->zero_point <= 127 && output->scale > 0 && output->scale <= FLT_MAX / 512;
}

/* Returns the number of cells along a side of the input. Padded convolutions round half of an odd side up. */
static inline int rv1106_cells(int side, int stride)
{
    return (side - 1) / stride + 1;
}

/* Returns the number of predictions of a model; 0 if there are none, or too many for an int32 rank. */
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

/* Returns 1 if the maps of a level match the model's family; `maps` points to the first of them. */
static inline int rv1106_are_maps(const rv1106_model *model, int level, const rv1106_output *maps)
{
    const int stride = model->levels[level].stride;
    const int height = rv1106_cells(model->height, stride), width = rv1106_cells(model->width, stride);
    if (height < 1 || width < 1 || !model->family->are_maps(model, level, maps, height, width)) return 0;
    return rv1106_is(maps, maps->channels, height, width) &&
           rv1106_is(maps + model->family->map_count - 1, model->classes * model->levels[level].per_cell, height,
                     width);
}

/* Returns the number of outputs before those of the task. */
static inline int rv1106_box_outputs(const rv1106_model *model)
{
    return model->head == RV1106_SINGLE ? 1 : model->level_count * model->family->map_count;
}

/* Returns 1 if the outputs after the family's outputs match the model's task. */
static inline int rv1106_are_task_maps(const rv1106_model *model)
{
    const int first = rv1106_box_outputs(model);
    if (!model->task) return model->output_count == first;
    return model->head == RV1106_SPLIT && model->output_count > first && model->output_count <= RV1106_MAX_OUTPUTS &&
           model->task->are_maps(model, &model->outputs[first], model->output_count - first);
}

/* Returns 1 if the fields of a classifier are valid and consistent. Its input may have any size. */
static inline int rv1106_is_classifier(const rv1106_model *model)
{
    return model->family && model->family->map_count == 1 && model->task && model->task->form == RV1106_CLASSIFY &&
           model->end2end && model->width >= 1 && model->height >= 1 && model->width <= RV1106_SIDE_LIMIT &&
           model->height <= RV1106_SIDE_LIMIT && model->classes >= 1 && model->level_count == 1 &&
           model->levels[0].stride >= model->width && model->levels[0].stride >= model->height &&
           model->family->is_level(model, 0) && model->output_count == 1 &&
           rv1106_is(model->outputs, model->classes, 1, 1);
}

/* Returns 1 if the fields of a model that decoding uses are valid and consistent. */
static inline int rv1106_is_model(const rv1106_model *model)
{
    int i, predictions;
    if (model->head == RV1106_AS_IS) return rv1106_is_classifier(model);
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

/* Checks `model` and prepares `decoder` for it.
 *   decoder  the caller's memory, about 24 KB; filled here, read-only afterwards
 *   model    usually &RV1106_MODEL; the decoder keeps this pointer, so the model must outlive the decoder
 * Returns 0, RV1106_BAD_MODEL or RV1106_BAD_ARGUMENT. */
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

/* Computes the size that an image of `width` x `height` pixels has when it is scaled until it covers an input. The
 * longer side is rounded down, as in torchvision's Resize. */
static inline void rv1106_covering(int input_width, int input_height, int width, int height, int sides[2])
{
    const int64_t across = (int64_t)input_width * height, down = (int64_t)input_height * width;
    sides[0] = across >= down ? input_width : (int)(down / height);
    sides[1] = across >= down ? (int)(across / width) : input_height;
}

/* Returns half of a number of pixels that are cut off, halves rounded to even, as in torchvision's CenterCrop. */
static inline int rv1106_half(int pixels)
{
    return pixels / 2 + (pixels % 2 && pixels / 2 % 2);
}

/* Returns the letterbox of an image of `width` x `height` pixels in the model's input, as model->place defines it:
 *   RV1106_CENTRE    scaled until it touches two opposite edges, its size rounded to whole pixels (halves to even, as
 *                    in Python), and centred; an odd pixel of border goes to the right or to the bottom
 *   RV1106_TOP_LEFT  scaled in the same way, at the top left
 *   RV1106_STRETCH   scaled to the whole input, with a scale of its own for y
 *   RV1106_CROP      scaled until it covers the input, which gets its middle
 * All fields are 0 if width or height is below 1. */
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
    if (model->place == RV1106_CROP) {
        if ((double)model->height / height > fit.scale) fit.scale = (double)model->height / height;
        rv1106_covering(model->width, model->height, width, height, sides);
        fit.left = -rv1106_half(sides[0] - model->width);
        fit.top = -rv1106_half(sides[1] - model->height);
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

/* Returns 1 if `a` is worse than `b`: lower score; for equal scores, later prediction; then, later class. */
static inline int rv1106_is_worse(rv1106_candidate a, rv1106_candidate b)
{
    return a.score < b.score || (a.score == b.score && a.rank > b.rank);
}

/* Moves the candidate at index `at` down a heap that has its worst candidate at the root. */
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

/* Adds a candidate. If the array is full, it replaces the worst candidate if that is worse. Returns the new count. */
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

/* Sorts candidates by heapsort, best first. */
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

/* Tests which of 8 bytes are above `limit` (-129 to 126). Returns a word whose byte i has its highest bit set if byte i
 * is above; 0 if none is. All 8 bytes are compared at once: they are moved from -128..127 to 0..255, then adding
 * 127 - limit carries into the highest bit if a byte is above. */
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

/* Returns a word of 8 bytes in memory order: bytes `begin` to `end` - 1 are 0xff, all others are 0. Any endianness. */
static inline uint64_t rv1106_lanes(int begin, int end)
{
    uint8_t bytes[8];
    uint64_t word;
    int lane;
    for (lane = 0; lane < 8; lane++) bytes[lane] = lane >= begin && lane < end ? 255 : 0;
    memcpy(&word, bytes, sizeof word);
    return word;
}

/* Adds the candidates of an output. Its channels from `first` on are class scores; its first cell is prediction number
 * `prediction`. Bytes are compared in quantized form; only the scores of candidates are dequantized. */
static inline void rv1106_gather(rv1106_gathering *into, const rv1106_output *output, const int8_t *stored, int first,
                                 int prediction)
{
    const int limit = rv1106_stored_limit(output, into->confidence), c2 = output->c2;
    const int cells = output->height * output->width, bytes = cells * c2;
    int c1, at, cell, word, lane;
    for (c1 = 0; c1 < output->c1 && limit < 127; c1++) {
        const int8_t *group = stored + (size_t)c1 * (size_t)bytes;
        const int channel = c1 * c2 - first; /* class of the first lane of this group */
        const int begin = channel < 0 ? -channel : 0;
        const int end = output->channels - c1 * c2 < c2 ? output->channels - c1 * c2 : c2;
        if (begin == 0 && end == c2) { /* only scores, no padding: one contiguous run of bytes */
            for (at = 0; at < bytes; at++) {
                while (bytes - at >= 8 && !rv1106_any_above(group + at, limit)) at += 8;
                if (at < bytes && group[at] > limit)
                    rv1106_keep(into, rv1106_real(output, group[at]), prediction + at / c2, channel + at % c2);
            }
            continue;
        }
        for (word = begin / 8 * 8; word < end; word += 8) { /* lanes outside begin..end - 1 are masked out */
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

/* The function `gather` of a family whose levels have only a box map and scores. */
static inline void rv1106_gather_scores(rv1106_gathering *into, const rv1106_output *maps,
                                        const int8_t *const buffers[], int prediction)
{
    rv1106_gather(into, maps + 1, buffers[1], 0, prediction);
}

/* Adds the candidates of all outputs. */
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

/* Computes the box of a prediction of the head `single`: centre x, centre y, width, height in input pixels. */
static inline void rv1106_single_box(const rv1106_model *model, const int8_t *stored, int prediction, float box[4])
{
    const rv1106_output *output = model->outputs;
    int i;
    for (i = 0; i < 4; i++) {
        const double side = i % 2 ? model->height : model->width;
        box[i] = (float)(rv1106_real(output, rv1106_stored(output, stored, i, prediction)) * side);
    }
}

/* Returns the location of a prediction of the head `split`. */
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

/* Computes the box of a prediction of the head `split`: centre x, centre y, width, height in input pixels. */
static inline void rv1106_split_box(const rv1106_decoder *decoder, const int8_t *const buffers[], int prediction,
                                    float box[4])
{
    const rv1106_source source = rv1106_source_of(decoder->model, buffers, prediction);
    decoder->model->family->box(decoder, &source, box);
}

/* Computes the box of a prediction in input pixels: x and y of its top left corner, width, height. */
static inline void rv1106_box(const rv1106_decoder *decoder, const int8_t *const buffers[], int prediction,
                              float box[4])
{
    if (decoder->model->head == RV1106_SINGLE) rv1106_single_box(decoder->model, buffers[0], prediction, box);
    else rv1106_split_box(decoder, buffers, prediction, box);
    box[0] -= box[2] / 2;
    box[1] -= box[3] / 2;
}

/* Computes one axis of a box in input pixels, from the cell's point and the distances of both sides from it (in
 * strides). */
static inline void rv1106_span(float point, float low, float high, int stride, float *centre, float *size)
{
    const float first = point - low, last = point + high;
    *centre = (first + last) / 2 * (float)stride;
    *size = (last - first) * (float)stride;
}

/* Element of a model's `details`, one per level, of a family with the sides' distances from a point of each cell; for
 * models whose points are not the cells' centres. */
typedef struct {
    float offset; /* of the point from the top left corner of its cell, in cells, 0 to 1 */
} rv1106_point;

static inline float rv1106_offset(const rv1106_model *model, int level)
{
    return model->details ? ((const rv1106_point *)model->details)[level].offset : 0.5f;
}

/* The function `is_level` of such a family. */
static inline int rv1106_has_point(const rv1106_model *model, int level)
{
    const float offset = rv1106_offset(model, level);
    return model->levels[level].per_cell == 1 && offset >= 0 && offset <= 1;
}

/* Computes a box from the distances of left, top, right and bottom from the cell's point, in strides. */
static inline void rv1106_sides_box(const rv1106_decoder *decoder, const rv1106_source *source, const float sides[4],
                                    float box[4])
{
    const float offset = rv1106_offset(decoder->model, source->level);
    const int width = source->map->width, stride = decoder->model->levels[source->level].stride;
    int axis;
    for (axis = 0; axis < 2; axis++)
        rv1106_span((float)(axis ? source->cell / width : source->cell % width) + offset, sides[axis], sides[axis + 2],
                    stride, &box[axis], &box[axis + 2]);
}

/* Returns the length of the overlap of two spans, given by their start and length; 0 or less if they do not overlap. */
static inline double rv1106_shared(double a, double a_length, double b, double b_length)
{
    const double inside = a < b ? a_length - (b - a) : b_length - (a - b), other = a < b ? b_length : a_length;
    return inside < other ? inside : other;
}

/* Returns the IoU of two boxes x, y, w, h, rounded as in OpenCV's NMSBoxes; 1 for two boxes without area. */
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

/* Returns 1 if a box overlaps a better box of its class by more than `iou`. During selection, x2 and y2 of the
 * detections hold width and height. */
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

/* Converts a coordinate from input pixels to image pixels and clips it to the image. */
static inline float rv1106_to_image(float position, int border, double scale, int side)
{
    const double moved = ((double)position - border) / scale;
    return (float)(moved > 0 ? (moved < side ? moved : side) : 0);
}

/* Returns the scale of y. */
static inline double rv1106_scale_y(const rv1106_letterbox *fit)
{
    return fit->scale_y > 0 ? fit->scale_y : fit->scale;
}

/* Converts a detection, whose box is still x, y, width, height in input pixels, to corners in image pixels. */
static inline void rv1106_place_box(rv1106_detection *detection, const rv1106_letterbox *fit)
{
    const double down = rv1106_scale_y(fit);
    const float x2 = detection->x1 + detection->x2, y2 = detection->y1 + detection->y2;
    detection->x1 = rv1106_to_image(detection->x1, fit->left, fit->scale, fit->width);
    detection->y1 = rv1106_to_image(detection->y1, fit->top, down, fit->height);
    detection->x2 = rv1106_to_image(x2, fit->left, fit->scale, fit->width);
    detection->y2 = rv1106_to_image(y2, fit->top, down, fit->height);
}

/* Makes detections of `count` candidates, sorted best first: computes boxes, applies NMS unless the model is end2end,
 * and undoes the letterbox. Returns the number of detections, at most `capacity`. */
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

/* Decodes the outputs of one image.
 *   decoder               initialized by rv1106_init
 *   buffers, sizes        memory of each output in NC1HWC2 and its size in bytes, in the order of the model's outputs;
 *                         only read
 *   confidence            keep class scores above this value, 0 to 1; a classifier keeps those that are not below it
 *   iou                   NMS threshold, 0 to 1: drop a box that overlaps a better box of its class by more than this;
 *                         ignored if the model is end2end
 *   fit                   letterbox of the image in the input, from rv1106_fit
 *   candidates            working array of candidate_capacity elements; if there are more candidates, the best are kept
 *   detections            result array of `capacity` elements, best first; if there are more, the worst are dropped
 * Returns the number of detections, RV1106_BAD_SIZE or RV1106_BAD_ARGUMENT. Thread-safe if no other thread uses the
 * same arrays. */
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
    /* Without NMS, a candidate beyond the last free detection can never be used. */
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

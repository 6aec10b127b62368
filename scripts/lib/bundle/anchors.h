/* Family ANCHORS (YOLOv3, https://arxiv.org/abs/1804.02767, to v7). A level with A anchors has a box map
 * [1, 4 A, H/s, W/s], objectness [1, A, H/s, W/s] and class scores [1, C A, H/s, W/s]; the channel is
 * quantity * A + anchor. In column i of a level with stride s:
 *   cx = (i + (sigmoid(tx) - 0.5) * scale_x_y + 0.5) * s
 *   w  = anchor width * exp(tw), at most the input's width
 * With new_coords, tx and tw already went through a sigmoid: no sigmoid is applied, and w = anchor width * (2 tw)^2.
 * cy and h are computed in the same way. Score = objectness * class score. */
#ifndef RV1106_ANCHORS_H
#define RV1106_ANCHORS_H

#include "decode.h"

enum { RV1106_MAX_ANCHORS = 16 /* per level */ };

/* Element of a model's `details`, one per level: parameters of the box formula; each anchor's width and height in input
 * pixels. */
typedef struct {
    int new_coords;
    double scale_x_y; /* above 0 and at most 100 */
    float anchors[RV1106_MAX_ANCHORS][2];
} rv1106_anchors_details;

static inline const rv1106_anchors_details *rv1106_anchors_of(const rv1106_model *model, int level)
{
    return (const rv1106_anchors_details *)model->details + level;
}

static inline int rv1106_anchors_is_level(const rv1106_model *model, int level)
{
    const int per_cell = model->levels[level].per_cell;
    const rv1106_anchors_details *details;
    int i;
    if (!model->details || per_cell > RV1106_MAX_ANCHORS) return 0;
    details = rv1106_anchors_of(model, level);
    if (!(details->scale_x_y > 0) || !(details->scale_x_y <= 100)) return 0;
    for (i = 0; i < 2 * per_cell; i++) {
        const float side = details->anchors[i / 2][i % 2];
        if (!(side > 0) || !(side <= FLT_MAX)) return 0;
    }
    return 1;
}

static inline int rv1106_anchors_are_maps(const rv1106_model *model, int level, const rv1106_output *maps, int height,
                                          int width)
{
    const int per_cell = model->levels[level].per_cell;
    return maps->channels == 4 * per_cell && rv1106_is(maps + 1, per_cell, height, width);
}

/* Returns the position of a box centre within its cell (0 to 1, or slightly outside) from the dequantized tx or ty. */
static inline double rv1106_anchors_in_cell(const rv1106_anchors_details *details, double real)
{
    double sigmoid = real;
    if (!details->new_coords) {
        const double power = rv1106_exp(real > 0 ? -real : real);
        sigmoid = (real > 0 ? 1 : power) / (1 + power);
    }
    return (sigmoid - 0.5) * details->scale_x_y + 0.5;
}

/* Returns the factor for an anchor's width or height from the dequantized tw or th. */
static inline double rv1106_anchors_growth(const rv1106_anchors_details *details, double real)
{
    if (details->new_coords) return 4 * real * real;
    return real > 0 ? 1 / rv1106_exp(-real) : rv1106_exp(real);
}

/* table[0] is the position of the centre within its cell, table[1] the factor for the anchor's width or height. */
static inline void rv1106_anchors_fill(const rv1106_model *model, int level, const rv1106_output *map,
                                       double table[2][256])
{
    const rv1106_anchors_details *details = rv1106_anchors_of(model, level);
    int stored;
    for (stored = -128; stored < 128; stored++) {
        const double real = rv1106_real(map, stored);
        table[0][stored + 128] = rv1106_anchors_in_cell(details, real);
        table[1][stored + 128] = rv1106_anchors_growth(details, real);
    }
}

/* Returns the score of a class, rounded to float once: the product of two floats is exact in double. */
static inline float rv1106_anchors_score(float objectness, float score)
{
    return (float)((double)objectness * score);
}

/* Computes, for each byte b of objectness, at index b + 128: the largest byte of a class score whose product with the
 * objectness is not above `confidence`. Objectness of 0 or less, which INT8 can represent, gives no candidate. */
static inline void rv1106_anchors_limits(const rv1106_output *objectness, const rv1106_output *scores,
                                         float confidence, int limits[256])
{
    int stored, limit = -129;
    for (stored = 127; stored >= -128; stored--) { /* the lower the objectness, the higher the limit */
        const float factor = rv1106_real(objectness, stored);
        if (factor <= 0) limit = 127;
        while (limit < 127 && !(rv1106_anchors_score(factor, rv1106_real(scores, limit + 1)) > confidence)) limit++;
        limits[stored + 128] = limit;
    }
}

/* Adds the candidates of one cell. `limits` and `factors` hold one element per anchor: the limit of its class scores,
 * and its dequantized objectness. */
static inline void rv1106_anchors_gather_cell(rv1106_gathering *into, const rv1106_output *scores,
                                              const int8_t *stored, int per_cell, int cell, int prediction,
                                              const int limits[], const float factors[])
{
    const int cells = scores->height * scores->width, c2 = scores->c2;
    int c1, at, anchor, lowest = 127;
    for (anchor = 0; anchor < per_cell; anchor++)
        if (limits[anchor] < lowest) lowest = limits[anchor];
    for (c1 = 0; c1 < scores->c1; c1++) {
        const int8_t *group = stored + ((size_t)c1 * (size_t)cells + (size_t)cell) * (size_t)c2;
        const int first = c1 * c2, length = scores->channels - first < c2 ? scores->channels - first : c2;
        for (at = 0; at < length; at++) {
            while (length - at >= 8 && !rv1106_any_above(group + at, lowest)) at += 8;
            if (at < length && group[at] > lowest && group[at] > limits[(first + at) % per_cell]) {
                anchor = (first + at) % per_cell;
                rv1106_keep(into, rv1106_anchors_score(factors[anchor], rv1106_real(scores, group[at])),
                            prediction + anchor * cells + cell, (first + at) / per_cell);
            }
        }
    }
}

/* Adds the candidates of a level. Reads class scores only in cells whose objectness is high enough for a candidate. */
static inline void rv1106_anchors_gather(rv1106_gathering *into, const rv1106_output *maps,
                                         const int8_t *const buffers[], int prediction)
{
    const rv1106_output *objectness = &maps[1], *scores = &maps[2];
    const int per_cell = objectness->channels, c2 = objectness->c2, cells = objectness->height * objectness->width;
    const int8_t *stored[RV1106_MAX_ANCHORS];
    int limits[256], limits_here[RV1106_MAX_ANCHORS], most = 127, cell, anchor;
    float factors[RV1106_MAX_ANCHORS];
    rv1106_anchors_limits(objectness, scores, into->confidence, limits);
    while (most >= -128 && limits[most + 128] < 127) most--; /* the largest objectness byte without any candidate */
    for (anchor = 0; anchor < per_cell; anchor++)
        stored[anchor] = buffers[1] + (size_t)(anchor / c2) * (size_t)cells * (size_t)c2 + (size_t)(anchor % c2);
    for (cell = 0; cell < cells && most < 127; cell++) {
        int above = 0;
        for (anchor = 0; anchor < per_cell; anchor++) above |= stored[anchor][(size_t)cell * (size_t)c2] > most;
        if (!above) continue;
        for (anchor = 0; anchor < per_cell; anchor++) {
            const int8_t byte = stored[anchor][(size_t)cell * (size_t)c2];
            limits_here[anchor] = limits[byte + 128];
            factors[anchor] = rv1106_real(objectness, byte);
        }
        rv1106_anchors_gather_cell(into, scores, buffers[2], per_cell, cell, prediction, limits_here, factors);
    }
}

static inline void rv1106_anchors_box(const rv1106_decoder *decoder, const rv1106_source *source, float box[4])
{
    const rv1106_model *model = decoder->model;
    const rv1106_level *level = &model->levels[source->level];
    const float *sides = rv1106_anchors_of(model, source->level)->anchors[source->number];
    const double(*table)[256] = decoder->table[source->level];
    const int width = source->map->width;
    int axis;
    for (axis = 0; axis < 2; axis++) {
        const int at = axis ? source->cell / width : source->cell % width, most = axis ? model->height : model->width;
        const int channel = axis * level->per_cell + source->number;
        const int shift = rv1106_stored(source->map, source->stored, channel, source->cell);
        const int growth = rv1106_stored(source->map, source->stored, channel + 2 * level->per_cell, source->cell);
        const double side = sides[axis] * table[1][growth + 128];
        box[axis] = (float)((at + table[0][shift + 128]) * level->stride);
        box[axis + 2] = (float)(side < most ? side : most);
    }
}

static const rv1106_family rv1106_anchors = {
    3, rv1106_anchors_is_level, rv1106_anchors_are_maps, rv1106_anchors_fill, rv1106_anchors_gather,
    rv1106_anchors_box,
};

#endif

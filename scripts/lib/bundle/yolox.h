/* Family YOLOX (https://arxiv.org/abs/2107.08430). Each level has a box map [1, 4, H/s, W/s] with tx, ty, tw, th,
 * objectness [1, 1, H/s, W/s] and class scores [1, C, H/s, W/s]. In column i of a level with stride s:
 *   cx = (i + tx) * s
 *   w  = s * exp(tw), at most twice the input's width
 * cy and h are computed in the same way. Score = objectness * class score, as in anchors.h. */
#ifndef RV1106_YOLOX_H
#define RV1106_YOLOX_H

#include "anchors.h"

static inline int rv1106_yolox_is_level(const rv1106_model *model, int level)
{
    return model->levels[level].per_cell == 1;
}

static inline int rv1106_yolox_are_maps(const rv1106_model *model, int level, const rv1106_output *maps, int height,
                                        int width)
{
    (void)model, (void)level;
    return maps->channels == 4 && rv1106_is(maps + 1, 1, height, width);
}

/* table[0] is the dequantized value, table[1] its exponential. */
static inline void rv1106_yolox_fill(const rv1106_model *model, int level, const rv1106_output *map,
                                     double table[2][256])
{
    int stored;
    (void)model, (void)level;
    for (stored = -128; stored < 128; stored++) {
        const double real = rv1106_real(map, stored);
        table[0][stored + 128] = real;
        table[1][stored + 128] = real > 0 ? 1 / rv1106_exp(-real) : rv1106_exp(real);
    }
}

static inline void rv1106_yolox_box(const rv1106_decoder *decoder, const rv1106_source *source, float box[4])
{
    const rv1106_model *model = decoder->model;
    const double(*table)[256] = decoder->table[source->level];
    const int width = source->map->width, stride = model->levels[source->level].stride;
    int axis;
    for (axis = 0; axis < 2; axis++) {
        const int at = axis ? source->cell / width : source->cell % width;
        const int limit = 2 * (axis ? model->height : model->width);
        const int shift = rv1106_stored(source->map, source->stored, axis, source->cell);
        const int growth = rv1106_stored(source->map, source->stored, axis + 2, source->cell);
        const double side = table[1][growth + 128] * stride;
        box[axis] = (float)((at + table[0][shift + 128]) * stride);
        box[axis + 2] = (float)(side < limit ? side : limit);
    }
}

static const rv1106_family rv1106_yolox = {
    3, rv1106_yolox_is_level, rv1106_yolox_are_maps, rv1106_yolox_fill, rv1106_anchors_gather, rv1106_yolox_box,
};

#endif

/* The toy family FRACTIONS: a level has a box map [1, 4, H/s, W/s], cx, cy, w, h as fractions of the input's sides, and
 * scores [1, C, H/s, W/s]. */
#ifndef RV1106_FRACTIONS_H
#define RV1106_FRACTIONS_H

#include "decode.h"

static inline int rv1106_fractions_is_level(const rv1106_model *model, int level)
{
    return model->levels[level].per_cell == 1;
}

static inline int rv1106_fractions_are_maps(const rv1106_model *model, int level, const rv1106_output *maps, int height,
                                            int width)
{
    (void)model, (void)level, (void)height, (void)width;
    return maps->channels == 4;
}

/* table[0] is the real value. */
static inline void rv1106_fractions_fill(const rv1106_model *model, int level, const rv1106_output *map,
                                         double table[2][256])
{
    int stored;
    (void)model, (void)level;
    for (stored = -128; stored < 128; stored++) table[0][stored + 128] = rv1106_real(map, stored);
}

static inline void rv1106_fractions_box(const rv1106_decoder *decoder, const rv1106_source *source, float box[4])
{
    int i;
    for (i = 0; i < 4; i++) {
        const int byte = rv1106_stored(source->map, source->stored, i, source->cell);
        const int side = i % 2 ? decoder->model->height : decoder->model->width;
        box[i] = (float)(decoder->table[source->level][0][byte + 128] * side);
    }
}

static const rv1106_family rv1106_fractions = {
    2, rv1106_fractions_is_level, rv1106_fractions_are_maps, rv1106_fractions_fill, rv1106_gather_scores,
    rv1106_fractions_box,
};

#endif

/* Family DISTANCES (YOLO26). Each level has a box map [1, 4, H/s, W/s], with the distances of left, top, right and
 * bottom from the cell's centre in strides, and class scores [1, C, H/s, W/s]. */
#ifndef RV1106_DISTANCES_H
#define RV1106_DISTANCES_H

#include "decode.h"

static inline int rv1106_distances_is_level(const rv1106_model *model, int level)
{
    return model->levels[level].per_cell == 1;
}

static inline int rv1106_distances_are_maps(const rv1106_model *model, int level, const rv1106_output *maps, int height,
                                            int width)
{
    (void)model, (void)level, (void)height, (void)width;
    return maps->channels == 4;
}

/* table[0] is the dequantized value. A product in rv1106_distances_box could be fused with the addition after it, and
 * then be rounded differently. */
static inline void rv1106_distances_fill(const rv1106_model *model, int level, const rv1106_output *map,
                                         double table[2][256])
{
    int stored;
    (void)model, (void)level;
    for (stored = -128; stored < 128; stored++) table[0][stored + 128] = rv1106_real(map, stored);
}

/* Returns the distance of one side (0 left, 1 top, 2 right, 3 bottom) from the cell's centre, in strides. */
static inline float rv1106_distances_side(const rv1106_source *source, const double table[256], int side)
{
    return (float)table[rv1106_stored(source->map, source->stored, side, source->cell) + 128];
}

static inline void rv1106_distances_box(const rv1106_decoder *decoder, const rv1106_source *source, float box[4])
{
    const double *table = decoder->table[source->level][0];
    const int width = source->map->width, stride = decoder->model->levels[source->level].stride;
    int axis;
    for (axis = 0; axis < 2; axis++)
        rv1106_span((float)(axis ? source->cell / width : source->cell % width) + 0.5f,
                    rv1106_distances_side(source, table, axis), rv1106_distances_side(source, table, axis + 2), stride,
                    &box[axis], &box[axis + 2]);
}

static const rv1106_family rv1106_distances = {
    2, rv1106_distances_is_level, rv1106_distances_are_maps, rv1106_distances_fill, rv1106_gather_scores,
    rv1106_distances_box,
};

#endif

/* Family DISTANCES (YOLO26, RTMDet). Each level has a box map [1, 4, H/s, W/s], with the distances of left, top, right
 * and bottom from the cell's point in strides, and class scores [1, C, H/s, W/s]. The point is the cell's centre unless
 * the model has `details`. */
#ifndef RV1106_DISTANCES_H
#define RV1106_DISTANCES_H

#include "decode.h"

typedef rv1106_point rv1106_distances_details;

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

/* Returns the distance of one side (0 left, 1 top, 2 right, 3 bottom) from the cell's point, in strides. */
static inline float rv1106_distances_side(const rv1106_source *source, const double table[256], int side)
{
    return (float)table[rv1106_stored(source->map, source->stored, side, source->cell) + 128];
}

static inline void rv1106_distances_box(const rv1106_decoder *decoder, const rv1106_source *source, float box[4])
{
    const double *table = decoder->table[source->level][0];
    float sides[4];
    int side;
    for (side = 0; side < 4; side++) sides[side] = rv1106_distances_side(source, table, side);
    rv1106_sides_box(decoder, source, sides, box);
}

static const rv1106_family rv1106_distances = {
    2, rv1106_has_point, rv1106_distances_are_maps, rv1106_distances_fill, rv1106_gather_scores,
    rv1106_distances_box,
};

#endif

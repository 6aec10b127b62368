/* Family DFL (YOLOv8, v9, v10, 11, 12, v5u; NanoDet, PicoDet). Each level has a box map [1, 4 R, H/s, W/s], with R bins
 * for each of left, top, right and bottom, and class scores [1, C, H/s, W/s]. The distance of a side from the cell's
 * point, in strides, is the mean of the bin numbers, weighted by the softmax of the side's bins
 * (https://arxiv.org/abs/2006.04388). The point is the cell's centre unless the model has `details`. */
#ifndef RV1106_DFL_H
#define RV1106_DFL_H

#include "decode.h"

enum { RV1106_MAX_BINS = 32 };

typedef rv1106_point rv1106_dfl_details;

/* All levels must have the same number of bins. Their logits must span less than 700 (scale < 2.74), or exp() would
 * underflow; the logits of trained models span about 30. */
static inline int rv1106_dfl_are_maps(const rv1106_model *model, int level, const rv1106_output *maps, int height,
                                      int width)
{
    (void)level, (void)height, (void)width;
    return maps->channels == model->outputs->channels && maps->channels >= 8 &&
           maps->channels <= 4 * RV1106_MAX_BINS && maps->channels % 4 == 0 && !(maps->scale * 255 > 700);
}

/* table[0] is exp(dequantized value), except for a constant factor. */
static inline void rv1106_dfl_fill(const rv1106_model *model, int level, const rv1106_output *map, double table[2][256])
{
    int stored;
    (void)model, (void)level;
    for (stored = -128; stored < 128; stored++)
        table[0][stored + 128] = rv1106_exp(rv1106_real(map, stored) - (double)rv1106_real(map, 127));
}

/* Returns the distance of one side (0 left, 1 top, 2 right, 3 bottom) from the cell's point, in strides. */
static inline float rv1106_dfl_distance(const rv1106_source *source, const double table[256], int side)
{
    const int bins = source->map->channels / 4;
    double sum = 0, weighted = 0;
    int bin;
    for (bin = 0; bin < bins; bin++) {
        const double weight =
            table[rv1106_stored(source->map, source->stored, side * bins + bin, source->cell) + 128];
        sum += weight;
        weighted += weight * bin;
    }
    return (float)(weighted / sum);
}

static inline void rv1106_dfl_box(const rv1106_decoder *decoder, const rv1106_source *source, float box[4])
{
    const double *table = decoder->table[source->level][0];
    float sides[4];
    int side;
    for (side = 0; side < 4; side++) sides[side] = rv1106_dfl_distance(source, table, side);
    rv1106_sides_box(decoder, source, sides, box);
}

static const rv1106_family rv1106_dfl = {
    2, rv1106_has_point, rv1106_dfl_are_maps, rv1106_dfl_fill, rv1106_gather_scores, rv1106_dfl_box,
};

#endif

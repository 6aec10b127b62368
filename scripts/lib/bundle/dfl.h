/* Family DFL (YOLOv8, v9, v10, 11, 12, v5u; NanoDet, PicoDet). Each level has a box map [1, 4 R, H/s, W/s], with R bins
 * for each of left, top, right and bottom, and class scores [1, C, H/s, W/s]. The distance of a side from the cell's
 * point, in strides, is the mean of the bin numbers, weighted by the softmax of the side's bins
 * (https://arxiv.org/abs/2006.04388). The point is the cell's centre unless the model has `details`. */
#ifndef RV1106_DFL_H
#define RV1106_DFL_H

#include "decode.h"

enum { RV1106_MAX_BINS = 32 };

/* Element of a model's `details`, one per level, for models whose points are not the cells' centres. */
typedef struct {
    float offset; /* of the point from the top left corner of its cell, in cells, 0 to 1 */
} rv1106_dfl_details;

static inline float rv1106_dfl_offset(const rv1106_model *model, int level)
{
    return model->details ? ((const rv1106_dfl_details *)model->details)[level].offset : 0.5f;
}

static inline int rv1106_dfl_is_level(const rv1106_model *model, int level)
{
    const float offset = rv1106_dfl_offset(model, level);
    return model->levels[level].per_cell == 1 && offset >= 0 && offset <= 1;
}

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
    const float offset = rv1106_dfl_offset(decoder->model, source->level);
    const int width = source->map->width, stride = decoder->model->levels[source->level].stride;
    int axis;
    for (axis = 0; axis < 2; axis++)
        rv1106_span((float)(axis ? source->cell / width : source->cell % width) + offset,
                    rv1106_dfl_distance(source, table, axis), rv1106_dfl_distance(source, table, axis + 2), stride,
                    &box[axis], &box[axis + 2]);
}

static const rv1106_family rv1106_dfl = {
    2, rv1106_dfl_is_level, rv1106_dfl_are_maps, rv1106_dfl_fill, rv1106_gather_scores, rv1106_dfl_box,
};

#endif

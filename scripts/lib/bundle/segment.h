/* Task SEGMENT. After the family's outputs, each level has a map of M coefficients [1, M, H/s, W/s]. The last output
 * holds the M prototypes [1, M, H/4, W/4].
 *
 *   n = rv1106_decode(&decoder, buffers, ..., detections, 100);
 *   area = rv1106_mask_area(&fit, &detections[i]);                     the image pixels in the detection's box
 *   rv1106_mask(&decoder, buffers, &fit, &detections[i], pixels, pitch);
 *
 * The mask can also be computed at the resolution of the prototypes, a quarter of the input:
 *
 *   cells = rv1106_prototype_fit(&RV1106_MODEL);
 *   small = rv1106_on_prototypes(&RV1106_MODEL, &fit, &detections[i]);
 *   area = rv1106_mask_area(&cells, &small);
 *   rv1106_mask(&decoder, buffers, &cells, &small, pixels, pitch);
 *
 * Only the cells in the detection's box are read. A pixel belongs to the object if the weighted sum of the prototypes
 * is above 0; the weights are the detection's coefficients:
 *   sum = sum over M of (coefficient - its zero point) * (prototype - its zero point), in integers: scales are above 0
 *   pixel i is at the cell position ((i + 0.5) * scale + left) / 4 - 0.5, limited to the first and the last cell; its
 *   sum is interpolated bilinearly between four cells. If the sums of these cells have the same sign, so do all pixels
 *   between them, and most pixels need no interpolation.
 * rv1106_mask uses 26 KB of stack. */
#ifndef RV1106_SEGMENT_H
#define RV1106_SEGMENT_H

#include "decode.h"

enum {
    RV1106_MAX_PROTOTYPES = 256,
    RV1106_MAX_PROTOTYPE_CELLS = RV1106_SIDE_LIMIT / 4, /* per side */
};

/* A rectangle of image pixels: position of the first pixel, width and height. */
typedef struct {
    int x, y, width, height;
} rv1106_area;

/* One axis of the image: pixel i is at the cell position i * step + start. */
typedef struct {
    double step, start;
    int cells;
} rv1106_mask_axis;

/* State while a mask is computed line by line. A line is a row of the image, or a column if `columns` is 1.
 *   lines, along   the axis across the lines, and the axis along a line
 *   first, end     the pixels of a line are `first` to `end` - 1
 *   cell, count    the first cell of a line, and the number of its cells
 *   begin          begin[j] is the first pixel of a line in its cell j
 *   step           distance between two cells in memory: [0] along a line, [1] from line to line
 *   sums, held     the sums of two lines of cells, and the numbers of these lines */
typedef struct {
    const rv1106_output *prototypes;
    const int8_t *stored;
    int32_t offset;
    rv1106_mask_axis lines, along;
    int columns, first, end, cell, count, step[2], held[2];
    int begin[RV1106_MAX_PROTOTYPE_CELLS + 1];
    int32_t sums[2][RV1106_MAX_PROTOTYPE_CELLS];
    int16_t weights[RV1106_MAX_PROTOTYPES];
} rv1106_mask_lines;

/* Receives a run of a mask: pixels `begin` to `end` - 1 of line `line` belong to the object. */
typedef void rv1106_mask_run(void *to, int line, int begin, int end);

static inline const rv1106_output *rv1106_prototypes(const rv1106_model *model)
{
    return &model->outputs[model->output_count - 1];
}

static inline int rv1106_segment_are_maps(const rv1106_model *model, const rv1106_output *maps, int count)
{
    const rv1106_output *prototypes = maps + count - 1;
    const int width = prototypes->width, height = prototypes->height;
    int i;
    if (count != model->level_count + 1 || width < 1 || height < 1 || width > RV1106_MAX_PROTOTYPE_CELLS ||
        height > RV1106_MAX_PROTOTYPE_CELLS || model->width % width || model->height % height ||
        model->width / width != model->height / height || prototypes->channels < 1 ||
        prototypes->channels > RV1106_MAX_PROTOTYPES || !rv1106_is(prototypes, prototypes->channels, height, width))
        return 0;
    for (i = 0; i < model->level_count; i++) {
        const rv1106_level *level = &model->levels[i];
        if (level->per_cell != 1 || !rv1106_is(&maps[i], prototypes->channels,
                                               rv1106_cells(model->height, level->stride),
                                               rv1106_cells(model->width, level->stride)))
            return 0;
    }
    return 1;
}

/* Returns the smallest integer that is not below `position`, limited to 0..`most`. */
static inline int rv1106_mask_edge(float position, int most)
{
    const int whole = position > 0 ? (position < (float)most ? (int)position : most) : 0;
    return whole < most && (float)whole < position ? whole + 1 : whole;
}

/* Returns the pixels of an image whose top left corner is in the detection's box: the size of its mask. */
static inline rv1106_area rv1106_mask_area(const rv1106_letterbox *fit, const rv1106_detection *detection)
{
    rv1106_area area;
    area.x = rv1106_mask_edge(detection->x1, fit->width);
    area.y = rv1106_mask_edge(detection->y1, fit->height);
    area.width = rv1106_mask_edge(detection->x2, fit->width) - area.x;
    area.height = rv1106_mask_edge(detection->y2, fit->height) - area.y;
    if (area.width < 0) area.width = 0;
    if (area.height < 0) area.height = 0;
    return area;
}

/* Returns a letterbox for an image with one pixel per cell of the prototypes. */
static inline rv1106_letterbox rv1106_prototype_fit(const rv1106_model *model)
{
    const rv1106_output *prototypes = rv1106_prototypes(model);
    const double stride = model->width / prototypes->width;
    const rv1106_letterbox fit = {prototypes->width, prototypes->height, 0, 0, stride, 0};
    return fit;
}

/* Converts a detection from image pixels (by `fit`) to cells of the prototypes. */
static inline rv1106_detection rv1106_on_prototypes(const rv1106_model *model, const rv1106_letterbox *fit,
                                                    const rv1106_detection *detection)
{
    const double stride = rv1106_prototype_fit(model).scale, down = rv1106_scale_y(fit);
    rv1106_detection moved = *detection;
    moved.x1 = (float)((detection->x1 * fit->scale + fit->left) / stride);
    moved.y1 = (float)((detection->y1 * down + fit->top) / stride);
    moved.x2 = (float)((detection->x2 * fit->scale + fit->left) / stride);
    moved.y2 = (float)((detection->y2 * down + fit->top) / stride);
    return moved;
}

/* Returns the axis. Pixel i is at the input position (i + 0.5) * scale + border, the centre of cell k at
 * (k + 0.5) * stride. */
static inline rv1106_mask_axis rv1106_mask_axis_of(double scale, int border, int stride, int cells)
{
    const rv1106_mask_axis axis = {scale / stride, (0.5 * scale + border) / stride - 0.5, cells};
    return axis;
}

/* Returns the last cell whose centre is not after a pixel, and the pixel's position `part` between this cell (0) and
 * the next one (1). */
static inline int rv1106_mask_cell(const rv1106_mask_axis *axis, int pixel, float *part)
{
    const double position = pixel * axis->step + axis->start;
    int cell;
    *part = 0;
    if (!(position > 0)) return 0;
    if (position >= axis->cells - 1) return axis->cells - 1;
    cell = (int)position;
    *part = (float)(position - cell);
    return cell;
}

/* Returns the weighted sum of all prototypes at a cell, except for a constant factor above 0. */
static inline int32_t rv1106_mask_sum(const rv1106_mask_lines *mask, int cell)
{
    const int channels = mask->prototypes->channels, c2 = mask->prototypes->c2;
    const size_t group = (size_t)mask->prototypes->height * (size_t)mask->prototypes->width * (size_t)c2;
    const int8_t *stored = mask->stored + (size_t)cell * (size_t)c2;
    int32_t sum = mask->offset;
    int c, i;
    for (c = 0; c < channels; c += c2, stored += group) {
        if (c2 == 16 && channels - c >= 16) /* the NPU's layout: the compiler unrolls a loop of fixed length */
            for (i = 0; i < 16; i++) sum += mask->weights[c + i] * stored[i];
        else
            for (i = 0; i < c2 && i < channels - c; i++) sum += mask->weights[c + i] * stored[i];
    }
    return sum;
}

/* Returns the sums of the cells of line number `line`. */
static inline const int32_t *rv1106_mask_sums(rv1106_mask_lines *mask, int line)
{
    int32_t *sums = mask->sums[line % 2];
    int j;
    if (mask->held[line % 2] != line) {
        const int first = line * mask->step[1] + mask->cell * mask->step[0];
        for (j = 0; j < mask->count; j++) sums[j] = rv1106_mask_sum(mask, first + j * mask->step[0]);
        mask->held[line % 2] = line;
    }
    return sums;
}

/* Interpolates linearly between two values. */
static inline float rv1106_mask_between(float a, float b, float part)
{
    return a + (b - a) * part;
}

/* Processes pixel `at`. `since` is the first pixel of the current run, or -1. Returns the new value of `since`. */
static inline int rv1106_mask_step(int since, int is_object, int line, int at, rv1106_mask_run *run, void *to)
{
    if (is_object == (since >= 0)) return since;
    if (is_object) return at;
    run(to, line, since, at);
    return -1;
}

/* Passes the runs of a line to `run`. Both directions interpolate vertically first, so they give the same pixels. */
static inline void rv1106_mask_line(rv1106_mask_lines *mask, int line, rv1106_mask_run *run, void *to)
{
    float part, rest, left, right;
    const int low = rv1106_mask_cell(&mask->lines, line, &part);
    const int32_t *first = rv1106_mask_sums(mask, low);
    const int32_t *second = rv1106_mask_sums(mask, low + 1 < mask->lines.cells ? low + 1 : low);
    int j, at, since = -1;
    for (j = 0; mask->begin[j] < mask->end; j++) {
        const int next = j + 1 < mask->count ? j + 1 : j, is_object = first[j] > 0;
        const float a = (float)first[j], b = (float)first[next], c = (float)second[j], d = (float)second[next];
        if (mask->begin[j] == mask->begin[j + 1]) continue;
        if ((first[next] > 0) == is_object && (second[j] > 0) == is_object && (second[next] > 0) == is_object) {
            since = rv1106_mask_step(since, is_object, line, mask->begin[j], run, to);
            continue;
        }
        for (at = mask->begin[j]; at < mask->begin[j + 1]; at++) {
            rv1106_mask_cell(&mask->along, at, &rest);
            left = mask->columns ? rv1106_mask_between(a, b, rest) : rv1106_mask_between(a, c, part);
            right = mask->columns ? rv1106_mask_between(c, d, rest) : rv1106_mask_between(b, d, part);
            since = rv1106_mask_step(since, rv1106_mask_between(left, right, mask->columns ? part : rest) > 0, line,
                                     at, run, to);
        }
    }
    if (since >= 0) run(to, line, since, mask->end);
}

/* Prepares the lines of a mask: columns of the image if `columns` is 1, otherwise rows. `area` must not be empty. */
static inline void rv1106_mask_begin(rv1106_mask_lines *mask, const rv1106_decoder *decoder,
                                     const int8_t *const buffers[], const rv1106_letterbox *fit,
                                     const rv1106_detection *detection, const rv1106_area *area, int columns)
{
    const rv1106_model *model = decoder->model;
    const rv1106_source source = rv1106_source_of(model, buffers, detection->prediction);
    const int from = rv1106_box_outputs(model) + source.level;
    const rv1106_output *map = &model->outputs[from], *prototypes = rv1106_prototypes(model);
    const int stride = model->width / prototypes->width;
    const rv1106_mask_axis across = rv1106_mask_axis_of(fit->scale, fit->left, stride, prototypes->width);
    const rv1106_mask_axis down = rv1106_mask_axis_of(rv1106_scale_y(fit), fit->top, stride, prototypes->height);
    float part;
    int32_t sum = 0;
    int i, cell;
    mask->prototypes = prototypes;
    mask->stored = buffers[model->output_count - 1];
    for (i = 0; i < map->channels; i++) {
        mask->weights[i] = (int16_t)(rv1106_stored(map, buffers[from], i, source.cell) - map->zero_point);
        sum += mask->weights[i];
    }
    mask->offset = -prototypes->zero_point * sum;
    mask->columns = columns;
    mask->lines = columns ? across : down;
    mask->along = columns ? down : across;
    mask->step[0] = columns ? prototypes->width : 1;
    mask->step[1] = columns ? 1 : prototypes->width;
    mask->first = columns ? area->y : area->x;
    mask->end = mask->first + (columns ? area->height : area->width);
    mask->held[0] = mask->held[1] = -1;
    mask->cell = cell = rv1106_mask_cell(&mask->along, mask->first, &part);
    mask->begin[0] = mask->first;
    for (i = mask->first; i < mask->end; i++)
        for (; cell < rv1106_mask_cell(&mask->along, i, &part); cell++) mask->begin[cell + 1 - mask->cell] = i;
    mask->begin[cell + 1 - mask->cell] = mask->end;
    mask->count = (cell + 1 < mask->along.cells ? cell + 2 : cell + 1) - mask->cell;
}

/* The destination of rv1106_mask. */
typedef struct {
    uint8_t *pixels;
    size_t pitch;
    rv1106_area area;
    int count;
} rv1106_mask_pixels;

static inline void rv1106_mask_fill(void *to, int line, int begin, int end)
{
    rv1106_mask_pixels *mask = (rv1106_mask_pixels *)to;
    memset(mask->pixels + (size_t)(line - mask->area.y) * mask->pitch + (begin - mask->area.x), 1,
           (size_t)(end - begin));
    mask->count += end - begin;
}

/* Computes the mask of a detection.
 *   buffers, fit  the same as in the call of rv1106_decode that found `detection`; or, for a mask at the resolution of
 *                 the prototypes, `fit` and `detection` as in the comment at the top
 *   pixels        result: one byte per pixel of rv1106_mask_area, 1 for the object and 0 for the rest
 *   pitch         bytes between the starts of two rows of `pixels`, at least the width of the area; with the width of
 *                 an image, the mask can be written into a part of a larger mask
 * Returns the number of pixels of the object, RV1106_BAD_MODEL if the model has no masks, or RV1106_BAD_ARGUMENT.
 * Thread-safe if `pixels` is not shared. */
static inline int rv1106_mask(const rv1106_decoder *decoder, const int8_t *const buffers[], const rv1106_letterbox *fit,
                              const rv1106_detection *detection, uint8_t *pixels, size_t pitch)
{
    rv1106_mask_lines mask;
    rv1106_mask_pixels to;
    int y;
    if (!decoder || !buffers || !fit || !detection || !pixels || !(fit->scale > 0)) return RV1106_BAD_ARGUMENT;
    if (!decoder->model->task || decoder->model->task->form != RV1106_SEGMENT) return RV1106_BAD_MODEL;
    to.area = rv1106_mask_area(fit, detection);
    if (detection->prediction < 0 || detection->prediction >= rv1106_prediction_count(decoder->model) ||
        pitch < (size_t)to.area.width)
        return RV1106_BAD_ARGUMENT;
    to.pixels = pixels;
    to.pitch = pitch;
    to.count = 0;
    if (!to.area.width || !to.area.height) return 0;
    rv1106_mask_begin(&mask, decoder, buffers, fit, detection, &to.area, 0);
    for (y = to.area.y; y < to.area.y + to.area.height; y++) {
        memset(pixels + (size_t)(y - to.area.y) * pitch, 0, (size_t)to.area.width);
        rv1106_mask_line(&mask, y, rv1106_mask_fill, &to);
    }
    return to.count;
}

/* State while COCO run lengths are written. Runs before pixel `at`, counted column by column, are complete, except for
 * the object's run that ends there: it has `run` pixels so far. */
typedef struct {
    const rv1106_sink *sink;
    int height;
    int64_t at, run;
} rv1106_mask_counts;

static inline void rv1106_mask_count(void *to, int line, int begin, int end)
{
    rv1106_mask_counts *counts = (rv1106_mask_counts *)to;
    const int64_t first = (int64_t)line * counts->height + begin;
    if (first > counts->at || !first) { /* not the continuation of a run from the column before */
        if (counts->run) counts->sink->put(counts->sink->to, (double)counts->run, 0);
        counts->sink->put(counts->sink->to, (double)(first - counts->at), 0);
        counts->run = 0;
    }
    counts->run += end - begin;
    counts->at = first + end - begin;
}

/* Passes the mask, at the size of the image, to `sink` as COCO run lengths: column by column, the number of pixels that
 * do not belong to the object, the number that do, and so on. */
static inline void rv1106_segment_values(const rv1106_decoder *decoder, const int8_t *const buffers[],
                                         const rv1106_letterbox *fit, const rv1106_detection *detection,
                                         const rv1106_sink *sink)
{
    const rv1106_area area = rv1106_mask_area(fit, detection);
    const int64_t pixels = (int64_t)fit->width * fit->height;
    rv1106_mask_lines mask;
    rv1106_mask_counts counts = {NULL, 0, 0, 0};
    int x;
    counts.sink = sink;
    counts.height = fit->height;
    if (area.width && area.height) {
        rv1106_mask_begin(&mask, decoder, buffers, fit, detection, &area, 1);
        for (x = area.x; x < area.x + area.width; x++) rv1106_mask_line(&mask, x, rv1106_mask_count, &counts);
    }
    if (counts.run) sink->put(sink->to, (double)counts.run, 0);
    if (pixels > counts.at) sink->put(sink->to, (double)(pixels - counts.at), 0);
}

static const rv1106_task rv1106_segment = {rv1106_segment_are_maps, NULL, rv1106_segment_values, RV1106_SEGMENT};

#endif

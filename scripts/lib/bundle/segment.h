/* The task SEGMENT: behind the family's outputs lie of each level a map of M coefficients [1, M, H/s, W/s], and behind
 * these, once, the M prototypes [1, M, H/4, W/4].
 *
 *   n = rv1106_decode(&decoder, buffers, …, detections, 100);          as always, then of a detection
 *   area = rv1106_mask_area(&fit, &detections[i]);                     the pixels of the image in its box
 *   rv1106_mask(&decoder, buffers, &fit, &detections[i], pixels, pitch);
 *
 * and at the prototypes' size, a quarter of the input's, by what an image of that size would have:
 *
 *   cells = rv1106_prototype_fit(&RV1106_MODEL);
 *   small = rv1106_on_prototypes(&RV1106_MODEL, &fit, &detections[i]);
 *   area = rv1106_mask_area(&cells, &small);
 *   rv1106_mask(&decoder, buffers, &cells, &small, pixels, pitch);
 *
 * Only cells of the box of a detection are looked at. A pixel is the object's where the sum of the prototypes, weighed
 * by the detection's coefficients, is above 0:
 *   sum = Σ (coefficient - its zero point) (prototype - its zero point)   in integers: scales are above 0
 *   pixel i lies among the cells at ((i + 0.5) scale + left) / 4 - 0.5, kept between the first and the last; the sum is
 *   interpolated linearly between the four cells around. Where it has one sign at these, all pixels between have it, so
 *   most are never looked at.
 * A call takes 26 KB of the stack. */
#ifndef RV1106_SEGMENT_H
#define RV1106_SEGMENT_H

#include "decode.h"

enum {
    RV1106_MAX_PROTOTYPES = 256,
    RV1106_MAX_PROTOTYPE_CELLS = RV1106_SIDE_LIMIT / 4, /* along a side */
};

/* Pixels of an image: the first one, and how many. */
typedef struct {
    int x, y, width, height;
} rv1106_area;

/* An axis of the image: pixel i lies among the cells at i * step + start. */
typedef struct {
    double step, start;
    int cells;
} rv1106_mask_axis;

/* A mask in the making, line by line: rows of the image, or `columns`. `along` is the axis that a line runs along, with the
 * pixels `first` to `end` - 1, of which begin[j] is the first one in the line's cell number j, and `count` cells from
 * `cell` on. `sums` holds two lines of cells, `held` says which; a cell is `step[0]` from the one before in a line, a
 * line `step[1]`. */
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

/* Where the runs of a mask go: pixels `begin` to `end` - 1 of a line are the object's. */
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

/* The first whole number from a position on, no more than `most`. */
static inline int rv1106_mask_edge(float position, int most)
{
    const int whole = position > 0 ? (position < (float)most ? (int)position : most) : 0;
    return whole < most && (float)whole < position ? whole + 1 : whole;
}

/* The pixels of an image whose upper left corner lies in a detection's box. */
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

/* The prototypes as if they were an image, each cell a pixel of it. */
static inline rv1106_letterbox rv1106_prototype_fit(const rv1106_model *model)
{
    const rv1106_output *prototypes = rv1106_prototypes(model);
    const double stride = model->width / prototypes->width;
    const rv1106_letterbox fit = {prototypes->width, prototypes->height, 0, 0, stride, 0};
    return fit;
}

/* A detection in an image by `fit` as one in the prototypes. */
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

/* Pixel i lies in the input at (i + 0.5) * scale + border, and the middle of cell k at (k + 0.5) * stride. */
static inline rv1106_mask_axis rv1106_mask_axis_of(double scale, int border, int stride, int cells)
{
    const rv1106_mask_axis axis = {scale / stride, (0.5 * scale + border) / stride - 0.5, cells};
    return axis;
}

/* The cell that a pixel of an axis lies behind, and how far it is on the way to the next one, 0 to 1. */
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

/* The weighed sum of all prototypes at a cell, but for a factor above 0. */
static inline int32_t rv1106_mask_sum(const rv1106_mask_lines *mask, int cell)
{
    const int channels = mask->prototypes->channels, c2 = mask->prototypes->c2;
    const size_t group = (size_t)mask->prototypes->height * (size_t)mask->prototypes->width * (size_t)c2;
    const int8_t *stored = mask->stored + (size_t)cell * (size_t)c2;
    int32_t sum = mask->offset;
    int c, i;
    for (c = 0; c < channels; c += c2, stored += group) {
        if (c2 == 16 && channels - c >= 16) /* what the NPU gives: a loop of fixed length is unrolled */
            for (i = 0; i < 16; i++) sum += mask->weights[c + i] * stored[i];
        else
            for (i = 0; i < c2 && i < channels - c; i++) sum += mask->weights[c + i] * stored[i];
    }
    return sum;
}

/* The sums of the cells of line number `line`. */
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

/* Between two values. */
static inline float rv1106_mask_between(float a, float b, float part)
{
    return a + (b - a) * part;
}

/* Go on from pixel `at`, which is the object's or not. `since` is where the run that goes on began, or -1. */
static inline int rv1106_mask_step(int since, int is_object, int line, int at, rv1106_mask_run *run, void *to)
{
    if (is_object == (since >= 0)) return since;
    if (is_object) return at;
    run(to, line, since, at);
    return -1;
}

/* Give the runs of a line of pixels. Rows and columns give the same pixels: between four sums both go down first. */
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

/* Be ready for the lines of a mask: `columns` of the image, or its rows. `area` is not empty. */
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

/* The memory of rv1106_mask. */
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

/* The mask of a detection that rv1106_decode found in the same buffers: a byte a pixel of rv1106_mask_area, 1 for the
 * object's and 0 for others, from `pixels` on, each row `pitch` bytes behind the one before, so that the mask may stand
 * alone or in an image. Returns the number of the object's pixels, RV1106_BAD_MODEL where the model has no masks, or
 * RV1106_BAD_ARGUMENT. */
static inline int rv1106_mask(const rv1106_decoder *decoder, const int8_t *const buffers[], const rv1106_letterbox *fit,
                              const rv1106_detection *detection, uint8_t *pixels, size_t pitch)
{
    rv1106_mask_lines mask;
    rv1106_mask_pixels to;
    int y;
    if (!decoder || !buffers || !fit || !detection || !pixels || !(fit->scale > 0)) return RV1106_BAD_ARGUMENT;
    if (!decoder->model->task || decoder->model->task->are_maps != rv1106_segment_are_maps) return RV1106_BAD_MODEL;
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

/* COCO's run lengths on their way out: those before pixel `at`, counted column by column, are given; the object's run
 * before it is `run` long so far. */
typedef struct {
    const rv1106_sink *sink;
    int height;
    int64_t at, run;
} rv1106_mask_counts;

static inline void rv1106_mask_count(void *to, int line, int begin, int end)
{
    rv1106_mask_counts *counts = (rv1106_mask_counts *)to;
    const int64_t first = (int64_t)line * counts->height + begin;
    if (first > counts->at || !first) { /* not the run that ended a column */
        if (counts->run) counts->sink->put(counts->sink->to, (double)counts->run, 0);
        counts->sink->put(counts->sink->to, (double)(first - counts->at), 0);
        counts->run = 0;
    }
    counts->run += end - begin;
    counts->at = first + end - begin;
}

/* The mask at the image's size as COCO's run lengths: pixels column by column, how many are not the object's, how many
 * are, and so on; for programs that print. */
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

static const rv1106_task rv1106_segment = {rv1106_segment_are_maps, NULL, rv1106_segment_values, 0};

#endif

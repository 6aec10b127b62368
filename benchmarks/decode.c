/* Compares the time of decode.h with that of a plain decoder, on the golden outputs of the bundle whose headers it is
 * compiled with.
 * ./decode GOLDEN CONFIDENCE prints microseconds per image (plain, decode.h) and the number of detections of each.
 *
 * The plain decoder does what most examples do: it turns all outputs into float NCHW first, compares each score with the
 * threshold (for split maps with anchors, the objectness first), and computes exponentials with expf for those that
 * pass. Both use the same functions to sort candidates and for NMS, so the comparison is of the rest. */
#define _POSIX_C_SOURCE 200809L
#include <math.h>

#include "golden.h"

enum { ROOM = 30000, ROUNDS = 400, MOST = RV1106_MODEL_MOST };

static rv1106_candidate candidates[ROOM];
static rv1106_detection detections[MOST];
static float real[RV1106_MODEL_BYTES], *planes[RV1106_MAX_OUTPUTS];
static const rv1106_model *const model = &RV1106_MODEL;

static void dequantize(const int8_t *const buffers[])
{
    float *out = real;
    int i, c, cell;
    for (i = 0; i < model->output_count; i++) {
        const rv1106_output *output = &model->outputs[i];
        planes[i] = out;
        for (c = 0; c < output->channels; c++) {
            const int cells = output->height * output->width;
            const int8_t *channel = buffers[i] + c / output->c2 * cells * output->c2 + c % output->c2;
            for (cell = 0; cell < cells; cell++) *out++ = rv1106_real(output, channel[cell * output->c2]);
        }
    }
}

static int plain_scores(const float *scores, int cells, int first, float confidence, int count)
{
    int c, cell;
    for (c = 0; c < model->classes; c++) {
        for (cell = 0; cell < cells; cell++) {
            if (scores[c * cells + cell] > confidence) {
                const rv1106_candidate candidate = {scores[c * cells + cell], (first + cell) * model->classes + c};
                count = rv1106_push(candidates, ROOM, count, candidate);
            }
        }
    }
    return count;
}

#ifdef RV1106_ANCHORS_H
static float sigmoid(float logit)
{
    return 1 / (1 + expf(-logit));
}

/* One axis of a box of a level: t begins with the logits of its centres, those of sizes lie 2 `per_cell` on. */
static void plain_span(int level, const float *t, int cells, int anchor, int at, int axis, float most, float box[4])
{
    const rv1106_anchors_details *details = rv1106_anchors_of(model, level);
    const int per_cell = model->levels[level].per_cell;
    const float shift = t[(axis * per_cell + anchor) * cells];
    const float growth = t[((axis + 2) * per_cell + anchor) * cells];
    const float moved = ((details->new_coords ? shift : sigmoid(shift)) - 0.5f) * (float)details->scale_x_y + 0.5f;
    const float side = details->anchors[anchor][axis] * (details->new_coords ? 4 * growth * growth : expf(growth));
    box[axis + 2] = side < most ? side : most;
    box[axis] = ((float)at + moved) * (float)model->levels[level].stride - box[axis + 2] / 2;
}

static void plain_split_box(const rv1106_output *map, const float *plane, int level, int prediction, float box[4])
{
    const int cells = map->height * map->width, cell = prediction % cells, anchor = prediction / cells;
    plain_span(level, plane + cell, cells, anchor, cell % map->width, 0, (float)model->width, box);
    plain_span(level, plane + cell, cells, anchor, cell / map->width, 1, (float)model->height, box);
}

static int plain_level(float **plane, int per_cell, int cells, int first, float confidence, int count)
{
    int anchor, cell, c;
    for (anchor = 0; anchor < per_cell; anchor++) {
        for (cell = 0; cell < cells; cell++) {
            const float factor = plane[1][anchor * cells + cell];
            if (factor <= confidence) continue;
            for (c = 0; c < model->classes; c++) {
                const rv1106_candidate candidate = {factor * plane[2][(c * per_cell + anchor) * cells + cell],
                                                    (first + anchor * cells + cell) * model->classes + c};
                if (candidate.score > confidence) count = rv1106_push(candidates, ROOM, count, candidate);
            }
        }
    }
    return count;
}
#else
/* Distance of a side whose bins lie `cells` apart, or that is told by itself. */
static float distance(const float *channel, int bins, int cells)
{
    float sum = 0, weighted = 0;
    int bin;
    if (bins == 1) return *channel;
    for (bin = 0; bin < bins; bin++) {
        const float weight = expf(channel[bin * cells]);
        sum += weight;
        weighted += weight * (float)bin;
    }
    return weighted / sum;
}

static void plain_split_box(const rv1106_output *map, const float *plane, int level, int prediction, float box[4])
{
    const float x = (float)(prediction % map->width) + 0.5f, y = (float)(prediction / map->width) + 0.5f;
    const float stride = (float)model->levels[level].stride;
    const int bins = map->channels / 4, cells = map->height * map->width;
    float sides[4];
    int k;
    for (k = 0; k < 4; k++) sides[k] = distance(plane + k * bins * cells + prediction, bins, cells);
    box[0] = (x - sides[0]) * stride;
    box[1] = (y - sides[1]) * stride;
    box[2] = (sides[0] + sides[2]) * stride;
    box[3] = (sides[1] + sides[3]) * stride;
}

static int plain_level(float **plane, int per_cell, int cells, int first, float confidence, int count)
{
    (void)per_cell;
    return plain_scores(plane[1], cells, first, confidence, count);
}
#endif

static void plain_box(int prediction, float box[4])
{
    const int maps = model->family->map_count;
    int level = 0, cells = model->outputs->height * model->outputs->width;
    if (model->head == RV1106_SINGLE) {
        box[2] = planes[0][2 * cells + prediction] * (float)model->width;
        box[3] = planes[0][3 * cells + prediction] * (float)model->height;
        box[0] = planes[0][prediction] * (float)model->width - box[2] / 2;
        box[1] = planes[0][cells + prediction] * (float)model->height - box[3] / 2;
        return;
    }
    while (prediction >= cells * model->levels[level].per_cell) {
        prediction -= cells * model->levels[level++].per_cell;
        cells = model->outputs[level * maps].height * model->outputs[level * maps].width;
    }
    plain_split_box(&model->outputs[level * maps], planes[level * maps], level, prediction, box);
}

static int plain_candidates(float confidence)
{
    const int maps = model->family->map_count;
    int level, first = 0, count = 0;
    if (model->head == RV1106_SINGLE)
        return plain_scores(planes[0] + 4 * model->outputs->height, model->outputs->height, 0, confidence, 0);
    for (level = 0; level < model->level_count; level++) {
        const rv1106_output *map = &model->outputs[level * maps];
        const int cells = map->height * map->width, per_cell = model->levels[level].per_cell;
        count = plain_level(&planes[level * maps], per_cell, cells, first, confidence, count);
        first += cells * per_cell;
    }
    return count;
}

static int plain(const int8_t *const buffers[], float confidence)
{
    int i, j, count, kept = 0;
    dequantize(buffers);
    count = plain_candidates(confidence);
    rv1106_sort(candidates, count);
    for (i = 0; i < count && kept < MOST; i++) {
        const int class_id = candidates[i].rank % model->classes;
        float box[4];
        plain_box(candidates[i].rank / model->classes, box);
        for (j = model->end2end ? kept : 0; j < kept; j++) {
            const float other[4] = {detections[j].x1, detections[j].y1, detections[j].x2, detections[j].y2};
            if (detections[j].class_id == class_id && rv1106_iou(box, other) > RV1106_MODEL_IOU) break;
        }
        if (j == kept) {
            const rv1106_detection detection = {class_id, candidates[i].score, box[0], box[1], box[2], box[3],
                                                candidates[i].rank / model->classes};
            detections[kept++] = detection;
        }
    }
    return kept;
}

int main(int argc, char **argv)
{
    static double times[2][ROUNDS];
    const float confidence = argc > 2 ? (float)atof(argv[2]) : RV1106_MODEL_CONFIDENCE;
    const rv1106_letterbox fit = rv1106_fit(model, model->width, model->height);
    const int8_t *buffers[RV1106_MAX_OUTPUTS];
    size_t sizes[RV1106_MAX_OUTPUTS];
    rv1106_decoder decoder;
    int i, found[2] = {0, 0};
    if (argc < 2 || rv1106_init(&decoder, model)) return 2;
    if (read_outputs(argv[1], buffers, sizes)) return 2;
    for (i = 0; i < ROUNDS; i++) { /* turn by turn, so that what else the machine does strikes both */
        double start = now();
        found[0] = plain(buffers, confidence);
        times[0][i] = now() - start;
        start = now();
        found[1] = rv1106_decode(&decoder, buffers, sizes, confidence, RV1106_MODEL_IOU, &fit, candidates, ROOM,
                                 detections, MOST);
        times[1][i] = now() - start;
    }
    for (i = 0; i < 2; i++) qsort(times[i], ROUNDS, sizeof times[i][0], by_size);
    printf("%.1f %.1f %d %d\n", times[0][ROUNDS / 2], times[1][ROUNDS / 2], found[0], found[1]);
    return 0;
}

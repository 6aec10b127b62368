/* Times decode.h beside a plain decoder on the golden outputs of the bundle whose headers it is compiled with.
 * ./decode GOLDEN CONFIDENCE prints microseconds a image: plain, decode.h, and how many detections each found.
 *
 * The plain one does what most examples do: all outputs to float NCHW first, then a threshold on each score (of split
 * Darknet maps on objectness first), exponentials with expf for what passes. Candidates' order and NMS are the same
 * functions, so what is compared is the rest. */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "model.h"

enum { ROOM = 30000, ROUNDS = 400, MOST = YOLOV8_MODEL_MOST };

static yolov8_candidate candidates[ROOM];
static yolov8_detection detections[MOST];
static int8_t memory[YOLOV8_MODEL_BYTES];
static float real[YOLOV8_MODEL_BYTES], *planes[YOLOV8_MAX_OUTPUTS];
static const yolov8_model *const model = &yolov8_this_model;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

static void dequantize(const int8_t *const buffers[])
{
    float *out = real;
    int i, c, cell;
    for (i = 0; i < model->output_count; i++) {
        const yolov8_output *each = &model->outputs[i];
        planes[i] = out;
        for (c = 0; c < each->channels; c++) {
            const int cells = each->height * each->width;
            const int8_t *channel = buffers[i] + c / each->c2 * cells * each->c2 + c % each->c2;
            for (cell = 0; cell < cells; cell++) *out++ = yolov8_real(each, channel[cell * each->c2]);
        }
    }
}

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

static float sigmoid(float logit)
{
    return 1 / (1 + expf(-logit));
}

/* One axis of a box of a [yolo] layer: t begins with the logits of its centres, those of sizes lie 2 `per_cell` on. */
static void plain_span(const yolov8_layer *layer, const float *t, int cells, int anchor, int at, int axis, float most,
                       float box[4])
{
    const float shift = t[(axis * layer->anchor_count + anchor) * cells];
    const float growth = t[((axis + 2) * layer->anchor_count + anchor) * cells];
    const float moved = ((layer->new_coords ? shift : sigmoid(shift)) - 0.5f) * (float)layer->scale_x_y + 0.5f;
    const float side = layer->anchors[anchor][axis] * (layer->new_coords ? 4 * growth * growth : expf(growth));
    box[axis + 2] = side < most ? side : most;
    box[axis] = ((float)at + moved) * (float)layer->stride - box[axis + 2] / 2;
}

static void plain_box(int prediction, float box[4])
{
    const yolov8_output *each = model->outputs;
    const int maps = yolov8_map_count(model);
    int i = 0, set = 0, cells = each->height * each->width;
    if (model->head == YOLOV8_SINGLE) {
        box[2] = planes[0][2 * cells + prediction] * (float)model->width;
        box[3] = planes[0][3 * cells + prediction] * (float)model->height;
        box[0] = planes[0][prediction] * (float)model->width - box[2] / 2;
        box[1] = planes[0][cells + prediction] * (float)model->height - box[3] / 2;
        return;
    }
    for (; prediction >= cells * yolov8_per_cell(model, set); cells = each->height * each->width) {
        prediction -= cells * yolov8_per_cell(model, set++);
        each += maps;
        i += maps;
    }
    {
        const int cell = prediction % cells, column = cell % each->width, row = cell / each->width;
        if (model->family == YOLOV8_ANCHORS) {
            const yolov8_layer *layer = &model->layers[set];
            plain_span(layer, planes[i] + cell, cells, prediction / cells, column, 0, (float)model->width, box);
            plain_span(layer, planes[i] + cell, cells, prediction / cells, row, 1, (float)model->height, box);
        } else {
            const float x = (float)column + 0.5f, y = (float)row + 0.5f, stride = (float)yolov8_stride(model, set);
            const int bins = each->channels / 4;
            float sides[4];
            int k;
            for (k = 0; k < 4; k++) sides[k] = distance(planes[i] + k * bins * cells + cell, bins, cells);
            box[0] = (x - sides[0]) * stride;
            box[1] = (y - sides[1]) * stride;
            box[2] = (sides[0] + sides[2]) * stride;
            box[3] = (sides[1] + sides[3]) * stride;
        }
    }
}

static int plain_scores(const float *scores, int cells, int first, float confidence, int count)
{
    int c, cell;
    for (c = 0; c < model->classes; c++) {
        for (cell = 0; cell < cells; cell++) {
            if (scores[c * cells + cell] > confidence) {
                const yolov8_candidate one = {scores[c * cells + cell], (first + cell) * model->classes + c};
                count = yolov8_push(candidates, ROOM, count, one);
            }
        }
    }
    return count;
}

static int plain_layer(const float *objectness, const float *scores, int per_cell, int cells, int first,
                       float confidence, int count)
{
    int anchor, cell, c;
    for (anchor = 0; anchor < per_cell; anchor++) {
        for (cell = 0; cell < cells; cell++) {
            const float factor = objectness[anchor * cells + cell];
            if (factor <= confidence) continue;
            for (c = 0; c < model->classes; c++) {
                const yolov8_candidate one = {factor * scores[(c * per_cell + anchor) * cells + cell],
                                              (first + anchor * cells + cell) * model->classes + c};
                if (one.score > confidence) count = yolov8_push(candidates, ROOM, count, one);
            }
        }
    }
    return count;
}

static int plain_candidates(float confidence)
{
    const int maps = yolov8_map_count(model);
    int set, first = 0, count = 0;
    if (model->head == YOLOV8_SINGLE)
        return plain_scores(planes[0] + 4 * model->outputs->height, model->outputs->height, 0, confidence, 0);
    for (set = 0; set < yolov8_set_count(model); set++) {
        const yolov8_output *box = &model->outputs[set * maps];
        const int cells = box->height * box->width, per_cell = yolov8_per_cell(model, set);
        float **plane = &planes[set * maps];
        count = model->family == YOLOV8_ANCHORS
                    ? plain_layer(plane[1], plane[2], per_cell, cells, first, confidence, count)
                    : plain_scores(plane[1], cells, first, confidence, count);
        first += cells * per_cell;
    }
    return count;
}

static int plain(const int8_t *const buffers[], float confidence)
{
    int i, j, count, kept = 0;
    dequantize(buffers);
    count = plain_candidates(confidence);
    yolov8_sort(candidates, count);
    for (i = 0; i < count && kept < MOST; i++) {
        const int class_id = candidates[i].rank % model->classes;
        float box[4];
        plain_box(candidates[i].rank / model->classes, box);
        for (j = model->end2end ? kept : 0; j < kept; j++) {
            const float other[4] = {detections[j].x1, detections[j].y1, detections[j].x2, detections[j].y2};
            if (detections[j].class_id == class_id && yolov8_iou(box, other) > YOLOV8_MODEL_IOU) break;
        }
        if (j == kept) {
            const yolov8_detection one = {class_id, candidates[i].score, box[0], box[1], box[2], box[3]};
            detections[kept++] = one;
        }
    }
    return kept;
}

static int by_size(const void *a, const void *b)
{
    return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

int main(int argc, char **argv)
{
    static double times[2][ROUNDS];
    const float confidence = argc > 2 ? (float)atof(argv[2]) : YOLOV8_MODEL_CONFIDENCE;
    const yolov8_letterbox fit = yolov8_fit(model, model->width, model->height);
    const int8_t *buffers[YOLOV8_MAX_OUTPUTS];
    size_t sizes[YOLOV8_MAX_OUTPUTS], used = 0;
    yolov8_decoder decoder;
    int i, found[2] = {0, 0};
    if (argc < 2 || yolov8_init(&decoder, model)) return 2;
    for (i = 0; i < model->output_count; i++) {
        char path[1024];
        FILE *file;
        snprintf(path, sizeof path, "%s/output_%d.bin", argv[1], i);
        if (!(file = fopen(path, "rb"))) return fprintf(stderr, "%s cannot be read\n", path), 2;
        buffers[i] = memory + used;
        used += sizes[i] = fread(memory + used, 1, yolov8_size(&model->outputs[i]), file);
        fclose(file);
    }
    for (i = 0; i < ROUNDS; i++) { /* turn by turn, so that what else the machine does strikes both */
        double start = now();
        found[0] = plain(buffers, confidence);
        times[0][i] = now() - start;
        start = now();
        found[1] = yolov8_decode(&decoder, buffers, sizes, confidence, YOLOV8_MODEL_IOU, &fit, candidates, ROOM,
                                 detections, MOST);
        times[1][i] = now() - start;
    }
    for (i = 0; i < 2; i++) qsort(times[i], ROUNDS, sizeof times[i][0], by_size);
    printf("%.1f %.1f %d %d\n", times[0][ROUNDS / 2], times[1][ROUNDS / 2], found[0], found[1]);
    return 0;
}

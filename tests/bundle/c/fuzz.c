/* Throws random models, bytes and arguments at decode.h: ./fuzz INPUTS SEED. Built with sanitizers by the tests.
 * Every buffer is exactly as long as it must be, so one byte read or written beyond it ends the program. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "anchors.h"
#include "classify.h"
#include "dfl.h"
#include "distances.h"
#include "obb.h"
#include "pose.h"
#include "random.h"
#include "segment.h"
#include "yolox.h"

#define DEMAND(what) \
    do { \
        if (!(what)) { \
            fprintf(stderr, "input %ld: %s\n", input, #what); \
            abort(); \
        } \
    } while (0)

static float draw_float(void)
{
    static const float odd[] = {0, -1, 1e-30f, 1e30f, FLT_MAX};
    if (draw(16) == 0) return draw(8) ? odd[draw(5)] : (draw(2) ? NAN : INFINITY);
    return (float)draw(10000) / 10000;
}

static void draw_output(rv1106_output *output, int channels, int height, int width)
{
    static const int lanes[] = {1, 3, 8, 16, 16, 16, 16, 32};
    output->channels = channels;
    output->height = height;
    output->width = width;
    output->c2 = lanes[draw(8)];
    output->c1 = (channels + output->c2 - 1) / output->c2;
    output->zero_point = (int)draw(256) - 128;
    output->scale = (float)(1 + draw(10000)) / (draw(2) ? 10000 : 1000000);
}

static const rv1106_family *const families[] = {&rv1106_dfl, &rv1106_distances, &rv1106_anchors, &rv1106_yolox,
                                                &rv1106_classes, NULL};

static const rv1106_task *const tasks[] = {&rv1106_pose, &rv1106_obb_turn, &rv1106_segment, &rv1106_classify_task};

static rv1106_dfl_details points[RV1106_MAX_LEVELS];

static void draw_anchors(rv1106_level *level, rv1106_anchors_details *details)
{
    static const int strides[] = {8, 16, 32, 32, 13, 10, 32};
    int i;
    level->stride = strides[draw(7)];
    level->per_cell = 1 + (int)draw(draw(8) ? 3 : RV1106_MAX_ANCHORS);
    details->new_coords = (int)draw(2);
    details->scale_x_y = 1 + draw(100) / 100.0;
    for (i = 0; i < 2 * level->per_cell; i++) details->anchors[i / 2][i % 2] = (float)(1 + draw(20000)) / 100;
}

static void draw_levels(rv1106_model *model, rv1106_anchors_details details[RV1106_MAX_LEVELS])
{
    int i;
    model->level_count = draw(4) ? 3 : 1 + (int)draw(RV1106_MAX_LEVELS);
    for (i = 0; i < model->level_count; i++) {
        model->levels[i].stride = 8 << (i % 3);
        model->levels[i].per_cell = 1;
    }
    if (model->family == &rv1106_dfl && draw(2)) {
        for (i = 0; i < RV1106_MAX_LEVELS; i++) points[i].offset = draw(16) ? draw(2) / 2.0f : draw_float();
        model->details = points;
    }
    if (model->family != &rv1106_anchors) return;
    model->level_count = 1 + (int)draw(draw(4) ? 2 : RV1106_MAX_LEVELS);
    for (i = 0; i < model->level_count; i++) draw_anchors(&model->levels[i], &details[i]);
    model->details = details;
}

static void draw_maps(rv1106_model *model)
{
    const int maps = model->family->map_count, bins = draw(2) ? 16 : 2 + (int)draw(RV1106_MAX_BINS - 1);
    int i;
    for (i = 0; i < model->level_count; i++) {
        const rv1106_level *level = &model->levels[i];
        const int height = rv1106_cells(model->height, level->stride), width = rv1106_cells(model->width, level->stride);
        rv1106_output *output = &model->outputs[i * maps];
        draw_output(output, 4 * (model->family == &rv1106_dfl ? bins : level->per_cell), height, width);
        if (maps == 3) draw_output(output + 1, level->per_cell, height, width);
        draw_output(output + maps - 1, level->per_cell * model->classes, height, width);
    }
    model->output_count = model->level_count * maps;
}

/* Adds keypoints to one in four of the models that can have them. */
static void draw_keypoints(rv1106_model *model)
{
    const int first = model->output_count, points = 1 + (int)draw(draw(2) ? 17 : 40), visible = (int)draw(2);
    int i;
    if (model->family->map_count != 2 || draw(4)) return;
    model->task = &rv1106_pose;
    for (i = 0; i < model->level_count * (1 + visible); i++) {
        const rv1106_output *map = &model->outputs[i % model->level_count * 2];
        draw_output(&model->outputs[first + i], i < model->level_count ? 2 * points : points, map->height, map->width);
    }
    model->output_count += i;
}

/* Adds masks to one in four of the models that can have them. */
static void draw_prototypes(rv1106_model *model)
{
    static const int strides[] = {4, 4, 4, 2, 8, 16};
    const int first = model->output_count, count = 1 + (int)draw(draw(8) ? 40 : RV1106_MAX_PROTOTYPES);
    const int stride = strides[draw(6)];
    int i;
    if (model->task || model->family->map_count != 2 || draw(4)) return;
    model->task = &rv1106_segment;
    for (i = 0; i < model->level_count; i++)
        draw_output(&model->outputs[first + i], count, model->outputs[2 * i].height, model->outputs[2 * i].width);
    draw_output(&model->outputs[first + i], count, model->height / stride, model->width / stride);
    model->output_count += i + 1;
}

/* Adds angles to one in four of the models that can have them and have no keypoints. */
static void draw_angles(rv1106_model *model)
{
    const int first = model->output_count;
    int i;
    if (model->family->map_count != 2 || model->task || draw(4)) return;
    model->task = draw(2) ? &rv1106_obb_angle : &rv1106_obb_turn;
    for (i = 0; i < model->level_count; i++) {
        const rv1106_output *map = &model->outputs[2 * i];
        draw_output(&model->outputs[first + i], 1, map->height, map->width);
    }
    model->output_count += i;
}

/* Changes one value; if that makes the model invalid, rv1106_init must detect it. */
static void spoil(rv1106_model *model, rv1106_anchors_details details[RV1106_MAX_LEVELS])
{
    int *numbers = (int *)&model->outputs[draw(draw(2) ? 6 : 12)];
    rv1106_level *level = &model->levels[draw(2)];
    switch (draw(15)) {
    case 0: model->width = (int)draw(3000) - 1000; break;
    case 1: model->classes = (int)draw(3) ? (int)draw(60) - 20 : INT32_MAX; break;
    case 2: model->output_count = (int)draw(21) - 1; break;
    case 3: model->outputs[draw(6)].scale = draw_float() * 4; break;
    case 4: model->head = (rv1106_head)draw(4); break;
    case 5: /* the details do not fit another family */
        model->family = families[draw(6)];
        if (model->details == points) model->details = NULL;
        break;
    case 6: model->level_count = (int)draw(9) - 1; break;
    case 7: level->stride = draw(4) ? (int)draw(70) - 10 : INT32_MAX; break;
    case 8: level->per_cell = draw(4) ? (int)draw(20) - 2 : INT32_MAX; break;
    case 9: details[draw(2)].anchors[0][draw(2)] = draw_float() * 4; break;
    case 10: details[draw(2)].scale_x_y = draw_float() * 4; break;
    case 11: model->details = NULL; break;
    case 12: model->task = model->task ? NULL : tasks[draw(4)]; break;
    case 13: model->outputs[model->output_count > 0 ? model->output_count - 1 : 0].width += (int)draw(9) - 4; break;
    default: numbers[draw(6)] += (int)draw(7) - 3;
    }
}

/* Makes the model a classifier. */
static void draw_classifier(rv1106_model *model)
{
    model->head = RV1106_AS_IS;
    model->family = &rv1106_classes;
    model->task = &rv1106_classify_task;
    model->end2end = 1;
    model->width = 1 + (int)draw(300);
    model->height = 1 + (int)draw(300);
    model->classes = 1 + (int)draw(draw(2) ? 20 : 1000);
    model->level_count = 1;
    model->levels[0].stride = model->width > model->height ? model->width : model->height;
    model->levels[0].per_cell = 1;
    draw_output(model->outputs, model->classes, 1, 1);
    model->output_count = 1;
}

static rv1106_model draw_model(rv1106_anchors_details details[RV1106_MAX_LEVELS])
{
    rv1106_model model;
    const int larger = (int)draw(8);
    memset(&model, 0, sizeof model);
    model.head = draw(2) ? RV1106_SPLIT : RV1106_SINGLE;
    model.family = families[draw(4)];
    model.end2end = draw(4) == 0;
    model.width = larger == 0 ? 64 : 32;
    model.height = larger == 1 ? 96 : 32;
    model.classes = 1 + (int)draw(draw(4) ? 4 : 20);
    if (draw(8)) draw_levels(&model, details);
    else draw_classifier(&model);
    if (model.head == RV1106_AS_IS) {
        if (draw(4) == 0) spoil(&model, details);
        return model;
    }
    if (model.head == RV1106_SPLIT) {
        draw_maps(&model);
        draw_keypoints(&model);
        draw_angles(&model);
        draw_prototypes(&model);
    } else {
        draw_output(model.outputs, 4 + model.classes, rv1106_prediction_count(&model), 1);
        model.output_count = 1;
    }
    if (draw(4) == 0) spoil(&model, details);
    return model;
}

/* Checks that keypoints are within the image, and that at most `room` of them are written. */
static void demand_keypoints(const rv1106_decoder *decoder, const int8_t *const buffers[], const rv1106_letterbox *fit,
                             const rv1106_detection *detection, long input)
{
    const int count = rv1106_keypoint_count(decoder->model), room = (int)draw(2) ? count : (int)draw(20);
    rv1106_keypoint *keypoints = malloc((size_t)(room ? room : 1) * sizeof *keypoints);
    int i;
    DEMAND(rv1106_keypoints(decoder, buffers, fit, detection, keypoints, room) == count && count > 0);
    for (i = 0; i < room && i < count; i++) {
        DEMAND(keypoints[i].x >= 0 && keypoints[i].x <= (float)fit->width);
        DEMAND(keypoints[i].y >= 0 && keypoints[i].y <= (float)fit->height);
    }
    free(keypoints);
}

static void add_count(void *to, double value, int decimals)
{
    double *counts = (double *)to; /* number of runs, all pixels, pixels of the object, last run */
    if (decimals || value < (counts[0] > 0 ? 1 : 0)) abort();
    if ((int)counts[0] % 2) counts[2] += value;
    counts[0] += 1;
    counts[1] += value;
    counts[3] = value;
}

/* Checks that a mask is written within its area, and that its number of pixels and its run lengths are right. */
static void demand_mask(const rv1106_decoder *decoder, const int8_t *const buffers[], const rv1106_letterbox *fit,
                        const rv1106_detection *detection, long input)
{
    const rv1106_letterbox cells = rv1106_prototype_fit(decoder->model);
    const rv1106_detection on_cells = rv1106_on_prototypes(decoder->model, fit, detection);
    const int small = (int)draw(2);
    const rv1106_letterbox *shown = small ? &cells : fit;
    const rv1106_detection *box = small ? &on_cells : detection;
    const rv1106_area area = rv1106_mask_area(shown, box);
    const size_t size = (size_t)area.width * (size_t)area.height;
    uint8_t *pixels = malloc(size ? size : 1);
    double counts[4] = {0, 0, 0, 1};
    const rv1106_sink sink = {add_count, counts};
    size_t k;
    int count, sum = 0;
    DEMAND(area.x >= 0 && area.width >= 0 && area.x + area.width <= shown->width);
    DEMAND(area.y >= 0 && area.height >= 0 && area.y + area.height <= shown->height);
    memset(pixels, 7, size ? size : 1);
    if (area.width)
        DEMAND(rv1106_mask(decoder, buffers, shown, box, pixels, (size_t)area.width - 1) == RV1106_BAD_ARGUMENT);
    count = rv1106_mask(decoder, buffers, shown, box, pixels, (size_t)area.width);
    for (k = 0; k < size; k++) {
        DEMAND(pixels[k] <= 1);
        sum += pixels[k];
    }
    DEMAND(count == sum);
    decoder->model->task->values(decoder, buffers, shown, box, &sink);
    DEMAND(counts[1] == (double)shown->width * shown->height && counts[2] == count && counts[3] > 0);
    free(pixels);
}

/* Checks the values of a rotated box, and that the axis-aligned box around it contains its centre. */
static void demand_rotated(const rv1106_decoder *decoder, const int8_t *const buffers[], const rv1106_letterbox *fit,
                           const rv1106_detection *detection, long input)
{
    rv1106_rotated box;
    const int status = rv1106_rotated_box(decoder, buffers, fit, detection, &box);
    DEMAND(status == 0);
    DEMAND(box.width >= 0 && box.height >= 0 && box.angle >= -1000 && box.angle <= 1000);
    if (box.cx >= 0 && box.cx <= (float)fit->width) DEMAND(detection->x1 <= box.cx && box.cx <= detection->x2);
    if (box.cy >= 0 && box.cy <= (float)fit->height) DEMAND(detection->y1 <= box.cy && box.cy <= detection->y2);
}

/* Checks that the best classes are sorted, different, and have the probabilities of the detections. */
static void demand_classes(const rv1106_decoder *decoder, const int8_t *const buffers[], const size_t sizes[],
                           const rv1106_detection *detections, int count, long input)
{
    const int room = 1 + (int)draw(8), classes = decoder->model->classes;
    rv1106_class *best = malloc((size_t)room * sizeof *best);
    int i;
    DEMAND(rv1106_classify(decoder, buffers, sizes, best, room) == (room < classes ? room : classes));
    for (i = 0; i < room && i < classes; i++) {
        DEMAND(best[i].class_id >= 0 && best[i].class_id < classes);
        DEMAND(best[i].probability >= 0 && best[i].probability <= 1);
        if (i) DEMAND(best[i].value <= best[i - 1].value && best[i].class_id != best[i - 1].class_id);
        if (i < count) DEMAND(best[i].class_id == detections[i].class_id);
        if (i < count) DEMAND(best[i].probability == detections[i].score);
    }
    free(best);
}

int main(int argc, char **argv)
{
    const long inputs = argc > 1 ? atol(argv[1]) : 1000000;
    long input, found = 0, refused = 0;
    /* On the heap, so that the sanitizer detects a read after the last level. */
    rv1106_anchors_details *details = calloc(RV1106_MAX_LEVELS, sizeof *details);
    rv1106_decoder decoder;
    rv1106_model model;
    state = argc > 2 ? strtoull(argv[2], NULL, 10) | 1 : 1;
    for (input = 0; input < inputs;) {
        int round, i, status, rounds = 32;
        model = draw_model(details);
        status = rv1106_init(&decoder, &model);
        DEMAND(status == 0 || status == RV1106_BAD_MODEL);
        if (status) {
            refused++;
            input++;
            continue;
        }
        for (round = 0; round < rounds; round++, input++) {
            int8_t *buffers[RV1106_MAX_OUTPUTS] = {NULL};
            size_t sizes[RV1106_MAX_OUTPUTS] = {0}, k;
            const float confidence = draw_float(), iou = draw_float();
            const int room = (int)draw(draw(2) ? 8 : 200), capacity = (int)draw(draw(2) ? 4 : 100);
            rv1106_candidate *candidates = malloc((size_t)(room ? room : 1) * sizeof *candidates);
            rv1106_detection *detections = malloc((size_t)(capacity ? capacity : 1) * sizeof *detections);
            const rv1106_letterbox fit = rv1106_fit(&model, (int)draw(2000) - 1, 1 + (int)draw(2000));
            int wrong = 0, count, low = (int)draw(256);
            for (i = 0; i < model.output_count; i++) {
                sizes[i] = rv1106_size(&model.outputs[i]);
                if (draw(64) == 0) {
                    sizes[i] += draw(2) ? 1 : (size_t)-1;
                    wrong = 1;
                }
                buffers[i] = malloc(sizes[i] ? sizes[i] : 1);
                for (k = 0; k < sizes[i]; k++) {
                    const uint32_t drawn = draw(65536);
                    buffers[i][k] = (int8_t)((int)(drawn >> 8) < low ? -128 : (int)(drawn & 255) - 128);
                }
            }
            count = rv1106_decode(&decoder, (const int8_t *const *)buffers, sizes, confidence, iou, &fit, candidates,
                                  room, detections, capacity);
            if (room < 1 || capacity < 1 || !(confidence >= 0) || !(iou >= 0 || model.end2end) || fit.width < 1)
                DEMAND(count == RV1106_BAD_ARGUMENT);
            else if (wrong)
                DEMAND(count == RV1106_BAD_SIZE);
            else {
                DEMAND(count >= 0 && count <= capacity && count <= room);
                found += count;
                if (model.head == RV1106_AS_IS)
                    demand_classes(&decoder, (const int8_t *const *)buffers, sizes, detections, count, input);
                for (i = 0; i < count; i++) {
                    const rv1106_detection *box = &detections[i];
                    DEMAND(box->class_id >= 0 && box->class_id < model.classes);
                    DEMAND(box->score > confidence || (model.head == RV1106_AS_IS && box->score == confidence));
                    DEMAND(i == 0 || box->score <= detections[i - 1].score);
                    DEMAND(box->x1 >= 0 && box->x1 <= (float)fit.width && box->x2 >= 0 && box->x2 <= (float)fit.width);
                    DEMAND(box->y1 >= 0 && box->y1 <= (float)fit.height);
                    DEMAND(box->y2 >= 0 && box->y2 <= (float)fit.height);
                    DEMAND(box->prediction >= 0 && box->prediction < rv1106_prediction_count(&model));
                    if (model.task == &rv1106_pose)
                        demand_keypoints(&decoder, (const int8_t *const *)buffers, &fit, box, input);
                    else if (model.task == &rv1106_segment) {
                        if (i < 3) demand_mask(&decoder, (const int8_t *const *)buffers, &fit, box, input);
                    } else if (model.task && model.head != RV1106_AS_IS)
                        demand_rotated(&decoder, (const int8_t *const *)buffers, &fit, box, input);
                }
            }
            for (i = 0; i < model.output_count; i++) free(buffers[i]);
            free(candidates);
            free(detections);
        }
    }
    free(details);
    printf("%ld inputs, %ld models refused, %ld detections\n", input, refused, found);
    return 0;
}
